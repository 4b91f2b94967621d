/* Masks: every rule against the inequality itself, alone, in chunks and packed. */
#include "tests/check.h"

#include <string.h>

#include "ref/mask.h"

/* May the query at position i see position j? Written as the sources do; window 0 is plain
 * causal. */
static bool sees(mr_window_rule rule, idx W, idx i, idx j) {
    if (W == 0) return j <= i;
    if (rule == MR_WINDOW_SWA) return 0 <= i - j && i - j < W;
    if (rule == MR_WINDOW_INCLUSIVE) return 0 <= i - j && i - j <= W;
    /* |i-j| <= W/2, whatever the parity: i-j is whole */
    return 2 * (i - j) <= W && 2 * (j - i) <= W;
}

/* By hand, W = 3, position 5 of 8 keys: swa 3 4 5, inclusive 2 3 4 5, longformer 4 5 6, none 0 ..
 * 5. */
static void worked_example(void **state) {
    (void)state;
    const struct { mr_window_rule rule; idx window, from, to; } want[] = {
        {MR_WINDOW_SWA, 3, 3, 6},        {MR_WINDOW_INCLUSIVE, 3, 2, 6},
        {MR_WINDOW_LONGFORMER, 3, 4, 7}, {MR_WINDOW_SWA, 0, 0, 6},
        {MR_WINDOW_INCLUSIVE, 0, 0, 6},  {MR_WINDOW_LONGFORMER, 0, 0, 6},
        {MR_WINDOW_LONGFORMER, 4, 3, 8}, {MR_WINDOW_SWA, 1, 5, 6},
        {MR_WINDOW_LONGFORMER, 1, 5, 6}, {MR_WINDOW_SWA, 100, 0, 6},
    };
    for (size_t k = 0; k < sizeof want / sizeof *want; k++) {
        idx from = -1, to = -1;
        mr_mask_range(want[k].rule, want[k].window, 5, 8, &from, &to);
        assert_int_equal(from, want[k].from);
        assert_int_equal(to, want[k].to);
    }
}

/* All rules and windows at T on both sides of the window, every query and key; also with fewer keys
 * than the query's position, where the range may be empty. */
static void every_rule(void **state) {
    (void)state;
    for (int rule = 0; rule < 3; rule++)
        for (idx W = 0; W <= 9; W++) {
            const idx sizes[] = {1, W - 1, W, W + 1, 2 * W + 3};
            for (int k = 0; k < 5; k++)
                for (idx i = 0; i < sizes[k] + 12; i++) {
                    idx from = -1, to = -1;
                    const idx n = sizes[k];
                    if (n < 0) continue;
                    mr_mask_range((mr_window_rule)rule, W, i, n, &from, &to);
                    assert_true(0 <= from && from <= to && (to <= n || from == to));
                    for (idx j = 0; j < n; j++)
                        if (sees((mr_window_rule)rule, W, i, j) != (from <= j && j < to))
                            fail_msg("rule %d, W %td, n %td: query %td, key %td", rule, W, n, i, j);
                }
        }
}

static void nothing_to_see(void **state) {
    (void)state;
    idx from = -1, to = -1;
    mr_mask_range(MR_WINDOW_LONGFORMER, 2, 10, 5, &from, &to);
    assert_true(from == to);
    mr_mask_range(MR_WINDOW_SWA, 3, 4, 0, &from, &to);
    assert_true(from == to);
}

/* Three packed sequences with (5,7,2) new tokens after (0,1,3) older ones, at columns 1, 6 and 15
 * of 22, against the inequality cell by cell. The table starts dirty. */
static void packed_sequences(void **state) {
    (void)state;
    enum { ROWS = 14, COLUMNS = 22 };
    const idx length[] = {5, 7, 2}, seen[] = {0, 1, 3}, column[] = {1, 6, 15};
    for (int rule = 0; rule < 3; rule++)
        for (idx W = 0; W <= 8; W++) {
            uint8_t mask[ROWS * COLUMNS];
            memset(mask, 7, sizeof mask);
            mr_mask_fill(mask, (mr_window_rule)rule, W, 3, length, seen, column, COLUMNS);
            for (idx b = 0, row = 0; b < 3; b++)
                for (idx a = 0; a < length[b]; a++, row++)
                    for (idx s = 0; s < COLUMNS; s++) {
                        const idx j = s - column[b];
                        const bool own = j >= 0 && j < seen[b] + length[b];
                        const bool want = own && sees((mr_window_rule)rule, W, seen[b] + a, j);
                        if (mask[row * COLUMNS + s] != want)
                            fail_msg("rule %d, W %td: row %td, column %td", rule, W, row, s);
                    }
        }
}

/* The rows of a chunk are the rows of the whole: 2W+3 tokens in chunks of every size. */
static void chunks(void **state) {
    (void)state;
    enum { W = 4, T = 2 * W + 3 };
    const idx none = 0, zero = 0, all = T;
    for (int rule = 0; rule < 2; rule++) {
        uint8_t whole[T * T], part[T * T];
        mr_mask_fill(whole, (mr_window_rule)rule, W, 1, &all, &none, &zero, T);
        for (idx chunk = 1; chunk <= T; chunk++)
            for (idx seen = 0; seen < T; seen += chunk) {
                const idx length = T - seen < chunk ? T - seen : chunk;
                mr_mask_fill(part, (mr_window_rule)rule, W, 1, &length, &seen, &zero, T);
                check_bits("chunk", whole + seen * T, part, length * T, 1);
            }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worked_example), cmocka_unit_test(every_rule),
        cmocka_unit_test(nothing_to_see), cmocka_unit_test(packed_sequences),
        cmocka_unit_test(chunks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
