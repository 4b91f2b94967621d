/* Caches and masks told from values: which position every slot holds, which keys every row saw. */
#include "tests/copies.h"

#include "golden/paths_keys.h"
#include "golden/paths_ring.h"
#include "weights/checkpoint.h"

enum { T = 13, H = 6, G = 2, D = 8 };

/* ---- caches ---------------------------------------------------------------------------------- */

static void swap_slots(double *x, const mr_tensor *t) {
    const idx width = t->rank == 3 ? t->dim[1] * t->dim[2] : 1;
    for (idx i = 0; i < width; i++) {
        const double keep = x[i];
        x[i] = x[width + i];
        x[width + i] = keep;
    }
}
static void junk(double *x, const mr_tensor *t) {
    for (idx i = 0; i < t->dim[1] * t->dim[2]; i++) x[i] = 3;
}
static void twice(double *x, const mr_tensor *t) { (void)t, x[1] = x[0]; }
static void far(double *x, const mr_tensor *t) { (void)t, x[0] = 99; }

static void check_ring(const char *trace, const char *text) {
    mr_err e = {0};
    mr_trace *port;
    mr_meta meta;
    mr_ring_report ring;
    mr_config config;
    if (mr_config_read(MODEL, &config, NULL, 0, &e) || mr_trace_open(trace, &port, &e) ||
        mr_meta_read(trace, mr_trace_meta(port), &meta, &e) ||
        mr_ring_check(&config, &meta, port, &ring, &e)) fail_msg("%s: %s", trace, e.text);
    bool said = text[0] == '\0' && ring.count == 0;
    for (idx i = 0; i < ring.count; i++)
        said = said || (text[0] != '\0' && strstr(ring.list[i].text, text) != NULL);
    if (!said)
        fail_msg("%s: \"%s\" not said, %td faults, first: %s", trace, text, ring.count,
                 ring.count > 0 ? ring.list[0].text : "none");
    assert_int_equal(ring.layers, 2);
    mr_ring_report_free(&ring);
    mr_meta_free(&meta);
    mr_trace_close(port);
}

/* 13 positions in 5 slots: slot s holds 10, 11, 12, 8, 9. */
static void test_caches(void **state) {
    (void)state;
    const struct {
        const char *name;
        edit        change;
        const char *text;
    } list[] = {
        {"layers.0.cache_k", swap_slots, "slot 0 says position 10 but holds values of no token"},
        {"layers.1.cache_pos", swap_slots, "slot 0 says position 11 but holds position 10"},
        {"layers.0.cache_v", junk, "slot 0 says position 10 but holds values of no token"},
        {"layers.0.cache_pos", twice, "position 10 is in slots 0 and 1"},
        {"layers.0.cache_pos", twice, "position 11 is in no slot"},
        {"layers.1.cache_pos", far, "slot 0 says position 99, which sequence 0 does not have"},
    };
    check_ring(MODEL "/t13.f32.npz", "");
    check_ring(MODEL "/t13.bf16.npz", "");
    check_ring(MODEL "/t4.f64.npz", "");
    check_ring(MODEL "/packed_1_4_9.f32.npz", "");
    check_ring(MODEL "/p131065_t7.bf16.npz", "");
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        copy_trace(MODEL "/t13.f32.npz", "ring.npz", list[i].name, list[i].change, NULL);
        if (i < 4) check_ring(scratch("ring.npz"), i == 3 ? "slot 1 says" : list[i].text);
        else if (i == 5) check_ring(scratch("ring.npz"), list[i].text);
    }
    copy_trace(MODEL "/t13.f32.npz", "ring.npz", "layers.1.cache_pos", far, NULL);
    const expectation program[] = {
        {"compare " MODEL "/t13.f64.npz @/ring.npz --model " MODEL, 1, "slot 0 says position 99",
         ""},
        {"compare " MODEL "/t13.f64.npz " MODEL "/t13.f32.npz --model " MODEL, 0, "AGREES", ""},
    };
    CHECK_ALL(program);
}

/* ---- keys ------------------------------------------------------------------------------------ */

static double *load(mr_trace *trace, const char *name) {
    mr_err e = {0};
    const idx at = mr_trace_find(trace, name);
    const mr_tensor *t = mr_trace_tensor(trace, at);
    double *x = malloc((size_t)mr_count(t->rank, t->dim) * sizeof *x);
    assert_non_null(x);
    if (mr_trace_read(trace, at, x, &e)) fail_msg("%s", e.text);
    return x;
}

/* Attention of layer 0 over the keys that `sees` says, by hand, written into x. */
static bool (*sees)(idx row, idx key);

