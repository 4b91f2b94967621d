/* Norms and residuals as a fault has them, and the verdict on one tensor, by hand: three rows of
 * two numbers, gains 2 and -5. */
#include "tests/bounds.h"

#include <string.h>

#include "golden/replay_state.h"

enum { T = 3, D = 2 };

static const float gain[] = {2, -5};
static const mr_matrix g = {gain, MR_F32, 1, D, D, 1};

typedef struct {
    numbers  x, normed, out;
    double   room[2 * D], recorded[8];
    idx      length[1];
    mr_meta  meta;
    mr_fault fault;
    mr_arithmetic   a;
    mr_verification found;
    mr_err   err;
    mr_walk  w;
} rows;

static void open_rows(rows *r, double eps) {
    memset(r, 0, sizeof *r);
    r->a = *EXACT;
    r->fault.config = (mr_config){.dim = D, .norm_eps = eps};
    r->w = (mr_walk){.c = &r->fault.config, .fault = &r->fault, .meta = &r->meta, .a = &r->a,
                     .out = &r->found, .err = &r->err, .T = T, .x = of(&r->x),
                     .normed = of(&r->normed), .out_row = of(&r->out), .room = r->room,
                     .recorded = r->recorded};
    r->found.first = -1;
    memcpy(r->x.v, (const double[]){1, 7, 3, 1, 2, -2}, 6 * sizeof(double));
}

/* One row of w.normed. */
static void gives(rows *r, idx t, double first, double second) {
    mr_walk_norm(&r->w, &g);
    check_is("first", first, r->normed.v[t * D]);
    check_is("second", second, r->normed.v[t * D + 1]);
}

static void test_norms(void **state) {
    rows r;
    (void)state;
    open_rows(&r, 0);                       /* mean squares 25, 5 and 4 */
    gives(&r, 0, 2.0 / 5, -5 * 7.0 / 5);
    gives(&r, 2, 2, 5);
    r.fault.unit_offset = true;             /* gains 3 and -4 */
    gives(&r, 0, 3.0 / 5, -4 * 7.0 / 5);
    r.fault.unit_offset = false, r.fault.norm_twice = true;   /* (2, 5): 29/2 */
    gives(&r, 2, 4 / sqrt(14.5), -25 / sqrt(14.5));
    r.fault.norm_twice = false, r.fault.epsilon_outside = true;
    r.fault.config.norm_eps = 3;            /* x / (2 + 3) */
    gives(&r, 2, 2 * 2.0 / 5, 5 * 2.0 / 5);
    check_is("less error", 0, r.normed.e[4]);
}

/* The mean of 3 and 1 is 2; every element carries the mean's error besides its own. */
static void test_layer_norm(void **state) {
    rows r;
    (void)state;
    open_rows(&r, 0);
    r.fault.layer_norm = true;
    r.x.e[2] = 0.1, r.x.e[3] = 0.3, r.x.s[2] = 0.03, r.x.s[3] = 0.04;
    gives(&r, 1, 2, 5);                     /* (1, -1) */
    /* e = 0.3 and 0.5: relative (1.3 * 0.3 + 1.5 * 0.5) / 2 */
    check_is("error", 2 * (0.3 * 1.57 + 0.57), r.normed.e[2]);
    check_is("error", 5 * (0.5 * 1.57 + 0.57), r.normed.e[3]);
    assert_true(r.normed.s[2] < r.normed.e[2] && r.normed.s[2] > 0.03);
    gives(&r, 0, -2, -5);                   /* (-3, 3) */
    check_is("no error", 0, r.normed.e[0]);
    r.a.sum = 0x1p-20;                      /* the mean of 1 and 7 has two roundings of 8 / 2 */
    gives(&r, 0, -2, -5);
    assert_true(r.normed.e[0] > 2 * 2 * 0x1p-18 / 3);
}

/* Row 2 begins at element 4, which wraps to 1: it is (7, 3), with their errors. */
static void test_wrapped(void **state) {
    rows r;
    (void)state;
    open_rows(&r, 0);
    r.fault.norm_wrap = 3;
    r.x.e[1] = 0.25;
    gives(&r, 2, 14 / sqrt(29), -15 / sqrt(29));
    const double relative = 7.25 * 0.25 / 2 / 29;
    check_is("error", 2 * 0.25 / sqrt(29) * (1 + relative) + 14 / sqrt(29) * relative,
             r.normed.e[4]);
}

static void test_residual(void **state) {
    rows r;
    (void)state;
    open_rows(&r, 0);
    r.x.e[4] = 0.5, r.out.v[4] = 10, r.out.e[5] = 0.25;
    mr_walk_residual(&r.w, &g);
    assert_true(r.x.v[4] == 12 && r.x.v[5] == -2 && r.x.e[4] == 0.5 && r.x.e[5] == 0.25);
    r.fault.residual_is_gain = true;
    mr_walk_residual(&r.w, &g);
    assert_true(r.x.v[4] == 12 && r.x.v[5] == -5 && r.x.e[4] == 0 && r.x.e[5] == 0.25);
}

