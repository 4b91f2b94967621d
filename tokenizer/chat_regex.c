/* Would Python's re.compile take this pattern? Tool schemas with a bad "pattern" are refused.
 *
 * Nothing is matched here. What is followed is the grammar, the groups that exist and are closed,
 * and how many characters each item takes, because a look-behind needs a fixed number. Two things
 * are not known: names in \N{..} are taken on trust, and group names beyond ASCII too. */
#include "tokenizer/chat_regex.h"

#include <string.h>

static void branches(mr_re *p, bool verbose, bool top, mr_re_width *out);
static void sequence(mr_re *p, bool verbose, bool first, mr_re_width *out);

static mr_re_width plus(mr_re_width a, mr_re_width b) {
    const uint64_t least = a.least + b.least, most = a.most + b.most;
    return (mr_re_width){least < MR_RE_WIDEST ? least : MR_RE_WIDEST,
                         most < MR_RE_WIDEST ? most : MR_RE_WIDEST};
}

/* Either of the two. */
static mr_re_width either(mr_re_width a, mr_re_width b) {
    return (mr_re_width){a.least < b.least ? a.least : b.least, a.most > b.most ? a.most : b.most};
}

/* ---- groups -------------------------------------------------------------------------------- */

static void inside(mr_re *p, bool verbose, mr_re_width *out) {
    branches(p, verbose, false, out);
    if (!mr_re_take(p, ')')) mr_re_fails(p);
}

static bool is_identifier(mr_py_span name) {
    for (idx i = 0; i < name.count; i++) {
        const unsigned char c = (unsigned char)name.byte[i];
        const bool letter = (c | 32) >= 'a' && (c | 32) <= 'z';
        if (!letter && c != '_' && c < 0x80 && !(i > 0 && c >= '0' && c <= '9')) return false;
    }
    return name.count > 0;
}

static idx group_named(mr_re *p, mr_py_span name) {
    for (idx i = 1; i < p->groups && is_identifier(name); i++)
        if (mr_py_equal(p->name[i], name)) return i;
    mr_re_fails(p);
    return 0;
}

static void capture(mr_re *p, bool verbose, mr_py_span name, mr_re_width *out) {
    const idx group = p->groups;
    for (idx i = 1; i < group && name.count > 0; i++)
        if (mr_py_equal(p->name[i], name)) mr_re_fails(p);
    if (group == MR_RE_GROUPS) mr_re_fails(p);
    if (p->bad) return;
    p->name[group] = name;
    p->groups++;
    inside(p, verbose, out);
    p->closed[group] = true;
    p->taken[group] = *out;
}

/* (?P<name>..) and (?P=name) */
static void named(mr_re *p, bool verbose, mr_re_width *out) {
    if (mr_re_take(p, '<')) {
        const mr_py_span name = mr_re_until(p, '>');
        if (!is_identifier(name)) mr_re_fails(p);
        capture(p, verbose, name, out);
    } else if (mr_re_take(p, '=')) {
        const idx group = group_named(p, mr_re_until(p, ')'));
        if (!p->bad && mr_re_may_refer(p, group)) *out = p->taken[group];
    } else {
        mr_re_fails(p);
    }
}

/* (?<=..) and (?<!..) */
static void look_behind(mr_re *p, bool verbose) {
    const idx before = p->outside;
    mr_re_width taken = {0, 0};
    if (!mr_re_take(p, '=') && !mr_re_take(p, '!')) mr_re_fails(p);
    if (before == 0) p->outside = p->groups;
    branches(p, verbose, false, &taken);
    p->outside = before;
    if (!mr_re_take(p, ')') || taken.least != taken.most || taken.least >= MR_RE_WIDEST)
        mr_re_fails(p);
}

/* A condition may name a group that comes later, but by number only. */
static idx condition(mr_re *p) {
    const mr_py_span name = mr_re_until(p, ')');
    idx group = 0;
    if (is_identifier(name)) return group_named(p, name);
    for (idx i = 0; i < name.count; i++) {
        const bool digit = name.byte[i] >= '0' && name.byte[i] <= '9';
        if (!digit) mr_re_fails(p);
        else if (group < MR_RE_GROUPS) group = group * 10 + (name.byte[i] - '0');
    }
    if (group == 0) mr_re_fails(p);
    if (group > p->wanted) p->wanted = group;
    return group;
}

/* (?(1)yes|no) */
static void conditional(mr_re *p, bool verbose, mr_re_width *out) {
    const idx group = condition(p);
    mr_re_width no = {0, 0};
    if (p->outside > 0) mr_re_may_refer(p, group);
    sequence(p, verbose, false, out);
    if (mr_re_take(p, '|')) sequence(p, verbose, false, &no);
    *out = either(*out, no);
    if (!mr_re_take(p, ')')) mr_re_fails(p); /* a third branch as well */
}

/* ---- flags --------------------------------------------------------------------------------- */

static const char flag_letters[] = "iLmsxatu";
enum { FLAG_L = 2, FLAG_X = 16, FLAG_A = 32, FLAG_T = 64, FLAG_U = 128 };

static unsigned flag(mr_re_character c) {
    return mr_re_among(c, flag_letters) ? 1u << (strchr(flag_letters, (int)c.code) - flag_letters)
                                        : 0;
}

