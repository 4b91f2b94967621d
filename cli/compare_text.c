/* The report on one screen: what to do, the first fault in full, causes, the rest in counts. */
#include "cli/compare.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define COLUMNS 100
#define LABEL   12   /* width of the first column */
#define OTHERS  2    /* further faults, and explained tensors, that are listed */
#define MEASURED 16  /* tensors without a verdict that are listed when there is nothing else */

/* LABEL and a text that is folded at blanks; the label is on its first line only. */
static void say(const char *label, const char *format, ...) {
    char text[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    for (const char *at = text; *at != '\0'; label = "") {
        size_t n = strlen(at);
        if (n > COLUMNS - LABEL)
            for (n = COLUMNS - LABEL; n > 0 && at[n] != ' '; ) n--;
        if (n == 0) n = strcspn(at + 1, " ") + 1;   /* a word longer than a line */
        printf("%-*s%.*s\n", LABEL, label, (int)n, at);
        at += n;
        at += strspn(at, " ");
    }
}

void mr_report_line(const char *label, const char *text) { say(label, "%s", text); }

static void say_place(const mr_comparison *c, const mr_finding *f) {
    const mr_profile *p = mr_profile_of(c, f);
    const mr_spot at = mr_spot_of(c, f);
    char text[512];
    size_t n = (size_t)snprintf(text, sizeof text, "%s", f->name);
    for (int i = 0; p != NULL && i < p->rank; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%td%s", i == 0 ? " [" : ",", p->dim[i],
                              i == p->rank - 1 ? "]" : "");
    const struct {
        const char *word;
        idx         value;
    } parts[] = {{"layer", at.layer}, {"head", at.head},
                 {at.position >= 0 ? "token" : "row", at.row}, {"key", at.key},
                 {"channel", at.channel}, {"rotary pair", at.pair}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (parts[i].value < 0) continue;
        n += (size_t)snprintf(text + n, sizeof text - n, ", %s %td", parts[i].word, parts[i].value);
        if (i == 2 && at.position >= 0)
            n += (size_t)snprintf(text + n, sizeof text - n, " (id %ld, position %lld)",
                                  (long)at.id, (long long)at.position);
    }
    say("tensor", "%s", text);
}

/* Relative norms; where the golden trace lacks the tensor, the second is not known. */
static void say_norms(const mr_profile *p) {
    if (p == NULL) return;
    if (isnan(p->inherited))
        say("error", "introduced here %.2e (relative norm); inherited: no golden tensor to tell",
            p->introduced);
    else
        say("error", "introduced here %.2e, inherited from its inputs %.2e (relative norms)",
            p->introduced, p->inherited);
}

static void say_fault(const mr_comparison *c, const mr_finding *f) {
    say_place(c, f);
    if (f->worst >= 0) {
        say("expected", "%.9g", f->expected);
        say("got", "%.9g", f->found);
        say("bound", "%.3g, error/bound %.3g; statistical bound %.3g, error/bound %.3g", f->bound,
            mr_error_ratio(f->expected, f->found, f->bound), f->likely_bound,
            mr_error_ratio(f->expected, f->found, f->likely_bound));
    }
    if (f->beyond > 0) say("beyond", "%td of %td elements", f->beyond, f->elements);
    say_norms(mr_profile_of(c, f));
    if (f->note[0] != '\0') say("seen", "%s", f->note);
}

static void say_causes(const mr_comparison *c) {
    for (idx i = 0; i < c->causes.count && i < 3; i++)
        say(i == 0 ? "cause" : "or", "%s%s", c->causes.proved[i].name,
            i > 0 ? "" : " - proved: the reference with this fault does all that the port does");
    if (c->causes.count > 3)
        say("or", "%td more that this run cannot tell apart (--json)", c->causes.count - 3);
    if (c->causes.count == 0 && c->causes.tried > 0)
        say("cause", "none of %td hypotheses reproduces the port", c->causes.tried);
}

static void say_finding(const char *label, const mr_finding *f) {
    if (f->worst >= 0)
        say(label, "%s  error/bound %.3g, %td of %td beyond%s%s", f->name, f->ratio, f->beyond,
            f->elements, f->note[0] != '\0' ? "; " : "", f->note);
    else say(label, "%s  %s", f->name, f->note);
}

/* Others of one verdict than the first fault: a few, then how many more. */
static void say_others(const mr_comparison *c, mr_verdict verdict, const char *label) {
    const mr_verification *v = &c->verification;
    idx shown = 0, all = 0;
    for (idx i = 0; i < v->count; i++) {
        if (v->list[i].verdict != verdict || &v->list[i] == mr_first_fault(c)) continue;
        if (all++ < OTHERS) say_finding(shown++ == 0 ? label : "", &v->list[i]);
    }
    if (all > shown) say("", "and %td more (--verbose, --html FILE)", all - shown);
}

static void say_counts(const mr_comparison *c) {
    const mr_verification *v = &c->verification;
    const idx faults = c->causes.harmless ? 0 : v->faults;
    idx known = 0, beside = 0;
    for (idx i = 0; i < c->count; i++) {
        known += c->measured[i].note[0] == '\0' && !c->measured[i].reference;
        beside += c->measured[i].reference;
    }
    char recorded[120], weights[64] = "";
    const idx need = mr_count_needing(c);
    mr_say_recorded(c, recorded, sizeof recorded);
    if (need > 0) snprintf(weights, sizeof weights, ", %td need weights (--model MODEL)",
                           need);
    if (v->count > 0)
        say("tensors", "%td verified: %td faults, %td explained, %td prove nothing%s; largest "
            "error/bound of the others %.3g (stored in %s, sums in %s%s)", v->count - need, faults,
            v->explained + v->faults - faults, v->nothing - need, weights, mr_largest_ratio(c),
            c->store, c->sum, recorded);
    if (c->count > beside)
        say(v->count > 0 ? "" : "tensors", "%td measured against the golden trace without verdict, "
            "%td not in it (--verbose)", known, c->count - beside - known);
    mr_say_gradients(c);
}

static void say_measured(const mr_comparison *c, idx most) {
    for (idx i = 0; i < c->count && i < most; i++) {
        const mr_measured *m = &c->measured[i];
        if (m->note[0] != '\0') printf("  %-28s %s\n", m->name, m->note);
        else
            printf("  %-28s relative %.2e, largest %.2e, %td of %td differ\n", m->name,
                   m->distance.relative, m->distance.max_abs, m->distance.differ, m->elements);
    }
}

static void say_all(const mr_comparison *c) {
    for (idx i = 0; i < c->verification.count; i++) {
        const mr_finding *f = &c->verification.list[i];
        const mr_profile *p = mr_profile_of(c, f);
        printf("  %-28s %-14s error/bound %-9.3g introduced %.2e\n", f->name,
               mr_verdict_word(c, f), f->ratio, p != NULL ? p->introduced : (double)NAN);
    }
    say_measured(c, c->count);
}

mr_status mr_compare_text(const mr_comparison *c, mr_err *err) {
    const mr_finding *f = mr_first_fault(c);
    mr_writer text = {.err = err};
    mr_advise(c, &text);
    say(c->status == MR_OK         ? "AGREES"
        : c->status == MR_DISAGREE ? "DISAGREES"
                                   : "NO PROOF",
        "%s", text.data != NULL ? text.data : "");
    mr_writer_free(&text);
    if (f != NULL) say_fault(c, f);
    if (f != NULL && c->args->only == NULL) say_causes(c);
    mr_say_extras(c);
    mr_say_layouts(c);
    if (f != NULL) {
        text.err = err;
        mr_reproduce(c, f, &text);
        printf("%-*s%s\n", LABEL, "again", text.data != NULL ? text.data : "");
        mr_writer_free(&text);
    }
    if (c->causes.harmless)
        say("explained", "%s: %s; no output shows it",
            c->verification.list[c->verification.first].name, c->causes.proved[0].name);
    if (f != NULL) say_others(c, MR_FAULT, "also");
    say_others(c, MR_EXPLAINED, "explained");
    say_counts(c);
    if (c->args->verbose) say_all(c);
    else if (c->args->against == NULL) say_measured(c, MEASURED);
    return err->code;
}
