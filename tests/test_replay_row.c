/* Rows of attention as a fault has them, by hand: one sequence of four tokens, fed as calls {0 1}
 * {2} and decoded {3}; queries (sqrt 2, 0), keys (s, 0), so that scores are s, here 0, ln 3, ln 3,
 * 0, and weights 1, 3, 3, 1; values (13, 0), (0, 13), (26, 13), (0, 0). */
#include "tests/bounds.h"

#include <string.h>

#include "golden/replay_state.h"

enum { T = 4, D = 2, MOST = 4 };

typedef struct {
    idx      length[2], column[T], place[T], call[T], end[T], keys[T];
    int64_t  first[2], position[2 * T];
    int32_t  tokens[T];
    unsigned kind[T];
    double   q[3][T * MOST * D], k[3][T * MOST * D], v[3][T * MOST * D], o[3][T * MOST * D],
             scores[3][T], recorded[T * T * MOST];
    mr_meta  meta;
    mr_model model;
    mr_fault fault;
    mr_arithmetic a;
    mr_trace *port;
    mr_verification out;
    mr_err   err;
    mr_walk  w;
} rows;

static mr_bounded part(double (*x)[T * MOST * D]) { return (mr_bounded){x[0], x[1], x[2]}; }

/* heads: query heads over kv heads. */
static void open_rows(rows *r, idx heads, idx groups, const mr_tensor *list, idx count,
                      mr_trace_source read) {
    static const double score[] = {0, 1.0986122886681098, 1.0986122886681098, 0},
                        value[] = {13, 0, 0, 13, 26, 13, 0, 0};
    memset(r, 0, sizeof *r);
    r->length[0] = T;
    r->a = *EXACT;
    r->meta = (mr_meta){.n_seqs = 1, .count = T, .length = r->length, .first = r->first,
                        .tokens = r->tokens, .chunk = 2, .decode = 1};
    r->model.config = (mr_config){.dim = heads * D, .n_layers = 2, .n_heads = heads,
                                  .n_kv_heads = groups, .head_dim = D, .eos_id = -1};
    r->fault.config = r->model.config;
    assert_int_equal(mr_trace_made(list, count, "", read, NULL, &r->port, &r->err), MR_OK);
    r->w = (mr_walk){.model = &r->model, .c = &r->fault.config, .fault = &r->fault,
                     .meta = &r->meta, .port = r->port, .a = &r->a, .out = &r->out,
                     .err = &r->err, .T = T, .S = T, .position_q = r->position,
                     .position_k = r->position + T, .column = r->column, .place = r->place,
                     .call = r->call, .call_end = r->end, .kind = r->kind, .keys = r->keys,
                     .recorded = r->recorded, .q = part(r->q), .k = part(r->k), .v = part(r->v),
                     .attention = part(r->o),
                     .scores = {r->scores[0], r->scores[1], r->scores[2]}};
    r->out.first = -1;
    for (idx i = 0; i < T * heads; i++) r->q[0][i * D] = sqrt(2);
    for (idx i = 0; i < T * groups; i++) {   /* the second kv head has values negated */
        r->k[0][i * D] = score[i / groups];
        for (idx c = 0; c < D; c++)
            r->v[0][i * D + c] = value[i / groups * D + c] * (i % groups == 1 ? -1 : 1);
    }
    mr_place_tokens(&r->w);
    mr_place_rotations(&r->w);
}

static void close_rows(rows *r) {
    mr_verification_free(&r->out);
    mr_trace_close(r->port);
}

/* The first head's output of the rows. */
static void gives(rows *r, const double *want) {
    const idx H = r->model.config.n_heads;
    mr_walk_rows(&r->w, 1);
    if (r->err.code != MR_OK) fail_msg("%s", r->err.text);
    for (idx t = 0; t < T; t++)
        for (idx c = 0; c < D; c++)
            check_is("o", want[t * D + c], r->o[0][t * H * D + c]);
}

