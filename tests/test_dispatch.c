/* Dispatch: a stable sort of copies by expert, and what a capacity limit drops. Integers only. */
#include "tests/check.h"

#include "ref/dispatch.h"
#include "ref/sample.h"

static void equal(const char *name, const idx *want, const idx *got, idx n) {
    for (idx i = 0; i < n; i++)
        if (want[i] != got[i]) fail_msg("%s[%td]: want %td, got %td", name, i, want[i], got[i]);
}

/* By hand, T = 4, K = 2, E = 4: copies 0..7 go to experts 1 0 1 2 0 1 2 1, so expert 0 has copies 1
 * 4, expert 1 has 0 2 5 7, expert 2 has 3 6 and expert 3 none. */
static void worked_example(void **state) {
    (void)state;
    const int32_t experts[] = {1, 0, 1, 2, 0, 1, 2, 1};
    const idx want_copy[] = {1, 4, 0, 2, 5, 7, 3, 6}, want_place[] = {2, 0, 3, 6, 1, 4, 7, 5},
              want_bin[] = {0, 2, 6, 8, 8};
    idx copy[8], place[8], bin[5] = {9, 9, 9, 9, 9};
    mr_dispatch_sort(copy, place, bin, experts, 4, 4, 2, 0, MR_CAPACITY_TOKENS);
    equal("copy", want_copy, copy, 8);
    equal("place", want_place, place, 8);
    equal("bin", want_bin, bin, 5);
}

/* Capacity 2; first and second choices of three tokens: (0,1) (0,1) (1,0). Token-major
 * (MegaBlocks): expert 0 gets copies 0 and 2, expert 1 gets 1 and 3; the last token loses both.
 * Slot-major (GShard): all first choices come first, so expert 0 gets 0 and 2, expert 1 gets 4 and
 * then 1; copies 3 and 5 are lost. */
static void capacity_by_hand(void **state) {
    (void)state;
    const int32_t experts[] = {0, 1, 0, 1, 1, 0};
    const idx bins[] = {0, 2, 4};
    const idx copy_tokens[] = {0, 2, 1, 3}, place_tokens[] = {0, 2, 1, 3, -1, -1};
    const idx copy_slots[] = {0, 2, 1, 4}, place_slots[] = {0, 2, 1, -1, 3, -1};
    idx copy[6], place[6], bin[3];
    mr_dispatch_sort(copy, place, bin, experts, 3, 2, 2, 2, MR_CAPACITY_TOKENS);
    equal("copy", copy_tokens, copy, 4);
    equal("place", place_tokens, place, 6);
    equal("bin", bins, bin, 3);
    mr_dispatch_sort(copy, place, bin, experts, 3, 2, 2, 2, MR_CAPACITY_SLOTS);
    equal("copy", copy_slots, copy, 4);
    equal("place", place_slots, place, 6);
    equal("bin", bins, bin, 3);
}

/* floor(factor K T / E): 1.25 * 2 * 7 / 4 = 4.375; without a factor there is no limit; nor, as in
 * MegaBlocks, when it rounds to 0. */
static void capacities(void **state) {
    (void)state;
    assert_int_equal(mr_capacity(1.25, 7, 4, 2), 4);
    assert_int_equal(mr_capacity(1, 7, 4, 2), 3);
    assert_int_equal(mr_capacity(1, 8, 4, 2), 4);
    assert_int_equal(mr_capacity(2, 7, 4, 1), 3);
    assert_int_equal(mr_capacity(0, 7, 4, 2), 0);
    assert_int_equal(mr_capacity(0.1, 7, 4, 2), 0);
    assert_int_equal(mr_capacity(1, 0, 4, 2), 0);
}

/* Sizes with empty experts, one token, none, K = E; capacities 0 to 4 in both orders. */
static void every_copy_once(void **state) {
    (void)state;
    enum { E = 5, MOST = 40 };
    mr_rng rng = mr_rng_seed(3);
    for (int round = 0; round < 400; round++) {
        const idx T = round % (MOST + 1), K = 1 + round % E, capacity = round % 3 ? round % 5 : 0;
        const mr_capacity_rank rank = round % 2 ? MR_CAPACITY_TOKENS : MR_CAPACITY_SLOTS;
        int32_t experts[MOST * E];
        idx copy[MOST * E], place[MOST * E], bin[E + 1], wanted[E] = {0};
        for (idx t = 0; t < T; t++) {
            const int32_t first = (int32_t)(mr_rng_next(&rng) % E);
            for (idx k = 0; k < K; k++) wanted[experts[t * K + k] = (int32_t)((first + k) % E)]++;
        }
        mr_dispatch_sort(copy, place, bin, experts, T, E, K, capacity, rank);
        assert_int_equal(bin[0], 0);
        for (idx e = 0; e < E; e++) {
            const idx n = capacity > 0 && wanted[e] > capacity ? capacity : wanted[e];
            assert_int_equal(bin[e + 1] - bin[e], n);
            for (idx at = bin[e]; at < bin[e + 1]; at++) {
                assert_int_equal(experts[copy[at]], e);
                assert_int_equal(place[copy[at]], at);
                /* stable */
                if (at > bin[e]) assert_true(copy[at - 1] < copy[at]);
            }
        }
        idx kept = 0;
        for (idx c = 0; c < T * K; c++) kept += place[c] >= 0;
        assert_int_equal(kept, bin[E]);
    }
}

/* A dropped copy is outranked by `capacity` kept ones: earlier tokens, or, slot-major, also any
 * smaller slot. */
static void the_first_are_kept(void **state) {
    (void)state;
    enum { T = 30, E = 3, K = 2, CAPACITY = 7 };
    int32_t experts[T * K];
    idx copy[T * K], place[T * K], bin[E + 1];
    mr_rng rng = mr_rng_seed(4);
    for (idx t = 0; t < T; t++) {
        experts[t * K] = (int32_t)(mr_rng_next(&rng) % E);
        experts[t * K + 1] = (experts[t * K] + 1) % E;
    }
    for (int rank = 0; rank < 2; rank++) {
        mr_dispatch_sort(copy, place, bin, experts, T, E, K, CAPACITY, (mr_capacity_rank)rank);
        for (idx c = 0; c < T * K; c++) {
            idx before = 0;
            for (idx o = 0; o < T * K; o++) {
                const bool earlier = rank == MR_CAPACITY_TOKENS || o % K == c % K ? o < c
                                                                                  : o % K < c % K;
                before += experts[o] == experts[c] && earlier;
            }
            assert_int_equal(place[c] >= 0, before < CAPACITY);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worked_example), cmocka_unit_test(capacity_by_hand),
        cmocka_unit_test(capacities), cmocka_unit_test(every_copy_once),
        cmocka_unit_test(the_first_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
