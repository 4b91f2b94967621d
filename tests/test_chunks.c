/* One answer per sequence: however it is cut into calls or packed with others, the bits are the
 * same. */
#include "tests/tiny.h"

enum { V = 11, W = 5, T = 2 * W + 3, MOST_CACHE = 3 * T * 8 };

/* Token i of sequence s; different sequences share no prefix. */
static int32_t token(idx s, idx i) { return (int32_t)((4 * s + i * i + 3 * i + 1) % V); }

/* What is left of a sequence: logits of all its tokens, and the rings of both layers (k, v,
 * positions). */
typedef struct {
    double logits[T * V];
    double cache[6][MOST_CACHE];
    idx    cached[6];
} outcome;

static bool take_cache(void *user, const mr_tensor *t) {
    outcome *out = user;
    const char *kind = strstr(t->name, ".cache_");
    if (kind == NULL) return false;
    if (t->data == NULL) return true;
    const int at = 3 * (t->name[7] - '0') + (kind[7] == 'k' ? 0 : kind[7] == 'v' ? 1 : 2);
    out->cached[at] = mr_count(t->rank, t->dim);
    for (idx i = 0; i < out->cached[at]; i++)
        out->cache[at][i] = t->dtype == MR_F64   ? ((const double *)t->data)[i]
                            : t->dtype == MR_F32 ? (double)((const float *)t->data)[i]
                                                 : ((const int32_t *)t->data)[i];
    return true;
}

/* Feeds n sequences of total[b] tokens, chunk[b] at a time, in one run; the outcome is that of
 * sequence 0's content, which sits at place `mine` and is sequence number ids[mine]. */
static void feed(const tiny *t, const mr_run_options *how, idx n, const idx *ids, const idx *total,
                 const idx *chunk, idx mine, outcome *out) {
    const idx capacity[] = {T, T, T};
    mr_run_options o = *how;
    o.n_seqs = n, o.capacity = capacity, o.max_tokens = n * T, o.tap = take_cache, o.user = out;
    mr_run *run = tiny_run(t, &o);
    idx seen[3] = {0};
    for (bool more = true; more;) {
        int32_t tokens[3 * T];
        idx length[3], count = 0, first_row = 0;
        more = false;
        for (idx b = 0; b < n; b++) {
            length[b] = total[b] - seen[b] < chunk[b] ? total[b] - seen[b] : chunk[b];
            if (b == mine) first_row = count;
            for (idx a = 0; a < length[b]; a++) tokens[count++] = token(ids[b], seen[b] + a);
        }
        tiny_forward(run, tokens, length);
        assert_true(mr_run_rows(run) == count);
        for (idx a = 0; a < length[mine]; a++)
            mr_run_logits(run, first_row + a, out->logits + (seen[mine] + a) * V);
        for (idx b = 0; b < n; b++) {
            seen[b] += length[b];
            assert_true(mr_run_seen(run, b) == seen[b]);
            more = more || seen[b] < total[b];
        }
    }
    mr_run_show_cache(run);
    mr_run_close(run);
    /* the part of the rings that is mine */
    for (int i = 0; i < 6; i++) {
        out->cached[i] /= n;
        memmove(out->cache[i], out->cache[i] + mine * out->cached[i],
                (size_t)out->cached[i] * sizeof(double));
    }
}

static void same(const char *name, const outcome *want, const outcome *got) {
    check_bits(name, want->logits, got->logits, T * V, sizeof(double));
    for (int i = 0; i < 6; i++) {
        assert_true(want->cached[i] > 0 && want->cached[i] == got->cached[i]);
        check_bits(name, want->cache[i], got->cache[i], want->cached[i], sizeof(double));
    }
}

/* No window, W, W by the inclusive rule, and layers {3, none}. */
static void set_windows(mr_config *c, int kind) {
    c->n_windows = kind == 0 ? 0 : kind == 3 ? 2 : 1;
    c->windows[0] = kind == 3 ? 3 : W;
    c->windows[1] = 0;
    c->window_rule = kind == 2 ? MR_WINDOW_INCLUSIVE : MR_WINDOW_SWA;
}

