/* Layouts: every order is made here from a golden trace by its own index arithmetic, must be named
 * in the right words, and must bring the values back; what is in no order must not be explained. */
#include "tests/layouts.h"

static void check(const char *trace, const change *list, idx count, mr_layout_kind kind,
                  const char *tensor, const char *words) {
    mr_err err = {0};
    mr_trace *golden;
    result r;
    if (mr_trace_open(trace, &golden, &err) != MR_OK) fail_msg("%s", err.text);
    write_port(golden, list, count);
    mr_trace_close(golden);
    recognise(&r, trace, scratch("port.npz"), NULL);
    bool named = false;
    for (idx i = 0; i < r.found.count; i++) {
        const mr_layout_found *l = &r.found.list[i];
        named = named || (strcmp(l->tensor, tensor) == 0 && l->kind == kind &&
                          strstr(l->text, words) != NULL);
        if (change_of(list, count, l->tensor) == NULL)
            fail_msg("%s: unasked: %s", l->tensor, l->text);
    }
    if (!named)
        fail_msg("%s: \"%s\" not said; %td layouts, first: %s", tensor, words, r.found.count,
                 r.found.count > 0 ? r.found.list[0].text : "none");
    for (idx i = 0; i < count && kind == MR_LAYOUT_FOUND; i++) check_values(&r, list[i].part);
    done(&r);
}

#define T13 CASES "dense_gqa_w5/t13.f64.npz"

/* ---- the port's element i is at this place of ours ------------------------------------------- */

static idx half(idx i) { return i / D * D + i % D % 4 * 2 + i % D / 4; }
static idx q_heads_first(idx i) { return (i / D % T * H + i / D / T) * D + i % D; }
static idx k_heads_first(idx i) { return (i / D % T * G + i / D / T) * D + i % D; }
static idx k_heads_first_half(idx i) { return half(k_heads_first(i / D * D) + i % D); }
static idx q_dim_first(idx i) { return i / (H * D) * H * D + i % H * D + i / H % D; }
static idx q_far(idx i) { return i / 48 * 48 + (i / 8 % 2 * 3 + i / 16 % 3) * 8 + i % 8; }
static idx same(idx i) { return i; }
static idx rows_turned(idx i) { return i % T * 22 + i / T; }
static idx scores_thd(idx i) { return (i / T % H * T + i / T / H) * T + i % T; }
static idx scores_ths_turned(idx i) { return i / 169 * 169 + i % T * T + i / T % T; }
static idx padded_right(idx i) { return i / 22 < T ? i : -1; }
static idx padded_left(idx i) { return i / 22 >= 3 ? i - 66 : -1; }

static void test_orders(void **state) {
    (void)state;
    const change q_half[] = {{"q", half, 3, {T, H, D}, NULL}};
    check(T13, q_half, 1, MR_LAYOUT_FOUND, "layers.1.q", "half-split rotary order");
    const change k_rope[] = {{"k_rope", k_heads_first_half, 4, {1, G, T, D}, NULL}};
    check(T13, k_rope, 1, MR_LAYOUT_FOUND, "layers.0.k_rope",
          "heads before tokens, half-split rotary order");
    const change heads[] = {{"attention", q_heads_first, 3, {H, T, D}, NULL}};
    check(T13, heads, 1, MR_LAYOUT_FOUND, "layers.0.attention", "heads before tokens");
    const change dims[] = {{"q_rope", q_dim_first, 3, {T, D, H}, NULL}};
    check(T13, dims, 1, MR_LAYOUT_FOUND, "layers.0.q_rope", "head_dim before heads");
    const change far[] = {{"q", q_far, 2, {T, H * D}, NULL}};
    check(T13, far, 1, MR_LAYOUT_FOUND, "layers.0.q", "far apart");
    const change turned[] = {{"h_mid", rows_turned, 2, {22, T}, NULL}};
    check(T13, turned, 1, MR_LAYOUT_FOUND, "layers.0.h_mid", "transposed");
    const change scores[] = {{"scores", scores_thd, 3, {T, H, T}, NULL}};
    check(T13, scores, 1, MR_LAYOUT_FOUND, "layers.1.scores", "tokens before heads");
    const change keys[] = {{"probs", scores_ths_turned, 4, {1, H, T, T}, NULL}};
    check(T13, keys, 1, MR_LAYOUT_FOUND, "layers.1.probs", "keys before tokens");
    const change right[] = {{"h", padded_right, 3, {1, 16, 22}, NULL}};
    check(T13, right, 1, MR_LAYOUT_FOUND, "layers.0.h", "padded on the right");
    const change left[] = {{"h", padded_left, 3, {1, 16, 22}, NULL}};
    check(T13, left, 1, MR_LAYOUT_FOUND, "layers.1.h", "padded on the left");
}

static void test_other_names(void **state) {
    (void)state;
    const change gate[] = {{"w1", same, 2, {T, F}, "first"}};
    check(T13, gate, 1, MR_LAYOUT_FOUND, "layers.1.w1", "is what the port calls otherwise");
    const change values[] = {{"v", same, 2, {T, G * D}, "second"}};
    check(T13, values, 1, MR_LAYOUT_FOUND, "layers.0.v", "is what the port calls otherwise");
}

