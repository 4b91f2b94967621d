/* The Unicode normalization forms, with the data of utf8proc and a loop of our own.
 *
 * A text is decomposed, marks are sorted by combining class, and for NFC and NFKC composed again,
 * as Unicode's Annex 15 says. Two reasons for not calling utf8proc's own function: the library's
 * data are of Unicode 12, so characters that are newer must stay as they are; and a sort that
 * takes linear time, since a text can be a million marks. */
#include "tokenizer/hf_unicode.h"

#include <string.h>
#include <utf8proc.h>

#include "tokenizer/lists.h"

typedef struct {
    int32_t code;
    int16_t rank; /* canonical combining class; 0: starts something new */
    int16_t more; /* the library's account: 1: one more than there were, 0: in place of one, */
                  /* -n: in place of 1 + n characters of the text */
} letter;

typedef struct {
    letter *letter, *spare; /* spare: as much again, for sorting */
    idx     count, room;
    mr_err *err;
} letters;

/* Characters with a decomposition or a combining class that Unicode 12 did not have. */
static const struct {
    int32_t first, last;
} newer[] = {
    {0x7FD, 0x7FD}, {0x898, 0x89F}, {0x8CA, 0x8D3}, {0x9FE, 0x9FE}, {0xC3C, 0xC3C},
    {0xD3B, 0xD3C}, {0xEBA, 0xEBA}, {0x1715, 0x1715}, {0x1ABF, 0x1ACE}, {0x1DF6, 0x1DFA},
    {0x32FF, 0x32FF}, {0xA7F2, 0xA7F4}, {0xA82C, 0xA82C}, {0xAB69, 0xAB69}, {0x10781, 0x10785},
    {0x10787, 0x107B0}, {0x107B2, 0x107BA}, {0x10D24, 0x10D27}, {0x10EAB, 0x10EAC},
    {0x10EFD, 0x10EFF}, {0x10F46, 0x10F50}, {0x10F82, 0x10F85}, {0x11070, 0x11070},
    {0x1133B, 0x1133B}, {0x1145E, 0x1145E}, {0x11839, 0x1183A}, {0x11938, 0x11938},
    {0x1193D, 0x1193E}, {0x11943, 0x11943}, {0x119E0, 0x119E0}, {0x11A34, 0x11A34},
    {0x11A47, 0x11A47}, {0x11A99, 0x11A99}, {0x11D42, 0x11D42}, {0x11D44, 0x11D45},
    {0x11D97, 0x11D97}, {0x11F41, 0x11F42}, {0x16FF0, 0x16FF1}, {0x1E030, 0x1E06D},
    {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF},
    {0x1E4EC, 0x1E4EF}, {0x1F16C, 0x1F16C}, {0x1FBF0, 0x1FBF9},
};
enum { NEWER = sizeof newer / sizeof newer[0] };

static bool is_newer(int32_t code) {
    int low = 0, high = NEWER;
    if (code < newer[0].first) return false;
    while (low < high) { /* the first range that does not end before the code */
        int middle = (low + high) / 2;
        if (newer[middle].last < code) low = middle + 1;
        else high = middle;
    }
    return low < NEWER && newer[low].first <= code;
}

static mr_status reserve(letters *all, idx more) {
    idx room;
    if (more <= all->room - all->count) return MR_OK;
    if (!mr_mul(all->room + more, 2, &room)) room = MR_IDX_MAX;
    letter *grown = mr_resize(all->letter, room, (idx)sizeof *grown, all->err);
    if (grown == NULL) return MR_BAD;
    all->letter = grown;
    grown = mr_resize(all->spare, room, (idx)sizeof *grown, all->err);
    if (grown == NULL) return MR_BAD;
    all->spare = grown;
    all->room = room;
    return MR_OK;
}

enum { LONGEST = 32 }; /* code points that one becomes; the longest is 18 */

/* Appends what a character is made of, all the way down. */
static mr_status decompose(letters *all, int32_t code, bool compatible) {
    utf8proc_int32_t part[LONGEST];
    int last_bound = 0;
    utf8proc_option_t options = UTF8PROC_DECOMPOSE | UTF8PROC_STABLE;
    if (compatible) options |= UTF8PROC_COMPAT;
    utf8proc_ssize_t count = 1;
    part[0] = code;
    if (!is_newer(code) && code >= 0x80)
        count = utf8proc_decompose_char(code, part, LONGEST, options, &last_bound);
    if (count < 0 || count > LONGEST) return mr_fail(all->err, MR_BAD, "U+%04lX does not normalize",
                                                     (unsigned long)code);
    if (reserve(all, count) != MR_OK) return MR_BAD;
    for (idx i = 0; i < count; i++) {
        int16_t rank = part[i] < 0x300 || is_newer(part[i])
                           ? 0 : utf8proc_get_property(part[i])->combining_class;
        all->letter[all->count++] = (letter){part[i], rank, i > 0};
    }
    return MR_OK;
}