static void every_way(const mr_config *c, mr_precision precision) {
    static outcome want, got;
    const mr_run_options o = {.precision = precision};
    const idx zero = 0, all = T, chunks[] = {1, 2, 3, W - 1, W, W + 1, 2 * W, T};
    tiny t;
    tiny_open(&t, c);
    feed(&t, &o, 1, &zero, &all, &all, 0, &want);
    for (int i = 0; i < 8; i++) {
        feed(&t, &o, 1, &zero, &all, &chunks[i], 0, &got);
        same("chunks", &want, &got);
    }
    /* packed with a short and a middle one, ragged chunks */
    for (idx mine = 0; mine < 3; mine++)
        for (int i = 0; i < 8; i++) {
            idx ids[] = {1, 1, 1}, total[] = {4, 4, 4}, chunk[] = {3, 3, 3};
            ids[(mine + 1) % 3] = 2, total[(mine + 1) % 3] = 9, chunk[(mine + 1) % 3] = 1 + i;
            ids[mine] = 0, total[mine] = T, chunk[mine] = chunks[i];
            feed(&t, &o, 3, ids, total, chunk, mine, &got);
            same("packed", &want, &got);
        }
    tiny_close(&t);
}

static void dense_chunks(void **state) {
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        mr_config c = tiny_config();
        c.n_heads = 6;
        set_windows(&c, kind);
        every_way(&c, MR_F64_RUN);
        every_way(&c, MR_F32_RUN);
    }
}

static void sparse_chunks(void **state) {
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        mr_config c = tiny_sparse(3);
        set_windows(&c, kind);
        every_way(&c, MR_F64_RUN);
        every_way(&c, MR_F32_RUN);
    }
}

/* 16-bit emulation and float angles keep the property. */
static void storage_chunks(void **state) {
    (void)state;
    mr_config c = tiny_sparse(2);
    set_windows(&c, 1);
    c.storage = MR_STORE_BF16, c.rope_angles = MR_ANGLES_F32, c.rope_layout = MR_HALF_SPLIT;
    every_way(&c, MR_F32_RUN);
}

/* Longformer comes in one call; packed or alone. Row p sees |i-j| <= W/2, so the last token reaches
 * back into row T-3. */
static void longformer_packed(void **state) {
    (void)state;
    static outcome want, got;
    const idx zero = 0, all = T, ids[] = {2, 0, 1}, total[] = {9, T, 4};
    const mr_run_options o = {.precision = MR_F64_RUN};
    mr_config c = tiny_config();
    c.n_windows = 1, c.windows[0] = W, c.window_rule = MR_WINDOW_LONGFORMER;
    tiny t;
    tiny_open(&t, &c);
    feed(&t, &o, 1, &zero, &all, &all, 0, &want);
    feed(&t, &o, 3, ids, total, total, 1, &got);
    same("packed", &want, &got);
    tiny_close(&t);
}

/* Rows through their expert one by one or all at once: the same bits for every K, in both
 * precisions, in 16 bits too. */
static void naive_equals_grouped(void **state) {
    (void)state;
    static outcome want, got;
    const idx zero = 0, all = T;
    for (idx K = 1; K <= 4; K++)
        for (int storage = 0; storage < 3; storage++)
            for (int precision = 0; precision < 2; precision++) {
                mr_config c = tiny_sparse(K);
                c.storage = (mr_storage)storage;
                tiny t;
                tiny_open(&t, &c);
                mr_run_options o = {.precision = (mr_precision)precision,
                                    .dispatch = MR_DISPATCH_GROUPED};
                feed(&t, &o, 1, &zero, &all, &all, 0, &want);
                o.dispatch = MR_DISPATCH_NAIVE;
                feed(&t, &o, 1, &zero, &all, &all, 0, &got);
                same("naive", &want, &got);
                tiny_close(&t);
            }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense_chunks), cmocka_unit_test(sparse_chunks),
        cmocka_unit_test(storage_chunks), cmocka_unit_test(longformer_packed),
        cmocka_unit_test(naive_equals_grouped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
