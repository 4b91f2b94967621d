/* What a report collects, from numbers small enough to do by hand. */
#include "tests/check.h"

#include <math.h>
#include <string.h>

#include "golden/report.h"

#define CONFIG                                                                             \
    {.dim = 4, .n_layers = 2, .head_dim = 4, .n_heads = 2, .n_kv_heads = 2, .n_experts = 3, \
     .n_experts_per_tok = 1, .rope_layout = MR_INTERLEAVED}

/* Element 13 of [2,2,4] is token 1, head 1, channel 1; the pair depends on the layout. */
static void test_coordinates(void **state) {
    (void)state;
    const mr_profile q = {.name = "layers.3.q_rope", .rank = 3, .dim = {2, 2, 4}};
    const mr_profile p = {.name = "layers.3.probs", .rank = 3, .dim = {2, 3, 5}};
    const mr_profile h = {.name = "layers.3.h", .rank = 2, .dim = {2, 7}};
    const mr_profile gain = {.name = "grad.norm", .rank = 1, .dim = {7}}, loss = {.name = "loss.x"};
    const char *rest;
    assert_int_equal(mr_coordinate(&gain, MR_BY_CHANNEL, 5, MR_HALF_SPLIT), 5);
    assert_int_equal(mr_coordinate(&gain, MR_BY_ROW, 5, MR_HALF_SPLIT), -1);
    assert_int_equal(mr_coordinate(&loss, MR_BY_CHANNEL, 0, MR_HALF_SPLIT), -1);
    assert_int_equal(mr_coordinate(&q, MR_BY_ROW, 13, MR_INTERLEAVED), 1);
    assert_int_equal(mr_coordinate(&q, MR_BY_HEAD, 13, MR_INTERLEAVED), 1);
    assert_int_equal(mr_coordinate(&q, MR_BY_CHANNEL, 13, MR_INTERLEAVED), 1);
    assert_int_equal(mr_coordinate(&q, MR_BY_PAIR, 13, MR_INTERLEAVED), 0);
    assert_int_equal(mr_coordinate(&q, MR_BY_PAIR, 13, MR_HALF_SPLIT), 1);
    assert_int_equal(mr_coordinate(&q, MR_BY_KEY, 13, MR_INTERLEAVED), -1);
    assert_int_equal(mr_coordinate(&p, MR_BY_HEAD, 23, MR_HALF_SPLIT), 1);   /* 15 + 1*5 + 3 */
    assert_int_equal(mr_coordinate(&p, MR_BY_ROW, 23, MR_HALF_SPLIT), 1);
    assert_int_equal(mr_coordinate(&p, MR_BY_KEY, 23, MR_HALF_SPLIT), 3);
    assert_int_equal(mr_coordinate(&p, MR_BY_CHANNEL, 23, MR_HALF_SPLIT), -1);
    assert_int_equal(mr_coordinate(&h, MR_BY_ROW, 9, MR_HALF_SPLIT), 1);
    assert_int_equal(mr_coordinate(&h, MR_BY_CHANNEL, 9, MR_HALF_SPLIT), 2);
    assert_int_equal(mr_coordinate(&h, MR_BY_HEAD, 9, MR_HALF_SPLIT), -1);
    assert_int_equal(mr_name_layer("layers.12.experts.3.out", &rest), 12);
    assert_string_equal(rest, "experts.3.out");
    assert_int_equal(mr_name_layer("norm", &rest), -1);
    assert_int_equal(mr_name_layer("layers.x.h", &rest), -1);
}