/* Sorts a run of marks by rank, keeping the order of equal ones. Runs are nearly always one or two
 * marks long; a long one is sorted by counting, as there are only 256 ranks. */
static void sort_run(letter *run, letter *spare, idx count) {
    if (count > 16) {
        idx first[257] = {0};
        for (idx i = 0; i < count; i++) first[run[i].rank + 1]++;
        for (int r = 0; r < 256; r++) first[r + 1] += first[r];
        for (idx i = 0; i < count; i++) spare[first[run[i].rank]++] = run[i];
        memcpy(run, spare, (size_t)count * sizeof *run);
        return;
    }
    for (idx i = 1; i < count; i++) {
        letter moved = run[i];
        idx hole = i;
        for (; hole > 0 && run[hole - 1].rank > moved.rank; hole--) run[hole] = run[hole - 1];
        run[hole] = moved;
    }
}

static void sort_marks(letters *all) {
    for (idx i = 0, end; i < all->count; i = end) {
        for (end = i; end < all->count && all->letter[end].rank > 0;) end++;
        if (end == i) end++;
        else sort_run(all->letter + i, all->spare, end - i);
    }
}

/* The character that two make together, 0 when there is none. */
static int32_t composed(int32_t first, int32_t second) {
    utf8proc_int32_t pair[2] = {first, second};
    if (second < 0x300 || (first == 0x11935 && second == 0x11930)) return 0; /* 0x11938 is newer */
    if (second == 0x11A7) return 0; /* stands for "no final consonant": utf8proc would drop it */
    utf8proc_ssize_t left = utf8proc_normalize_utf32(pair, 2, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    return left == 1 ? pair[0] : 0;
}

/* Each character is joined to the last one of rank 0, unless one of equal or higher rank, or of
 * rank 0, stands between. */
static void compose(letters *all) {
    idx kept = 0, starter = -1;
    for (idx i = 0; i < all->count; i++) {
        letter next = all->letter[i];
        if (starter >= 0) {
            bool beside = kept == starter + 1;
            bool free = beside || (next.rank > all->letter[kept - 1].rank
                                   && all->letter[kept - 1].rank > 0);
            int32_t both = free ? composed(all->letter[starter].code, next.code) : 0;
            if (both != 0) {
                letter *joined = &all->letter[starter];
                joined->code = both;
                int more = joined->more + next.more - 1;
                joined->more = (int16_t)(more > INT16_MIN ? more : INT16_MIN);
                continue;
            }
        }
        if (next.rank == 0) starter = kept;
        all->letter[kept++] = next;
    }
    all->count = kept;
}

/* Writes the letters. The library notes for each which character of the text it stands for: by
 * counting, so that marks that changed places are taken for each other. *first was the number of
 * bytes of the first `count` characters, and becomes that of the letters that stand for them. */
static mr_status put_letters(const letters *all, mr_text *out, idx count, idx *first) {
    idx start = out->count, used = 0;
    bool within = count > 0;
    *first = 0;
    for (idx i = 0; i < all->count; i++) {
        const letter *next = &all->letter[i];
        if (next->more <= 0) {
            within = within && used < count;
            used += 1 - next->more;
        }
        if (mr_hf_put_code(out, (uint32_t)next->code, all->err) != MR_OK) return MR_BAD;
        if (within) *first = out->count - start;
    }
    return MR_OK;
}

mr_status mr_hf_put_form(mr_text *out, mr_hf_what what, const char *text, idx bytes, idx *first,
                         mr_err *err) {
    letters all = {.err = err};
    bool compatible = what == MR_HF_NFKC || what == MR_HF_NFKD, ascii = true;
    for (idx i = 0; i < bytes; i++) ascii = ascii && (unsigned char)text[i] < 0x80;
    if (ascii) return mr_text_append(out, text, bytes, err); /* nothing to do, and the usual case */
    mr_status status = MR_OK;
    idx count = 0;
    for (idx at = 0, size; at < bytes && status == MR_OK; at += size) {
        count += at < *first;
        status = decompose(&all, (int32_t)mr_hf_code(text + at, &size), compatible);
    }
    if (status == MR_OK) {
        sort_marks(&all);
        if (what == MR_HF_NFC || what == MR_HF_NFKC) compose(&all);
        status = put_letters(&all, out, count, first);
    }
    mr_free(all.letter);
    mr_free(all.spare);
    return status;
}