static void test_rule(void **state) {
    rows r;
    (void)state;
    open_rows(&r, 1, 1, NULL, 0, NULL);
    gives(&r, (const double[]){13, 0, 13.0 / 4, 39.0 / 4, 91.0 / 7, 78.0 / 7, 91.0 / 8, 78.0 / 8});
    r.fault.score_scale = 2 / sqrt(2);          /* twice: weights 1, 9, 9, 1 */
    gives(&r, (const double[]){13, 0, 1.3, 11.7, 247.0 / 19, 234.0 / 19, 12.35, 11.7});
    close_rows(&r);
}

/* Keys from the cache twice as large: weights 1, 9 and, of the row's own call, 3. */
static void test_cached(void **state) {
    rows r;
    (void)state;
    open_rows(&r, 1, 1, NULL, 0, NULL);
    r.fault.cached_k = 2;
    r.fault.calls = MR_LATER_CALL;
    gives(&r, (const double[]){13, 0, 13.0 / 4, 39.0 / 4, 7, 12, 91.0 / 8, 78.0 / 8});
    r.fault.calls = MR_DECODE_CALL;
    gives(&r, (const double[]){13, 0, 13.0 / 4, 39.0 / 4, 91.0 / 7, 78.0 / 7, 12.35, 11.7});
    r.fault.cached_k = 0;
    r.fault.cached_v = 0.5;
    gives(&r, (const double[]){13, 0, 13.0 / 4, 39.0 / 4, 91.0 / 7, 78.0 / 7, 91.0 / 16,
                               78.0 / 16});
    close_rows(&r);
}

/* Recorded scores 199/128/sqrt 2 of keys 1 and 2, one of them some roundings of 2^-40 off. */
static double roundings;

static mr_status read_rounded(void *user, idx i, double *out, mr_err *err) {
    (void)user, (void)i, (void)err;
    for (idx t = 0; t < T; t++)
        for (idx j = 0; j < T; j++)
            out[t * T + j] = j > t ? (double)-INFINITY : j % 3 == 0 ? 0 : 199.0 / 128 / sqrt(2);
    out[1 * T + 1] *= 1 + roundings * 0x1p-40;
    return MR_OK;
}

/* sqrt 2 ln 3 = 1.5537 is 199/128 in bf16, then scaled; four roundings of float are allowed. */
static void test_roundings_of_scores(void **state) {
    const mr_tensor list[] = {{"layers.1.scores", MR_F64, 3, {1, T, T}, NULL}};
    rows r;
    (void)state;
    for (roundings = 3.5; roundings < 5; roundings++) {
        open_rows(&r, 1, 1, list, 1, read_rounded);
        r.a.sum = 0x1p-40;
        r.fault.score_storage = MR_STORE_BF16;
        mr_walk_rows(&r.w, 1);
        assert_int_equal(r.out.count, 1);
        const mr_finding *f = &r.out.list[0];
        assert_int_equal(f->verdict, roundings < 4 ? MR_AGREES : MR_FAULT);
        assert_true(fabs(f->ratio - roundings / 4) < 1e-3);
        assert_true(fabs(f->likely - roundings / 4) < 1e-3);
        close_rows(&r);
    }
}

static void test_rounded_scores(void **state) {
    rows r;
    (void)state;
    open_rows(&r, 1, 1, NULL, 0, NULL);
    const double w = exp(199.0 / 128 / sqrt(2)), *o = r.o[0];
    r.fault.score_storage = MR_STORE_BF16;
    mr_walk_rows(&r.w, 0);
    check_is("row 1", 13 / (1 + w), o[2]);
    check_is("row 1", 13 * w / (1 + w), o[3]);
    r.a.sum = 0x1p-30;
    mr_walk_rows(&r.w, 0);
    assert_true(r.o[1][3] > 0 && r.o[1][3] < 1e-6);
    close_rows(&r);
}