/* Values 3 and 4, else 0; one error of 1 with a bound of 0.25: ratio 4, norm 1 of 5. */
static void test_axes_and_norms(void **state) {
    (void)state;
    const mr_config config = CONFIG;
    mr_report r;
    assert_int_equal(mr_report_open(&config, NULL, false, &r, NULL), MR_OK);
    const mr_watch w = mr_report_watch(&r);
    double v[16] = {3, 4}, e[16], s[16], found[16] = {3, 4};
    for (int i = 0; i < 16; i++) e[i] = s[i] = 0.25;
    found[13] = -1;
    const idx slot = w.begin(w.user, "layers.1.q", 3, (const idx[]){2, 2, 4});
    w.piece(w.user, slot, 0, 16, (mr_bounded){v, e, s}, found);
    mr_report_end(&r);
    const mr_profile *p = &r.list[slot];
    static const idx at[] = {1, 1, 0, 1, -1}, size[] = {2, 2, 2, 4, 0};   /* of element 13 */
    for (int a = 0; a < MR_AXES; a++) {
        assert_int_equal(p->axis[a].size, size[a]);
        for (idx b = 0; b < p->axis[a].bins; b++)
            check_number("ratio", b == at[a] ? 4 : 0, p->axis[a].worst[b], 0);
    }
    check_number("introduced", 0.2, p->introduced, 1);
    assert_true(isnan(p->inherited) && isnan(p->total));
    mr_report_free(&r);
}

/* A golden trace in the other rotary order is put into the port's before it is compared: heads of
 * two pairs (1,2) (3,4) and (5,6) (7,8). What has no pairs stays as it is. */
static mr_status read_golden(void *user, idx i, double *out, mr_err *err) {
    static const double interleaved[] = {1, 2, 3, 4, 5, 6, 7, 8},
                        halves[] = {1, 3, 2, 4, 5, 7, 6, 8};
    const bool to_half = *(const mr_rope_layout *)user == MR_HALF_SPLIT;
    (void)err;
    memcpy(out, (i == 0) == to_half ? interleaved : halves, sizeof halves);
    return MR_OK;
}

static void test_golden_in_other_order(void **state) {
    static double interleaved[] = {1, 2, 3, 4, 5, 6, 7, 8}, halves[] = {1, 3, 2, 4, 5, 7, 6, 8};
    const mr_tensor list[] = {{"layers.0.k_rope", MR_F64, 3, {1, 2, 4}, NULL},
                              {"layers.0.attention", MR_F64, 3, {1, 2, 4}, NULL}};
    (void)state;
    for (mr_rope_layout layout = MR_INTERLEAVED; layout <= MR_HALF_SPLIT; layout++) {
        mr_config config = CONFIG;
        mr_trace *golden;
        mr_report r;
        mr_err err = {0};
        double e[8], *port = layout == MR_HALF_SPLIT ? halves : interleaved;
        for (int i = 0; i < 8; i++) e[i] = 0.1;
        config.rope_layout = layout;
        assert_int_equal(mr_trace_made(list, 2, "", read_golden, &layout, &golden, &err), MR_OK);
        assert_int_equal(mr_report_open(&config, golden, true, &r, &err), MR_OK);
        const mr_watch w = mr_report_watch(&r);
        for (int t = 0; t < 2; t++) {
            const idx slot = w.begin(w.user, list[t].name, 3, list[t].dim);
            w.piece(w.user, slot, 0, 8, (mr_bounded){port, e, e}, port);
        }
        mr_report_end(&r);
        for (int t = 0; t < 2; t++) {
            check_number("inherited", 0, r.list[t].inherited, 0);
            check_number("total", 0, r.list[t].total, 0);
        }
        mr_report_free(&r);
        mr_trace_close(golden);
    }
}

/* Places past MR_BINS share a bin: coordinate 99 of 100 is in the last. */
static void test_bins(void **state) {
    (void)state;
    const mr_config config = CONFIG;
    mr_report r;
    double v[100] = {0}, e[100], found[100] = {0};
    assert_int_equal(mr_report_open(&config, NULL, false, &r, NULL), MR_OK);
    const mr_watch w = mr_report_watch(&r);
    for (int i = 0; i < 100; i++) e[i] = 1;
    found[99] = 2;
    found[50] = 3;
    const idx slot = w.begin(w.user, "norm", 2, (const idx[]){1, 100});
    w.piece(w.user, slot, 0, 100, (mr_bounded){v, e, e}, found);
    const mr_axis *a = &r.list[slot].axis[MR_BY_CHANNEL];
    assert_int_equal(a->size, 100);
    assert_int_equal(a->bins, MR_BINS);
    for (int b = 0; b < MR_BINS; b++)
        check_number("bin", b == MR_BINS - 1 ? 2 : b == 32 ? 3 : 0, a->worst[b], 0);
    mr_report_free(&r);
}

