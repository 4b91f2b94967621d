/* Where the tokens of a batch stand, where a faulty port would rotate them to, and which keys it
 * would see: worked out by hand for three sequences of 2, 6 and 4 tokens, of which the last 2 are
 * decoded, in a grid padded on the left and fed two columns at a time.
 *
 *     columns  0 1 2 3   decode         prompts 1, 4, 2; calls 0-1, 2-3
 *     seq 0    . . . 0   1
 *     seq 1    0 1 2 3   4 5
 *     seq 2    . . 0 1   2 3                                                              */
#include "tests/check.h"

#include <stdio.h>
#include <string.h>

#include "golden/replay_state.h"

enum { N = 12, EOS = 2 };

typedef struct {
    idx      length[3], column[N], place[N], call[N], end[N], keys[N];
    int64_t  first[3], q[N], k[N];
    int32_t  tokens[N];
    unsigned kind[N];
    mr_meta  meta;
    mr_model model;
    mr_fault fault;
    mr_walk  w;
} batch;

static void open_batch(batch *b, idx window) {
    memset(b, 0, sizeof *b);
    memcpy(b->length, (const idx[]){2, 6, 4}, sizeof b->length);
    memcpy(b->first, (const int64_t[]){100, 0, 10}, sizeof b->first);
    for (int t = 0; t < N; t++) b->tokens[t] = t == 3 ? EOS : 5;
    b->meta = (mr_meta){.n_seqs = 3, .count = N, .length = b->length, .first = b->first,
                        .tokens = b->tokens, .batch = MR_LEFT_PADDED, .chunk = 2, .decode = 2};
    b->model.config = (mr_config){.n_layers = 1, .n_windows = window > 0, .windows = {window},
                                  .eos_id = EOS};
    b->fault.config = b->model.config;
    b->w = (mr_walk){.model = &b->model, .c = &b->fault.config, .fault = &b->fault,
                     .meta = &b->meta, .T = N, .S = N, .position_q = b->q, .position_k = b->k,
                     .column = b->column, .place = b->place, .call = b->call, .call_end = b->end,
                     .kind = b->kind, .keys = b->keys};
    mr_place_tokens(&b->w);
}

static void test_calls(void **state) {
    static const idx column[] = {0, 0, 2, 2, 2, 2, 2, 2, 8, 8, 8, 8},
                     call[] = {0, 1, 0, 0, 2, 2, 4, 5, 0, 0, 2, 3},
                     end[] = {1, 2, 2, 2, 4, 4, 5, 6, 2, 2, 3, 4};
    static const unsigned kind[] = {1, 4, 1, 1, 2, 2, 4, 4, 1, 1, 4, 4};
    batch b;
    (void)state;
    open_batch(&b, 0);
    for (int t = 0; t < N; t++) {
        assert_int_equal(b.column[t], column[t]);
        assert_int_equal(b.place[t], t - column[t]);
        assert_int_equal(b.call[t], call[t]);
        assert_int_equal(b.end[t], end[t]);
        assert_int_equal(b.kind[t], kind[t]);
    }
    b.meta.chunk = 0;                 /* one call for all columns */
    mr_place_tokens(&b.w);
    for (int t = 2; t < 6; t++) assert_true(b.call[t] == 0 && b.end[t] == 4 && b.kind[t] == 1);
    b.meta.batch = MR_PACKED;         /* no padding: calls are counted in every sequence */
    b.meta.chunk = 3;
    mr_place_tokens(&b.w);
    for (int t = 2; t < 6; t++)
        assert_true(b.call[t] == (t < 5 ? 0 : 3) && b.end[t] == (t < 5 ? 3 : 4));
}

static void test_positions(void **state) {
    static const struct { mr_at at; int64_t k[N], q[N]; } list[] = {
        {MR_AT_RULE, {100, 101, 0, 1, 2, 3, 4, 5, 10, 11, 12, 13}, {-1}},
        {MR_AT_CALL, {100, 100, 0, 1, 0, 1, 0, 0, 10, 11, 10, 10}, {-1}},
        {MR_AT_PADDED, {103, 104, 0, 1, 2, 3, 4, 5, 12, 13, 14, 15}, {-1}},
        {MR_AT_PADDED_DECODE, {100, 104, 0, 1, 2, 3, 4, 5, 10, 11, 14, 15}, {-1}},
        {MR_AT_MINUS_FIRST, {99, 101, -1, 0, 2, 3, 4, 5, 9, 10, 12, 13}, {-1}},
        {MR_AT_TABLE_END, {11, 11, 0, 1, 2, 3, 4, 5, 10, 11, 11, 11}, {-1}},
        /* sequence 2 takes those of sequence 0, whose last is 101 */
        {MR_AT_OTHER_USER, {100, 101, 0, 1, 2, 3, 4, 5, 10, 11, 101, 101}, {-1}},
        /* step 0: 101, 4 and 12; step 1, which sequence 0 does not have: 5 and 13 */
        {MR_AT_LARGEST_QUERY, {100, 101, 0, 1, 2, 3, 4, 5, 10, 11, 12, 13},
         {100, 101, 0, 1, 2, 3, 101, 13, 10, 11, 101, 13}},
    };
    batch b;
    (void)state;
    open_batch(&b, 0);
    b.fault.table = 12;
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        b.fault.at = list[i].at;
        mr_place_rotations(&b.w);
        for (int t = 0; t < N; t++) {
            assert_int_equal(b.k[t], list[i].k[t]);
            assert_int_equal(b.q[t], list[i].q[0] < 0 ? list[i].k[t] : list[i].q[t]);
        }
    }
    b.fault = (mr_fault){.config = b.model.config, .position_offset = -7};
    mr_place_rotations(&b.w);
    for (int t = 0; t < N; t++) assert_true(b.k[t] == list[0].k[t] - 7 && b.q[t] == b.k[t]);
    b.fault = (mr_fault){.config = b.model.config, .at = MR_AT_BF16};
    b.first[1] = 1000;                /* 8 digits: steps of 4, ties to even */
    mr_place_rotations(&b.w);
    static const int64_t rounded[] = {1000, 1000, 1000, 1004, 1004, 1004};
    for (int t = 0; t < 6; t++) assert_int_equal(b.k[t + 2], rounded[t]);
}