/* Which kv head four query heads read: 0 or 1, whose values are negated. */
static void test_heads(void **state) {
    static const struct { mr_heads how; idx tile; int sign[4]; } list[] = {
        {MR_HEADS_GROUPED, 0, {1, 1, -1, -1}}, {MR_HEADS_MODULO, 0, {1, -1, 1, -1}},
        {MR_HEADS_TILE, 4, {1, 1, 1, 1}},      {MR_HEADS_TILE, 2, {1, 1, -1, -1}},
        {MR_HEADS_SHARDS, 0, {1, -1, -1, -1}}};
    rows r;
    (void)state;
    open_rows(&r, 4, 2, NULL, 0, NULL);
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        r.fault.heads = list[i].how;
        r.fault.tile = list[i].tile;
        mr_walk_rows(&r.w, 0);
        for (int h = 0; h < 4; h++) check_is("head", 13 * list[i].sign[h], r.o[0][h * D]);
    }
    close_rows(&r);
}

/* Two heads left with heads before tokens, call by call: {0 1} {2} {3}. */
static void test_heads_first(void **state) {
    rows r, as_is;
    (void)state;
    open_rows(&r, 2, 2, NULL, 0, NULL);
    open_rows(&as_is, 2, 2, NULL, 0, NULL);
    r.fault.heads_first = true;
    mr_walk_rows(&r.w, 0);
    mr_walk_rows(&as_is.w, 0);
    static const idx from[] = {0, 2, 1, 3, 4, 5, 6, 7};   /* token * 2 + head of each place */
    for (int i = 0; i < 8; i++)
        for (int c = 0; c < D; c++)
            check_number("moved", as_is.o[0][from[i] * D + c], r.o[0][i * D + c], 0);
    close_rows(&r);
    close_rows(&as_is);
}

/* NaN of padding reaches a shorter sequence of a batch, from the second layer on. */
static void test_padding(void **state) {
    rows r;
    (void)state;
    open_rows(&r, 1, 1, NULL, 0, NULL);
    r.meta.n_seqs = 2, r.length[0] = 1, r.length[1] = 3;
    mr_place_tokens(&r.w);
    r.fault.nan_of_padding = true;
    for (idx layer = 0; layer < 2; layer++) {
        mr_walk_rows(&r.w, layer);
        for (idx t = 0; t < T; t++)
            assert_true(isnan(r.o[0][t * D]) == (layer == 1 && t == 0));
    }
    close_rows(&r);
}

/* Recorded scores where row 1 sees key 3, too: one key that the mask forbids. Its weight joins. */
static mr_status read_scores(void *user, idx i, double *out, mr_err *err) {
    (void)user, (void)i, (void)err;
    for (idx t = 0; t < T; t++)
        for (idx j = 0; j < T; j++)
            out[t * T + j] = j > t ? (double)-INFINITY : j == 1 || j == 2 ? log(3) : 0;
    out[1 * T + 3] = log(3);
    return MR_OK;
}

static void test_forbidden(void **state) {
    const mr_tensor list[] = {{"layers.1.scores", MR_F64, 3, {1, T, T}, NULL}};
    rows r;
    (void)state;
    open_rows(&r, 1, 1, list, 1, read_scores);
    r.a.sum = 0x1p-40;
    gives(&r, (const double[]){13, 0, 13.0 / 7, 39.0 / 7, 91.0 / 7, 78.0 / 7, 91.0 / 8, 78.0 / 8});
    assert_int_equal(r.out.count, 1);
    const mr_finding *f = &r.out.list[0];
    assert_true(f->verdict == MR_FAULT && isinf(f->ratio) && f->worst == 1 * T + 3);
    assert_true(f->beyond == 1 && f->elements == 1 + 2 + 3 + 4 + 1);
    assert_string_equal(f->note,
                        "token 1 sees key 3 (distance -2), which the mask forbids; 1 such keys");
    close_rows(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rule),    cmocka_unit_test(test_cached),
        cmocka_unit_test(test_rounded_scores), cmocka_unit_test(test_heads),
        cmocka_unit_test(test_roundings_of_scores),
        cmocka_unit_test(test_heads_first), cmocka_unit_test(test_padding),
        cmocka_unit_test(test_forbidden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