static void attend(double *x, const mr_tensor *t) {
    mr_err e = {0};
    mr_trace *trace;
    assert_int_equal(mr_trace_open(MODEL "/t13.f32.npz", &trace, &e), MR_OK);
    double *q = load(trace, "layers.0.q_rope"), *k = load(trace, "layers.0.k_rope"),
           *v = load(trace, "layers.0.v");
    (void)t;
    for (idx r = 0; r < T; r++)
        for (idx h = 0; h < H; h++) {
            double sum = 0, out_row[D] = {0};
            const idx g = h / (H / G);
            for (idx j = 0; j < T; j++) {
                double s = 0;
                for (idx c = 0; c < D; c++) s += q[(r * H + h) * D + c] * k[(j * G + g) * D + c];
                const double p = sees(r, j) ? exp(s / sqrt((double)D)) : 0;
                sum += p;
                for (idx c = 0; c < D; c++) out_row[c] += p * v[(j * G + g) * D + c];
            }
            for (idx c = 0; c < D; c++) x[(r * H + h) * D + c] = out_row[c] / sum;
        }
    free(q);
    free(k);
    free(v);
    mr_trace_close(trace);
}

static bool rule(idx r, idx j) { return j <= r && r - j < 5; }
static bool six(idx r, idx j) { return j <= r && r - j < 6; }
static bool all(idx r, idx j) { return j <= r; }
static bool later(idx r, idx j) { return r < 3 ? j < 13 : rule(r, j); }
static bool holes(idx r, idx j) { return rule(r, j) && !(r == 9 && j == 6); }
static bool stale(idx r, idx j) { return r == 10 ? j == 0 || j == 2 || j == 10 : rule(r, j); }

static void check_keys(bool (*how)(idx, idx), idx rows, idx row, const char *keys,
                       const char *summary) {
    mr_err e = {0};
    mr_trace *port;
    mr_meta meta;
    mr_arithmetic a;
    mr_config config;
    mr_keys_seen seen;
    sees = how;
    copy_trace(MODEL "/t13.f32.npz", "keys.npz", "layers.0.attention", attend, "prob");
    mr_arithmetic_of("f32", "f32", &a);
    if (mr_config_read(MODEL, &config, NULL, 0, &e) ||
        mr_trace_open(scratch("keys.npz"), &port, &e) ||
        mr_meta_read("", mr_trace_meta(port), &meta, &e) ||
        mr_keys_look(&config, &meta, port, &a, 0, &seen, &e)) fail_msg("%s", e.text);
    assert_int_equal(seen.rows, T);
    if (seen.count != rows || strstr(seen.summary, summary) == NULL)
        fail_msg("%td rows, \"%s\"; want %td, \"%s\"", seen.count, seen.summary, rows, summary);
    for (idx i = 0; i < seen.count; i++)
        if (seen.row[i].row == row) {
            assert_string_equal(seen.row[i].keys, keys);
            assert_int_equal(seen.row[i].fits, 1);
        }
    mr_keys_free(&seen);
    mr_meta_free(&meta);
    mr_trace_close(port);
}

static void test_keys(void **state) {
    (void)state;
    check_keys(rule, 0, -1, "", "");
    check_keys(six, 8, 7, "places 2 to 7", "from 5 on see the last 6 keys instead of 5");
    check_keys(all, 8, 12, "places 0 to 12", "row 5 sees places 0 to 5 instead of places 1 to 5");
    check_keys(later, 3, 1, "places 0 to 12", "row 0 sees places 0 to 12");
    check_keys(holes, 1, 9, "places 5, 7 to 9", "row 9 sees places 5, 7 to 9 instead of");
    check_keys(stale, 1, 10, "places 0, 2, 10", "row 10 sees places 0, 2, 10");
}

/* A wrong value is not explained by keys. */
static void test_not_keys(void **state) {
    (void)state;
    mr_err e = {0};
    mr_trace *port;
    mr_meta meta;
    mr_arithmetic a;
    mr_config config;
    mr_keys_seen seen;
    copy_trace(MODEL "/t13.f32.npz", "keys.npz", "layers.0.attention", row7, NULL);
    mr_arithmetic_of("f32", "f32", &a);
    if (mr_config_read(MODEL, &config, NULL, 0, &e) ||
        mr_trace_open(scratch("keys.npz"), &port, &e) ||
        mr_meta_read("", mr_trace_meta(port), &meta, &e) ||
        mr_keys_look(&config, &meta, port, &a, 0, &seen, &e)) fail_msg("%s", e.text);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.row[0].row, 7);
    assert_int_equal(seen.row[0].kind, MR_SEEN_UNKNOWN);
    assert_non_null(strstr(seen.summary, "not a matter of the mask"));
    mr_keys_free(&seen);
    mr_meta_free(&meta);
    mr_trace_close(port);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_caches),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_not_keys),
    };
    return cmocka_run_group_tests(tests, scratch_open, remove_scratch);
}