/* Axes of size 1 and heads joined or apart are no news. */
static void test_reshaped(void **state) {
    (void)state;
    const change list[] = {{"q", same, 3, {1, T, H * D}, NULL}, {"h", same, 4, {T, 1, 22, 1}, NULL},
                           {"scores", same, 4, {1, H, T, T}, NULL}};
    mr_err err = {0};
    mr_trace *golden;
    result r;
    assert_int_equal(mr_trace_open(T13, &golden, &err), MR_OK);
    write_port(golden, list, 3);
    mr_trace_close(golden);
    recognise(&r, T13, scratch("port.npz"), NULL);
    assert_int_equal(r.found.count, 0);
    check_values(&r, "q");
    check_values(&r, "h");
    check_values(&r, "scores");
    done(&r);
}

/* A port whose meta says that its pairs are halves: no news if they are. */
static void test_said(void **state) {
    (void)state;
    const change all[] = {{"q", half, 3, {T, H, D}, NULL}, {"k", half, 3, {T, G, D}, NULL},
                          {"q_rope", half, 3, {T, H, D}, NULL},
                          {"k_rope", half, 3, {T, G, D}, NULL},
                          {"cache_k", half, 3, {5, G, D}, NULL}};
    mr_err err = {0};
    mr_trace *golden;
    result r;
    said_layout = "half";
    assert_int_equal(mr_trace_open(T13, &golden, &err), MR_OK);
    write_port(golden, all, 5);
    recognise(&r, T13, scratch("port.npz"), NULL);
    if (r.found.count > 0) fail_msg("%s: %s", r.found.list[0].tensor, r.found.list[0].text);
    done(&r);
    write_port(golden, all, 4);   /* the cache is as before */
    recognise(&r, T13, scratch("port.npz"), NULL);
    assert_int_equal(r.found.count, L);
    for (idx i = 0; i < L; i++) {
        assert_non_null(strstr(r.found.list[i].tensor, "cache_k"));
        assert_non_null(strstr(r.found.list[i].text, "interleaved rotary order"));
    }
    done(&r);
    const change moved[] = {{"q", half, 3, {T, H, D}, NULL}, {"k", half, 3, {T, G, D}, NULL},
                            {"q_rope", half, 3, {T, H, D}, NULL},
                            {"k_rope", k_heads_first_half, 4, {1, G, T, D}, NULL},
                            {"cache_k", half, 3, {5, G, D}, NULL}};
    write_port(golden, moved, 5);
    recognise(&r, T13, scratch("port.npz"), NULL);
    assert_int_equal(r.found.count, L);
    for (idx i = 0; i < L; i++)
        assert_string_equal(r.found.list[i].text, "is in another order: heads before tokens");
    done(&r);
    mr_trace_close(golden);
    said_layout = NULL;
}

/* ---- batches: lengths 1, 4, 9 ---------------------------------------------------------------- */

#define PACKED CASES "dense_gqa_w5/packed_1_4_9.f64.npz"

static const idx lengths[] = {1, 4, 9}, starts[] = {0, 1, 5};

static idx left_batch(idx i) {   /* [3,9,22] */
    const idx b = i / 22 / 9, column = i / 22 % 9, pad = 9 - lengths[b];
    return column < pad ? -1 : (starts[b] + column - pad) * 22 + i % 22;
}
static idx time_first(idx i) {   /* [9,3,22], padded on the right */
    const idx column = i / 22 / 3, b = i / 22 % 3;
    return column >= lengths[b] ? -1 : (starts[b] + column) * 22 + i % 22;
}
static idx heads_batch(idx i) {   /* [3,H,9,D], padded on the right */
    const idx b = i / D / 9 / H, h = i / D / 9 % H, column = i / D % 9;
    return column >= lengths[b] ? -1 : ((starts[b] + column) * H + h) * D + i % D;
}
static idx square_batch(idx i) {   /* [3,H,9,9], padded on the left */
    const idx b = i / 81 / H, h = i / 81 % H, pad = 9 - lengths[b];
    const idx row = i / 9 % 9 - pad, key = i % 9 - pad;
    return row < 0 || key < 0 ? -1 : (h * 14 + starts[b] + row) * 14 + starts[b] + key;
}
static idx square_at(idx b, idx h, idx row, idx key) {   /* padded on the right */
    return row >= lengths[b] || key >= lengths[b]
               ? -1
               : (h * 14 + starts[b] + row) * 14 + starts[b] + key;
}
static idx heads_then_batch(idx i) { return square_at(i / 81 % 3, i / 243, i / 9 % 9, i % 9); }
static idx tokens_then_heads(idx i) {
    return square_at(i / 81 / H, i / 9 % H, i / 9 / H % 9, i % 9);
}
static idx tokens_then_batch(idx i) {
    return square_at(i / 9 / H % 3, i / 9 % H, i / 27 / H, i % 9);
}

