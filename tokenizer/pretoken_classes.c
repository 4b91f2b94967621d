/* The Unicode general categories, as far as splitting needs them, from a compact list of ranges.
 *
 * The list is made by golden/unicode_classes.py, which asks the original's regex engine about
 * every code point; no other source of Unicode data is involved, so none can disagree. It is
 * unfolded once, to one byte per code point: a text uses few scripts, whose bytes stay in the
 * fastest memory, and a look-up is one load. */
#include "tokenizer/pretoken.h"

/* Classes of ranges: U capital (Lu, Lt), S small (Ll), A alternating U S U S..., L letter without
 * case (Lm, Lo), M mark, N number, W White_Space. All others are signs, unassigned ones too. */
enum { U, S, A, L, M, N, W };

static const uint8_t bits[] = {
    [U] = MR_IN_CAPITALS,
    [S] = MR_IN_SMALLS,
    [L] = MR_IN_CAPITALS | MR_IN_SMALLS,
    [M] = MR_IN_CAPITALS | MR_IN_SMALLS | MR_MAY_LEAD | MR_IS_SIGN, /* marks are not in L */
    [N] = MR_IS_NUMBER,
    [W] = MR_IS_SPACE | MR_MAY_LEAD,
};

static const struct {
    int32_t first, count, kind;
} ranges[] = {
#include "tokenizer/pretoken_ranges.def"
};
enum { RANGES = sizeof ranges / sizeof ranges[0] };

uint8_t *mr_pretoken_classes(mr_err *err) {
    uint8_t *classes = mr_alloc(MR_CODES, 1, err);
    if (classes == NULL) return NULL;
    for (int32_t c = 0; c < MR_CODES; c++) classes[c] = MR_MAY_LEAD | MR_IS_SIGN;
    for (int i = 0; i < RANGES; i++)
        for (int32_t c = 0; c < ranges[i].count; c++)
            classes[ranges[i].first + c] = bits[ranges[i].kind == A ? c % 2 ? S : U
                                                                    : ranges[i].kind];
    classes['\r'] = classes['\n'] = MR_IS_SPACE | MR_IS_NEWLINE;
    return classes;
}
