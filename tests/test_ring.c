/* Caches made by hand: one layer, one head of two channels, whose slots hold the rows that a test
 * says. What a slot holds is told by its values, with and without cache_pos. */
#include "tests/check.h"

#include <string.h>

#include "golden/paths_ring.h"

/* Rows are numbered; row r of keys is (r + 1, -r - 1), of values twice that. EMPTY: zeros. */
enum { EMPTY = -1, JUNK = 90 };

typedef struct {
    const char *name;
    idx         rows, width;
    const int  *row;
    double      factor;
    mr_dtype    dtype;
} made;

static mr_status read_made(void *user, idx i, double *out, mr_err *err) {
    const made *m = (const made *)user + i;
    (void)err;
    for (idx r = 0; r < m->rows; r++)
        for (idx c = 0; c < m->width; c++)
            out[r * m->width + c] = m->width == 1 ? m->row[r]
                                                  : m->factor * (m->row[r] + 1) * (c == 0 ? 1 : -1);
    return MR_OK;
}

static mr_status look(made *list, idx count, const mr_meta *meta, idx window, mr_ring_report *out) {
    mr_tensor t[5];
    mr_trace *trace;
    mr_err err = {0};
    const mr_config config = {.n_layers = 1, .n_heads = 1, .n_kv_heads = 1, .head_dim = 2,
                              .n_windows = window > 0, .windows = {window}};
    for (idx i = 0; i < count; i++) {
        const bool wide = list[i].width > 1;
        t[i] = (mr_tensor){list[i].name, list[i].dtype, wide ? 3 : 1,
                           {list[i].rows, 1, list[i].width}, NULL};
    }
    assert_int_equal(mr_trace_made(t, count, "", read_made, list, &trace, &err), MR_OK);
    const mr_status status = mr_ring_check(&config, meta, trace, out, &err);
    mr_trace_close(trace);
    return status;
}

#define META(...) {.n_seqs = sizeof(lengths) / sizeof *lengths, .length = lengths, \
                   .first = firsts, __VA_ARGS__}

/* Expects these faults and no others. */
static void faults(const mr_ring_report *r, idx count, const mr_ring_kind *kinds) {
    for (idx i = 0; i < r->count; i++)
        if (i >= count || r->list[i].kind != kinds[i])
            fail_msg("fault %td: %s", i, r->list[i].text);
    assert_int_equal(r->count, count);
}

static const int natural[] = {0, 1, 2, 3, 4, 5, 6, 7};