/* Logits 1 5 2, K = 1: gap 5 - 2 over slack 0.5 + 0.5 is 3; then 2 2.5 1 is 0.5. */
static void test_margins(void **state) {
    (void)state;
    const mr_config config = CONFIG;
    mr_report r;
    double v[] = {1, 5, 2, 2, 2.5, 1}, e[] = {.5, .5, .5, .5, .5, .5};
    assert_int_equal(mr_report_open(&config, NULL, false, &r, NULL), MR_OK);
    const mr_watch w = mr_report_watch(&r);
    const idx slot = w.begin(w.user, "layers.0.router_logits", 2, (const idx[]){2, 3});
    w.piece(w.user, slot, 0, 6, (mr_bounded){v, e, e}, v);
    assert_true(r.margins[0].known && !r.margins[1].known);
    check_number("token 0", 3, r.margins[0].margin[0], 1);
    check_number("token 1", 0.5, r.margins[0].margin[1], 1);
    check_number("least", 0.5, r.margins[0].least, 1);
    mr_report_free(&r);
}

/* Tokens past MR_BINS share a bin, of which the least margin counts: token 65 of 130. */
static void test_margins_of_many(void **state) {
    (void)state;
    const mr_config config = CONFIG;
    mr_report r;
    double v[390], e[390];
    assert_int_equal(mr_report_open(&config, NULL, false, &r, NULL), MR_OK);
    const mr_watch w = mr_report_watch(&r);
    for (int i = 0; i < 390; i++) v[i] = i % 3 == 1 ? 9 : 1, e[i] = 1;
    v[65 * 3 + 1] = 2;
    const idx slot = w.begin(w.user, "layers.1.router_logits", 2, (const idx[]){130, 3});
    w.piece(w.user, slot, 0, 390, (mr_bounded){v, e, e}, v);
    const mr_margins *m = &r.margins[1];
    assert_int_equal(m->bins, MR_BINS);
    for (idx b = 0; b < m->bins; b++)
        check_number("bin", b == 65 * MR_BINS / 130 ? 0.5 : 4, m->margin[b], 1);
    check_number("least", 0.5, m->least, 1);
    mr_report_free(&r);
}

/* One head of 2 tokens: token 1 should see both keys, hides key 0; token 0 sees key 1. */
static void test_masks(void **state) {
    (void)state;
    const mr_config config = CONFIG;
    mr_report r;
    double v[] = {0.5, 0.5}, e[] = {1e-6, 1e-6}, found[] = {0, 1}, first[] = {1};
    assert_int_equal(mr_report_open(&config, NULL, false, &r, NULL), MR_OK);
    const mr_watch w = mr_report_watch(&r);
    const idx slot = w.begin(w.user, "layers.1.probs", 3, (const idx[]){1, 2, 2});
    w.piece(w.user, slot, 0, 1, (mr_bounded){first, e, e}, first);
    w.forbidden(w.user, slot, 1);
    w.piece(w.user, slot, 2, 2, (mr_bounded){v, e, e}, found);
    const mr_seen *s = &r.seen[1];
    assert_true(s->known && !r.seen[0].known);
    assert_int_equal(s->forbidden, 1);
    assert_int_equal(s->unseen, 1);
    assert_int_equal(s->cell[0][0], MR_KEY_ALLOWED | MR_KEY_SEEN);
    assert_int_equal(s->cell[0][1], MR_KEY_SEEN | MR_KEY_FORBIDDEN);
    assert_int_equal(s->cell[1][0], MR_KEY_ALLOWED | MR_KEY_UNSEEN);
    assert_int_equal(s->cell[1][1], MR_KEY_ALLOWED | MR_KEY_SEEN);
    mr_report_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_coordinates), cmocka_unit_test(test_axes_and_norms),
        cmocka_unit_test(test_bins),        cmocka_unit_test(test_margins),
        cmocka_unit_test(test_masks),       cmocka_unit_test(test_margins_of_many),
        cmocka_unit_test(test_golden_in_other_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