static void test_batches(void **state) {
    (void)state;
    const change left[] = {{"ffn_norm", left_batch, 3, {3, 9, 22}, NULL}};
    check(PACKED, left, 1, MR_LAYOUT_FOUND, "layers.0.ffn_norm", "a batch padded on the left");
    const change first[] = {{"ffn_norm", time_first, 3, {9, 3, 22}, NULL}};
    check(PACKED, first, 1, MR_LAYOUT_FOUND, "layers.0.ffn_norm",
          "time before batch, a batch padded on the right");
    const change heads[] = {{"attention", heads_batch, 4, {3, H, 9, D}, NULL}};
    check(PACKED, heads, 1, MR_LAYOUT_FOUND, "layers.1.attention",
          "heads before tokens, a batch padded on the right");
    const change square[] = {{"probs", square_batch, 4, {3, H, 9, 9}, NULL}};
    check(PACKED, square, 1, MR_LAYOUT_FOUND, "layers.1.probs", "a batch padded on the left");
    const change hb[] = {{"scores", heads_then_batch, 4, {H, 3, 9, 9}, NULL}};
    check(PACKED, hb, 1, MR_LAYOUT_FOUND, "layers.0.scores",
          "heads before sequences, a batch padded on the right");
    const change th[] = {{"probs", tokens_then_heads, 4, {3, 9, H, 9}, NULL}};
    check(PACKED, th, 1, MR_LAYOUT_FOUND, "layers.1.probs",
          "tokens before heads, a batch padded on the right");
    const change tb[] = {{"probs", tokens_then_batch, 4, {9, 3, H, 9}, NULL}};
    check(PACKED, tb, 1, MR_LAYOUT_FOUND, "layers.0.probs",
          "tokens, sequences, then heads, a batch padded on the right");
}

/* ---- nothing is explained that is not so ----------------------------------------------------- */

static idx shuffled(idx i) { return i / 48 * 48 + (i % 48 * 31 + 7) % 48; }
static idx rows_moved(idx i) { return (i / 22 * 6 + 4) % T * 22 + i % 22; }
static idx k_by_six(idx i) {   /* half-split rows of 2 heads of 8 ... */
    const idx at = i % 48, head = at / 8, r = at % 8;
    return i / 48 * 48 + head * 8 + (r + 3) % 8;
}

static void expect_nothing(const char *trace, const change *list, idx count) {
    mr_err err = {0};
    mr_trace *golden;
    result r;
    assert_int_equal(mr_trace_open(trace, &golden, &err), MR_OK);
    write_port(golden, list, count);
    mr_trace_close(golden);
    recognise(&r, trace, scratch("port.npz"), NULL);
    if (r.found.count > 0) fail_msg("%s: %s", r.found.list[0].tensor, r.found.list[0].text);
    done(&r);
}

/* Outputs of other heads, as a wrong choice of kv heads gives them; only the rotated queries are
 * there to say that heads are in their places. */
static void test_heads_of_results(void **state) {
    (void)state;
    const change far[] = {{"attention", q_far, 3, {T, H, D}, NULL}, {"q", NULL, 0, {0}, NULL}};
    expect_nothing(T13, far, 2);
}

static void test_not_explained(void **state) {
    (void)state;
    const change any[] = {{"q", shuffled, 3, {T, H, D}, NULL}};
    expect_nothing(T13, any, 1);
    const change rows[] = {{"h", rows_moved, 2, {T, 22}, NULL}};
    expect_nothing(T13, rows, 1);
    const change pairs[] = {{"q_rope", k_by_six, 3, {T, H, D}, NULL}};
    expect_nothing(T13, pairs, 1);
}

/* Hugging Face's own runs in two precisions against float64: nothing to report. */
static void test_real_runs(void **state) {
    (void)state;
    int traces = 0;
    DIR *all = opendir(CASES);
    assert_non_null(all);
    for (struct dirent *m; (m = readdir(all)) != NULL; ) {
        char folder[300], path[900], other[900];
        snprintf(folder, sizeof folder, CASES "%.200s", m->d_name);
        DIR *one = m->d_name[0] != '.' ? opendir(folder) : NULL;
        for (struct dirent *e; one != NULL && (e = readdir(one)) != NULL; ) {
            const char *end = strstr(e->d_name, ".f64.npz");
            static const char *const stores[] = {"f32", "bf16"};
            for (int s = 0; end != NULL && s < 2; s++) {
                result r;
                snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
                snprintf(other, sizeof other, "%s/%.*s.%s.npz", folder, (int)(end - e->d_name),
                         e->d_name, stores[s]);
                if (access(other, R_OK) != 0) continue;
                recognise(&r, path, other, NULL);
                if (r.found.count > 0)
                    fail_msg("%s: %s: %s", other, r.found.list[0].tensor, r.found.list[0].text);
                done(&r);
                traces++;
            }
        }
        if (one != NULL) closedir(one);
    }
    closedir(all);
    assert_true(traces >= 50);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_orders),        cmocka_unit_test(test_said),
        cmocka_unit_test(test_other_names),
        cmocka_unit_test(test_reshaped),
        cmocka_unit_test(test_batches),       cmocka_unit_test(test_not_explained),
        cmocka_unit_test(test_heads_of_results), cmocka_unit_test(test_real_runs),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