/* Letters up to one of `close`, which is returned. */
static mr_re_character flags(mr_re *p, mr_re_character c, const char *close, unsigned *out) {
    do {
        if (flag(c) == 0) mr_re_fails(p);
        *out |= flag(c);
        c = mr_re_get(p);
        if (c.code == MR_RE_END) mr_re_fails(p);
    } while (!p->bad && !mr_re_among(c, close));
    return c;
}

/* (?i) for all of the pattern, at its start only, or (?i-s:..). */
static mr_re_item flag_group(mr_re *p, mr_re_character c, bool *verbose, bool at_start,
                             mr_re_width *out) {
    unsigned on = 0, off = 0;
    if (!mr_re_among(c, "-")) c = flags(p, c, ")-:", &on);
    if ((on & FLAG_L) || ((on & FLAG_A) && (on & FLAG_U))) mr_re_fails(p);
    if (mr_re_among(c, ")")) {
        p->verbose = p->verbose || (on & FLAG_X);
        p->ascii = p->ascii || (on & FLAG_A);
        p->unicode = p->unicode || (on & FLAG_U);
        *verbose = p->verbose;
        if (!at_start) mr_re_fails(p);
        return MR_RE_NONE;
    }
    if (mr_re_among(c, "-")) flags(p, mr_re_get(p), ":", &off);
    if ((on & FLAG_T) || (off & (FLAG_T | FLAG_L | FLAG_A | FLAG_U)) || (on & off)) mr_re_fails(p);
    inside(p, (*verbose || (on & FLAG_X)) && !(off & FLAG_X), out);
    return MR_RE_OTHER;
}

/* ---- sequences ----------------------------------------------------------------------------- */

/* After "(". NONE: a comment or flags, which are no item. */
static mr_re_item group(mr_re *p, bool *verbose, bool at_start, mr_re_width *out) {
    const mr_py_span nameless = {NULL, 0};
    *out = (mr_re_width){0, 0};
    if (!mr_re_take(p, '?')) {
        capture(p, *verbose, nameless, out);
        return MR_RE_OTHER;
    }
    const mr_re_character c = mr_re_get(p);
    if (c.escaped || c.code == MR_RE_END) mr_re_fails(p);
    switch (c.code) {
        case 'P': named(p, *verbose, out); break;
        case ':':
        case '>': inside(p, *verbose, out); break;
        case '=':
        case '!':
            inside(p, *verbose, out);
            *out = (mr_re_width){0, 0};
            break;
        case '<': look_behind(p, *verbose); break;
        case '(': conditional(p, *verbose, out); break;
        case '#':
            while (p->at < p->end && !mr_re_among(mr_re_peek(p), ")")) mr_re_get(p);
            if (!mr_re_take(p, ')')) mr_re_fails(p);
            return MR_RE_NONE;
        default: return flag_group(p, c, verbose, at_start, out);
    }
    return MR_RE_OTHER;
}

/* Blanks and comments of a verbose pattern. */
static bool skipped(mr_re *p, mr_re_character c) {
    if (mr_re_among(c, " \t\n\r\v\f")) return true;
    if (!mr_re_among(c, "#")) return false;
    do c = mr_re_get(p);
    while (c.code != MR_RE_END && !mr_re_among(c, "\n"));
    return true;
}

static void sequence(mr_re *p, bool verbose, bool first, mr_re_width *out) {
    mr_re_width total = {0, 0}, last = {0, 0}, next;
    mr_re_item kind = MR_RE_NONE, found;
    while (!p->bad) {
        mr_re_character c = mr_re_peek(p);
        if (c.code == MR_RE_END || mr_re_among(c, "|)")) break;
        mr_re_get(p);
        if (verbose && skipped(p, c)) continue;
        if (mr_re_among(c, "*+?{") && mr_re_repeat(p, c.code, kind, &last)) {
            kind = MR_RE_REPEAT;
            continue;
        }
        found = mr_re_among(c, "^$") ? MR_RE_PLACE : MR_RE_OTHER;
        next = found == MR_RE_PLACE ? (mr_re_width){0, 0} : (mr_re_width){1, 1};
        if (c.escaped) found = mr_re_escape(p, c.code, &next);
        else if (c.code == '[') mr_re_set(p);
        else if (c.code == '(') found = group(p, &verbose, first && kind == MR_RE_NONE, &next);
        if (found == MR_RE_NONE) continue;
        total = plus(total, last);
        last = next;
        kind = found;
    }
    *out = plus(total, last);
}

static void branches(mr_re *p, bool verbose, bool top, mr_re_width *out) {
    mr_re_width one;
    if (++p->depth > MR_RE_DEPTH) mr_re_fails(p);
    sequence(p, verbose, top, out);
    while (mr_re_take(p, '|')) {
        if (top) verbose = p->verbose;
        sequence(p, verbose, false, &one);
        *out = either(*out, one);
    }
    p->depth--;
}

bool mr_chat_regex(mr_py_span text) {
    mr_re p = {.at = text.byte, .end = text.byte + text.count, .groups = 1};
    mr_re_width taken;
    branches(&p, false, true, &taken);
    const bool whole = p.at == p.end; /* else a ")" too many */
    return !p.bad && whole && p.wanted < p.groups && !(p.ascii && p.unicode);
}