/* ---- one step -------------------------------------------------------------------------------- */

static double recorded[8];

static mr_status read_recorded(void *user, idx i, double *out, mr_err *err) {
    (void)user, (void)err;
    memcpy(out, recorded, (i == 2 ? 4 : 6) * sizeof *out);
    return MR_OK;
}

/* Errors of 1 and 1.5 bounds: one element beyond, and the port's numbers go on. */
static void test_step(void **state) {
    const mr_tensor list[] = {{"norm", MR_F64, 2, {T, D}, NULL}, {"shape", MR_F64, 2, {D, T}, NULL},
                              {"rows", MR_F64, 2, {2, D}, NULL}};
    idx some[] = {0, 2};
    char name[] = "rows";
    mr_meta_part part = {name, 2, some};
    rows r;
    (void)state;
    open_rows(&r, 0);
    assert_int_equal(mr_trace_made(list, 3, "", read_recorded, NULL, &r.w.port, &r.err), MR_OK);
    for (int i = 0; i < 6; i++) r.x.e[i] = 0.5, r.x.s[i] = 0.25;
    memcpy(recorded, (const double[]){1, 7.5, 3, 1.75, 2, -2}, 6 * sizeof(double));
    mr_replay_step(&r.w, -1, "norm", of(&r.x), 2, (const idx[]){T, D});
    const mr_finding *f = &r.found.list[0];
    assert_true(r.found.count == 1 && r.found.faults == 1 && r.found.first == 0);
    assert_true(f->verdict == MR_FAULT && f->beyond == 1 && f->elements == 6 && f->worst == 3);
    check_is("ratio", 1.5, f->ratio);
    check_is("likely", 3, f->likely);
    assert_true(f->expected == 1 && f->found == 1.75 && f->bound == 0.5);
    check_is("distance", hypot(0.5, 0.75), f->distance);
    check_is("width", 0.5 * sqrt(6), f->width);
    check_is("introduced", hypot(0.5, 0.75) / sqrt(68), f->introduced);
    assert_true(r.x.v[1] == 7.5 && r.x.v[3] == 1.75 && r.x.e[3] == 0 && r.x.s[0] == 0);

    mr_replay_step(&r.w, -1, "shape", of(&r.x), 2, (const idx[]){T, D});
    f = &r.found.list[1];
    assert_true(f->verdict == MR_FAULT && f->beyond == 6 && isinf(f->ratio));
    assert_string_equal(f->note, "shape [2,3], expected [3,2]");

    r.meta.parts = 1, r.meta.part = &part;         /* recorded: rows 0 and 2 */
    memcpy(recorded, (const double[]){1, 7.5, 2, -2}, 4 * sizeof(double));
    mr_replay_step(&r.w, -1, "rows", of(&r.x), 2, (const idx[]){T, D});
    f = &r.found.list[2];
    assert_true(f->verdict == MR_AGREES && f->elements == 4 && f->ratio == 0);

    mr_replay_step(&r.w, 3, "norm", of(&r.x), 2, (const idx[]){T, D});   /* not recorded */
    assert_true(r.found.count == 3 && r.found.faults == 2 && r.found.first == 0);
    mr_verification_free(&r.found);
    assert_true(r.found.list == NULL && r.found.count == 0);
    mr_trace_close(r.w.port);
}

/* Where every number is the same, agreement tells nothing; another choice is counted apart. */
static void test_verdicts(void **state) {
    const mr_tensor list[] = {{"norm", MR_F64, 2, {T, D}, NULL}};
    mr_finding f = {.verdict = MR_EXPLAINED, .beyond = 1};
    rows r;
    (void)state;
    open_rows(&r, 0);
    assert_int_equal(mr_trace_made(list, 1, "", read_recorded, NULL, &r.w.port, &r.err), MR_OK);
    for (int i = 0; i < 6; i++) r.x.v[i] = recorded[i] = 4;
    mr_replay_step(&r.w, -1, "norm", of(&r.x), 2, (const idx[]){T, D});
    assert_int_equal(r.found.list[0].verdict, MR_TELLS_NOTHING);
    mr_replay_end(&r.w, &f);
    assert_true(r.found.nothing == 1 && r.found.explained == 1 && r.found.faults == 0 &&
                r.found.first == -1);
    mr_verification_free(&r.found);
    mr_trace_close(r.w.port);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_norms),   cmocka_unit_test(test_layer_norm),
        cmocka_unit_test(test_wrapped), cmocka_unit_test(test_residual),
        cmocka_unit_test(test_step),    cmocka_unit_test(test_verdicts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