/* The keys of token t, as text. */
static void sees(batch *b, mr_sees how, idx t, const char *want) {
    char text[100] = "";
    b->fault.sees = how;
    mr_place_rotations(&b->w);
    const idx n = mr_walk_keys(&b->w, 0, t);
    for (idx i = 0; i < n; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), i > 0 ? " %td" : "%td",
                 b->keys[i]);
    if (strcmp(text, want) != 0)
        fail_msg("%d, token %td: keys \"%s\", want \"%s\"", (int)how, t, text, want);
}

/* Tokens 2 to 7 are sequence 1: calls {2 3}, {4 5}, {6}, {7}. */
static void test_keys(void **state) {
    batch all, two, one;
    (void)state;
    open_batch(&all, 0);
    open_batch(&two, 2);
    open_batch(&one, 1);
    sees(&all, MR_SEES_RULE, 5, "2 3 4 5");
    sees(&two, MR_SEES_RULE, 5, "4 5");
    sees(&two, MR_SEES_RULE, 2, "2");
    sees(&all, MR_SEES_LATER, 2, "2 3");
    sees(&two, MR_SEES_LATER, 4, "3 4 5");
    sees(&all, MR_SEES_OTHERS, 3, "0 1 2 3");
    sees(&two, MR_SEES_OTHERS, 2, "1 2");
    sees(&two, MR_SEES_OTHERS, 0, "0");
    sees(&all, MR_SEES_FROM_FIRST, 3, "2 3");
    sees(&all, MR_SEES_FROM_FIRST, 5, "2 3");
    sees(&all, MR_SEES_FROM_FIRST, 7, "2");
    sees(&one, MR_SEES_LAST, 2, "");
    sees(&one, MR_SEES_LAST, 3, "3");
    sees(&two, MR_SEES_LAST, 3, "2 3");
    sees(&two, MR_SEES_LAST, 4, "4");
    sees(&all, MR_SEES_LAST, 4, "2 3 4");
    sees(&one, MR_SEES_RING, 2, "2");
    sees(&one, MR_SEES_RING, 4, "");
    sees(&all, MR_SEES_RING, 4, "2 3 4");
    sees(&two, MR_SEES_RING, 4, "4");
    sees(&two, MR_SEES_RING, 5, "4 5");
    sees(&two, MR_SEES_POINTER, 6, "6");     /* position 4 is slot 0, 5 slot 1 */
    sees(&two, MR_SEES_POINTER, 7, "6 7");
    sees(&all, MR_SEES_NO_END, 5, "2 4 5");
    two.fault.calls = MR_LATER_CALL;         /* wrong there only */
    two.fault.config.windows[0] = 1;
    sees(&two, MR_SEES_RULE, 3, "2 3");
    sees(&two, MR_SEES_RULE, 5, "5");
    sees(&two, MR_SEES_RULE, 7, "6 7");
    sees(&two, MR_SEES_LATER, 2, "2");
    sees(&two, MR_SEES_LATER, 4, "4 5");
}

/* Other rules: W more keys than the token's own; W/2 on both sides, up to the sequence's ends. */
static void test_rules(void **state) {
    batch two;
    (void)state;
    open_batch(&two, 2);
    two.fault.config.window_rule = MR_WINDOW_INCLUSIVE;
    sees(&two, MR_SEES_RULE, 4, "2 3 4");
    sees(&two, MR_SEES_LATER, 4, "2 3 4 5");
    two.fault.config.window_rule = MR_WINDOW_LONGFORMER;
    sees(&two, MR_SEES_RULE, 2, "2 3");
    sees(&two, MR_SEES_RULE, 6, "5 6 7");
    sees(&two, MR_SEES_RULE, 7, "6 7");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_calls),
                                       cmocka_unit_test(test_positions),
                                       cmocka_unit_test(test_keys),
                                       cmocka_unit_test(test_rules)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