/* Five tokens, window 3: the next one sees positions 3 and 4, in slots of a ring of 3. */
static void test_one_sequence(void **state) {
    idx lengths[] = {5};
    int64_t firsts[] = {0};
    const mr_meta meta = META(.count = 5);
    const struct {
        int slots[3], said[3], count;
        mr_ring_kind kind;
        bool by_values;   /* found without cache_pos, too */
        const char *text;
    } list[] = {
        {{3, 4, 2}, {3, 4, 2}, 0, 0, false, ""},
        {{3, 4, EMPTY}, {3, 4, -1}, 0, 0, false, ""},
        {{3, 4, 2}, {3, 4, 1}, 1, MR_RING_OTHER_POSITION, false,
         "slot 2 says position 1 but holds position 2"},
        {{3, 4, JUNK}, {3, 4, 2}, 1, MR_RING_STALE, true,
         "slot 2 says position 2 but holds values of no token of this run"},
        {{3, 4, 2}, {3, 4, 5}, 1, MR_RING_FOREIGN, false,
         "slot 2 says position 5, which sequence 0 does not have"},
        {{3, 2, 2}, {3, 2, 2}, 1, MR_RING_MISSING, true,
         "position 4 is in no slot, and the next token sees it"},
        {{3, 4, 4}, {3, 4, 4}, 1, MR_RING_TWICE, true, "position 4 is in slots 1 and 2"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        for (int with = 0; with < 2; with++) {
            mr_ring_report r;
            made m[] = {{"layers.0.cache_k", 3, 2, list[i].slots, 1, MR_F32},
                        {"layers.0.k_rope", 5, 2, natural, 1, MR_F32},
                        {"layers.0.cache_v", 3, 2, list[i].slots, 2, MR_F32},
                        {"layers.0.v", 5, 2, natural, 2, MR_F32},
                        {"layers.0.cache_pos", 3, 1, list[i].said, 1, MR_I64}};
            assert_int_equal(look(m, 4 + with, &meta, 3, &r), MR_OK);
            assert_int_equal(r.layers, 1);
            assert_int_equal(r.slots, i == 1 ? 2 : 3);
            faults(&r, with || list[i].by_values ? list[i].count : 0, &list[i].kind);
            if (with && r.count > 0) assert_string_equal(r.list[0].text, list[i].text);
            mr_ring_report_free(&r);
        }
}

/* Two sequences that begin equally: a slot is read as its own sequence's row first; one that holds
 * the other's own row is found. */
static void test_two_sequences(void **state) {
    idx lengths[] = {2, 2};
    int64_t firsts[] = {0, 10};
    const mr_meta meta = META(.count = 4);
    static const int rows[] = {6, 1, 6, 3}, equal[] = {6, 1, 6, 3}, mixed[] = {6, 3, 6, 3};
    made own[] = {{"layers.0.cache_k", 4, 2, equal, 1, MR_F32},
                  {"layers.0.k_rope", 4, 2, rows, 1, MR_F32}};
    made other[] = {{"layers.0.cache_v", 4, 2, mixed, 1, MR_F32},
                    {"layers.0.v", 4, 2, rows, 1, MR_F32}};
    mr_ring_report r;
    (void)state;
    assert_int_equal(look(own, 2, &meta, 0, &r), MR_OK);
    faults(&r, 0, NULL);
    assert_int_equal(r.unclear, 0);
    mr_ring_report_free(&r);
    assert_int_equal(look(other, 2, &meta, 0, &r), MR_OK);
    faults(&r, 2, (const mr_ring_kind[]){MR_RING_OTHER_SEQUENCE, MR_RING_MISSING});
    assert_string_equal(r.list[0].text, "slot 1 holds position 11 of sequence 1");
    assert_int_equal(r.list[1].position, 1);
    mr_ring_report_free(&r);
}

/* Equal rows of one sequence: nobody can say which one a slot holds. */
static void test_unclear(void **state) {
    idx lengths[] = {3};
    int64_t firsts[] = {0};
    const mr_meta meta = META(.count = 3);
    static const int rows[] = {1, 1, 2};
    made m[] = {{"layers.0.cache_k", 3, 2, rows, 1, MR_F32},
                {"layers.0.k_rope", 3, 2, rows, 1, MR_F32}};
    mr_ring_report r;
    (void)state;
    assert_int_equal(look(m, 2, &meta, 1, &r), MR_OK);
    assert_int_equal(r.unclear, 2);
    faults(&r, 0, NULL);
    mr_ring_report_free(&r);
}

/* A cache in bf16 may round its rows, by 2^-8 of each number and no more. */
static void test_rounded(void **state) {
    idx lengths[] = {1};
    int64_t firsts[] = {0};
    const mr_meta meta = META(.count = 1);
    static const struct { mr_dtype dtype; double by; bool good; } list[] = {
        {MR_BF16, 0x1p-8, true},  {MR_BF16, 0x1.02p-8, false}, {MR_F16, 0x1p-11, true},
        {MR_F16, 0x1.02p-11, false}, {MR_F32, 0x1p-24, true},  {MR_F32, 0x1.02p-24, false}};
    (void)state;
    for (int i = 0; i < 6; i++) {
        made m[] = {{"layers.0.cache_k", 1, 2, natural, 1 + list[i].by, list[i].dtype},
                    {"layers.0.k_rope", 1, 2, natural, 1, MR_F64}};
        mr_ring_report r;
        assert_int_equal(look(m, 2, &meta, 1, &r), MR_OK);
        assert_true((r.count == 0) == list[i].good);
        mr_ring_report_free(&r);
    }
}

/* Nothing can be said of a cache without its rows, of another width, or of unequal halves. */
static void test_not_looked_at(void **state) {
    idx lengths[] = {2, 1};
    int64_t firsts[] = {0, 0};
    const mr_meta meta = META(.count = 3);
    made list[][4] = {
        {{"layers.0.cache_k", 4, 2, natural, 1, MR_F32}, {"layers.0.v", 3, 2, natural, 1, MR_F32}},
        {{"layers.0.cache_k", 4, 3, natural, 1, MR_F32},
         {"layers.0.k_rope", 3, 3, natural, 1, MR_F32}},
        {{"layers.0.cache_k", 4, 2, natural, 1, MR_F32},
         {"layers.0.k_rope", 2, 2, natural, 1, MR_F32}},   /* not all rows of the run */
        {{"layers.0.cache_k", 3, 2, natural, 1, MR_F32},   /* 3 slots for 2 sequences */
         {"layers.0.k_rope", 3, 2, natural, 1, MR_F32}},
        {{"layers.0.cache_k", 4, 2, natural, 1, MR_F32},
         {"layers.0.k_rope", 3, 2, natural, 1, MR_F32},
         {"layers.0.cache_pos", 2, 1, natural, 1, MR_I64}},
        {{"layers.0.cache_k", 4, 2, natural, 1, MR_F32},
         {"layers.0.k_rope", 3, 2, natural, 1, MR_F32},
         {"layers.0.cache_v", 2, 2, natural, 1, MR_F32}, {"layers.0.v", 3, 2, natural, 1, MR_F32}}};
    (void)state;
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        mr_ring_report r;
        idx count = 0;
        while (count < 4 && list[i][count].name != NULL) count++;
        assert_int_equal(look(list[i], count, &meta, 0, &r), MR_MISSING);
        assert_int_equal(r.count, 0);
        mr_ring_report_free(&r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_sequence), cmocka_unit_test(test_two_sequences),
        cmocka_unit_test(test_unclear),      cmocka_unit_test(test_rounded),
        cmocka_unit_test(test_not_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
