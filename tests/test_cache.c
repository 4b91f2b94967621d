/* Rolling cache: which slot each position lives in, and what is overwritten. */
#include "tests/check.h"

#include "ref/mr.h"

/* Rows that name their position: element i of the key of position p is p + i/10, of the value -p -
 * i/10. */
static void rows(double *k, double *v, idx n, idx position, idx width) {
    for (idx a = 0; a < n; a++)
        for (idx i = 0; i < width; i++) {
            k[a * width + i] = (double)(position + a) + (double)i / 10;
            v[a * width + i] = -k[a * width + i];
        }
}

/* mistral-inference's own bookkeeping example: new lengths (5,7,2) after (0,1,3) cached tokens, W =
 * 3. The last min(n,W) rows are written: sequence 0 positions 2 3 4 to slots 2 0 1; sequence 1
 * positions 5 6 7 to slots 2 0 1 (5 3 4 of the shared buffer); sequence 2 positions 3 4 to slots 0
 * 1 (6 7), where slot 2 keeps position 2. */
static void worked_example(void **state) {
    (void)state;
    enum { W = 3, WIDTH = 2 };
    const idx length[] = {5, 7, 2}, seen[] = {0, 1, 3};
    const double want[] = {3, 4, 2, 6, 7, 5, 3, 4, 2};
    double ring_k[3 * W * WIDTH], ring_v[3 * W * WIDTH], k[7 * WIDTH], v[7 * WIDTH];
    for (int i = 0; i < 3 * W * WIDTH; i++) ring_k[i] = ring_v[i] = 99;
    for (idx b = 0; b < 3; b++) {
        double *bk = ring_k + b * W * WIDTH, *bv = ring_v + b * W * WIDTH;
        rows(k, v, seen[b], 0, WIDTH);
        mr_cache_write_f64(bk, bv, k, v, seen[b], 0, W, WIDTH);
        rows(k, v, length[b], seen[b], WIDTH);
        mr_cache_write_f64(bk, bv, k, v, length[b], seen[b], W, WIDTH);
    }
    for (int slot = 0; slot < 3 * W; slot++)
        for (int i = 0; i < WIDTH; i++) {
            check_number("key", want[slot] + i / 10.0, ring_k[slot * WIDTH + i], 0);
            check_number("value", -(want[slot] + i / 10.0), ring_v[slot * WIDTH + i], 0);
        }
}

/* Any way to cut 2W+3 positions into calls leaves the same ring, in both precisions, also far from
 * zero. */
static void chunks(void **state) {
    (void)state;
    enum { W = 5, T = 2 * W + 3, WIDTH = 3 };
    const int64_t firsts[] = {0, 1, 131071, ((int64_t)1 << 40) + 3};
    double k[T * WIDTH], v[T * WIDTH], want_k[W * WIDTH], want_v[W * WIDTH], got_k[W * WIDTH],
        got_v[W * WIDTH];
    rows(k, v, T, 0, WIDTH);
    for (int f = 0; f < 4; f++)
        for (idx chunk = 1; chunk <= T; chunk++) {
            for (idx p = T - W; p < T; p++)
                for (idx i = 0; i < WIDTH; i++) {
                    const idx slot = (idx)((firsts[f] + p) % W);
                    want_k[slot * WIDTH + i] = k[p * WIDTH + i];
                    want_v[slot * WIDTH + i] = v[p * WIDTH + i];
                }
            for (idx at = 0; at < T; at += chunk)
                mr_cache_write_f64(got_k, got_v, k + at * WIDTH, v + at * WIDTH,
                                   T - at < chunk ? T - at : chunk, firsts[f] + at, W, WIDTH);
            check_bits("keys", want_k, got_k, W * WIDTH, sizeof *got_k);
            check_bits("values", want_v, got_v, W * WIDTH, sizeof *got_v);
        }
}

/* Fewer rows than slots touch only their own; no rows touch nothing. */
static void the_rest_is_untouched(void **state) {
    (void)state;
    float ring_k[] = {1, 2, 3, 4}, ring_v[] = {5, 6, 7, 8};
    const float k[] = {10, 11}, v[] = {20, 21}, want_k[] = {11, 2, 3, 10},
                want_v[] = {21, 6, 7, 20};
    mr_cache_write_f32(ring_k, ring_v, k, v, 0, 2, 4, 1);
    assert_true(ring_k[2] == 3 && ring_v[2] == 7);
    /* positions 7 and 8: slots 3 and 0 */
    mr_cache_write_f32(ring_k, ring_v, k, v, 2, 7, 4, 1);
    check_bits("keys", want_k, ring_k, 4, sizeof *k);
    check_bits("values", want_v, ring_v, 4, sizeof *v);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worked_example), cmocka_unit_test(chunks),
        cmocka_unit_test(the_rest_is_untouched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
