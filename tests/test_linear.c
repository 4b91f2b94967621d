/* Matrix times vectors: order of summation, views, element types, storage, and the BLAS engine
 * against the plain one. */
#include "tests/check.h"

#include <math.h>
#include <string.h>

#include "ref/mr.h"

enum { MOST = 600, ROWS = 1100 };

static double scratch[mr_linear_scratch(MOST)];

/* One call in either precision and engine, seen as doubles; x must hold floats when bits is 32. y
 * starts as NaN. */
static void linear(int bits, double *y, const double *x, const mr_matrix *W, idx T,
                   mr_storage storage, mr_engine engine) {
    static float x32[20 * MOST], y32[20 * ROWS];
    for (idx i = 0; i < T * W->rows; i++) y[i] = (double)(y32[i] = NAN);
    for (idx i = 0; i < T * W->cols; i++) x32[i] = (float)x[i];
    if (bits == 64) {
        mr_linear_f64(y, x, W, T, storage, engine, scratch);
        return;
    }
    mr_linear_f32(y32, x32, W, T, storage, engine, (float *)scratch);
    for (idx i = 0; i < T * W->rows; i++) y[i] = (double)y32[i];
}

static double eps_of(int bits) { return bits == 64 ? EPS_F64 : EPS_F32; }

static mr_matrix dense(const void *data, mr_dtype dtype, idx rows, idx cols) {
    return (mr_matrix){data, dtype, rows, cols, cols, 1};
}

/* Floats as doubles, so that both precisions start from the same numbers. */
static void fill(double *x, idx n, uint64_t stream) {
    fill_f64(x, n, stream);
    for (idx i = 0; i < n; i++) x[i] = (double)(float)x[i];
}

/* By hand: W = (1 2 3; 4 5 6), x = (1,0,-1) and (2,1,0): (1-3, 4-6) and (2+2, 8+5). W is
 * [out][in]. */
static void worked_example(void **state) {
    (void)state;
    const double w[] = {1, 2, 3, 4, 5, 6}, x[] = {1, 0, -1, 2, 1, 0}, want[] = {-2, -2, 4, 13};
    const mr_matrix W = dense(w, MR_F64, 2, 3);
    double y[4];
    for (int bits = 32; bits <= 64; bits += 32)
        for (int engine = 0; engine < 2; engine++) {
            if (!mr_engine_built((mr_engine)engine)) continue;
            linear(bits, y, x, &W, 2, MR_STORE_WIDE, (mr_engine)engine);
            check_bits("y", want, y, 4, sizeof *y);
        }
}

/* (L2) as documented: sixteen sums over i = l mod 16, then ((l, l+8), (l, l+4), ...) pairwise. */
static double lanes(const double *a, const double *b, idx n) {
    double s[16] = {0};
    for (idx i = 0; i < n; i++) s[i % 16] += a[i] * b[i];
    double p[8], q[4];
    for (int l = 0; l < 8; l++) p[l] = s[l] + s[l + 8];
    for (int l = 0; l < 4; l++) q[l] = p[l] + p[l + 4];
    return (q[0] + q[2]) + (q[1] + q[3]);
}

/* Every size around the lanes (16), the widened block (512) and the tile of 8 tokens; the order is
 * exact to the bit. */
static void sizes_and_order(void **state) {
    (void)state;
    const idx sizes[] = {0, 1, 2, 3, 5, 10, 15, 16, 17, 31, 33, 50, 511, 512, 513, 529};
    const idx tokens[] = {0, 1, 7, 8, 9, 17};
    static double x[17 * MOST], w[3 * MOST], y[17 * 3], y32[17 * 3];
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
        for (size_t m = 0; m < sizeof tokens / sizeof *tokens; m++) {
            const idx n = sizes[k], T = tokens[m];
            const mr_matrix W = dense(w, MR_F64, 3, n);
            fill(x, T * n, 1 + k);
            fill(w, 3 * n, 100 + k);
            linear(64, y, x, &W, T, MR_STORE_WIDE, MR_PLAIN_ENGINE);
            linear(32, y32, x, &W, T, MR_STORE_WIDE, MR_PLAIN_ENGINE);
            for (idx i = 0; i < 3 * T; i++) {
                const double want = lanes(w + i % 3 * n, x + i / 3 * n, n);
                /* float products are exact in double: one rounding */
                const double narrow = (double)(float)want;
                check_bits("f64", &want, y + i, 1, sizeof want);
                check_bits("f32", &narrow, y32 + i, 1, sizeof want);
            }
        }
}

/* Threads share out rows, never a sum. 130 x 513 x 9 products are enough to start them. */
static void threads(void **state) {
    (void)state;
    static double w[ROWS * MOST], x[9 * MOST], want[9 * ROWS], y[9 * ROWS];
    fill(w, ROWS * 513, 1);
    fill(x, 9 * 513, 2);
    const mr_matrix W = dense(w, MR_F64, ROWS, 513);
    for (int bits = 32; bits <= 64; bits += 32)
        for (int n = 1; n <= 4; n++) {
            mr_set_threads(n);
            linear(bits, n == 1 ? want : y, x, &W, 9, MR_STORE_WIDE, MR_PLAIN_ENGINE);
            if (n > 1) check_bits("y", want, y, 9 * ROWS, sizeof *y);
        }
    mr_set_threads(1);
}

/* Against long sums in another order: f64 within n/16 + 5 roundings of half a unit, f32 within its
 * one. */
static void accuracy(void **state) {
    (void)state;
    enum { n = 513 };
    static double x[n], w[n];
    const mr_matrix W = dense(w, MR_F64, 1, n);
    fill(x, n, 1);
    fill(w, n, 2);
    long double sum = 0, terms = 0;
    for (idx i = 0; i < n; i++) {
        sum += (long double)x[i] * (long double)w[i];
        terms += fabsl((long double)x[i] * (long double)w[i]);
    }
    const double want = (double)sum, scale = (double)terms;
    double y;
    linear(64, &y, x, &W, 1, MR_STORE_WIDE, MR_PLAIN_ENGINE);
    check_close("f64", &want, &y, 1, EPS_F64, scale, 20);
    linear(32, &y, x, &W, 1, MR_STORE_WIDE, MR_PLAIN_ENGINE);
    check_close("f32", &want, &y, 1, EPS_F32, scale, 0.51);
}

/* Multiples of 1/16 below 4: sums are exact, so W(x+z) = Wx + Wz to the bit. */
static void linearity(void **state) {
    (void)state;
    enum { R = 5, n = 50 };
    double w[R * n], x[n], z[n], both[n], wx[R], wz[R], wb[R];
    fill_f64(w, R * n, 1);
    fill_f64(x, n, 2);
    fill_f64(z, n, 3);
    for (idx i = 0; i < R * n; i++) w[i] = rint(64 * w[i]) / 16;
    for (idx i = 0; i < n; i++)
        both[i] = (x[i] = rint(64 * x[i]) / 16) + (z[i] = rint(64 * z[i]) / 16);
    const mr_matrix W = dense(w, MR_F64, R, n);
    linear(64, wx, x, &W, 1, MR_STORE_WIDE, MR_PLAIN_ENGINE);
    linear(64, wz, z, &W, 1, MR_STORE_WIDE, MR_PLAIN_ENGINE);
    linear(64, wb, both, &W, 1, MR_STORE_WIDE, MR_PLAIN_ENGINE);
    for (idx i = 0; i < R; i++) wx[i] += wz[i];
    check_bits("sum", wx, wb, R, sizeof *wx);
}

/* The same numbers row-major, transposed, with gaps, and as a block of a larger matrix. */
static void views(void **state) {
    (void)state;
    enum { R = 3, n = 530, WIDE = 2 * n + 7 };
    static double w[R * n], turned[n * R], gaps[R * WIDE], x[9 * n], want[9 * R], y[9 * R];
    fill(w, R * n, 1);
    fill(x, 9 * n, 2);
    for (idx i = 0; i < R * WIDE; i++) gaps[i] = (double)NAN;
    for (idx r = 0; r < R; r++)
        for (idx c = 0; c < n; c++) turned[c * R + r] = gaps[r * WIDE + 2 * c + 3] = w[r * n + c];
    const mr_matrix W = dense(w, MR_F64, R, n);
    const mr_matrix views[] = {{turned, MR_F64, R, n, 1, R}, {gaps + 3, MR_F64, R, n, WIDE, 2},
                               {w + n, MR_F64, R - 1, n, n, 1}};
    for (int engine = 0; engine < 2; engine++) {
        if (!mr_engine_built((mr_engine)engine)) continue;
        for (int bits = 32; bits <= 64; bits += 32) {
            linear(bits, want, x, &W, 9, MR_STORE_WIDE, (mr_engine)engine);
            for (int v = 0; v < 2; v++) {
                linear(bits, y, x, &views[v], 9, MR_STORE_WIDE, (mr_engine)engine);
                if (engine == MR_PLAIN_ENGINE) check_bits("view", want, y, 9 * R, sizeof *y);
                else check_close("blas view", want, y, 9 * R, eps_of(bits), n / 4.0, 30);
            }
            linear(bits, y, x, &views[2], 1, MR_STORE_WIDE, (mr_engine)engine);
            check_close("block", want + 1, y, R - 1, eps_of(bits), n / 4.0, 30);
        }
    }
}

static void store(unsigned char *at, double value, mr_dtype dtype) {
    const float single = (float)value;
    const uint16_t half = dtype == MR_F16 ? mr_double_to_half(value) : mr_double_to_bf16(value);
    if (dtype == MR_F64) memcpy(at, &value, 8);
    else if (dtype == MR_F32) memcpy(at, &single, 4);
    else memcpy(at, &half, 2);
}

/* Weights that every type holds give the same bits from every type, at any alignment and stride. */
static void element_types(void **state) {
    (void)state;
    enum { R = 3, n = 520 };
    static double w[R * n], x[n], want[R], y[R];
    static unsigned char bytes[2 * R * n * 8 + 1];
    fill_f64(w, R * n, 1);
    for (idx i = 0; i < R * n; i++) w[i] = rint(64 * w[i]) / 16;
    fill(x, n, 2);
    const mr_matrix W = dense(w, MR_F64, R, n);
    const mr_dtype dtypes[] = {MR_F64, MR_F32, MR_F16, MR_BF16};
    for (int bits = 32; bits <= 64; bits += 32) {
        linear(bits, want, x, &W, 1, MR_STORE_WIDE, MR_PLAIN_ENGINE);
        for (int k = 0; k < 4; k++)
            for (idx step = 1; step <= 2; step++)
                for (int shift = 0; shift < 2; shift++) {
                    const idx size = mr_dtype_size(dtypes[k]);
                    for (idx i = 0; i < R * n; i++)
                        store(bytes + shift + i * step * size, w[i], dtypes[k]);
                    const mr_matrix V = {bytes + shift, dtypes[k], R, n, n * step, step};
                    linear(bits, y, x, &V, 1, MR_STORE_WIDE, MR_PLAIN_ENGINE);
                    check_bits("plain", want, y, R, sizeof *y);
                    if (!mr_engine_built(MR_BLAS_ENGINE)) continue;
                    linear(bits, y, x, &V, 1, MR_STORE_WIDE, MR_BLAS_ENGINE);
                    check_close("blas", want, y, R, eps_of(bits), n, 30);
                }
    }
}

/* Emulated 16-bit storage rounds weights of any other type as they are read, and leaves its own
 * type alone. */
static void storage(void **state) {
    (void)state;
    const double x = 1;
    const struct { mr_dtype file; mr_storage storage; double weight, want; } cases[] = {
        {MR_F64, MR_STORE_BF16, 1 + 0x1p-8, 1},
        {MR_F64, MR_STORE_BF16, 1 + 3 * 0x1p-8, 1 + 0x1p-6},
        {MR_F32, MR_STORE_BF16, 1 + 0x1p-8, 1},
        {MR_F32, MR_STORE_F16, 1 + 3 * 0x1p-11, 1 + 0x1p-9},
        {MR_F16, MR_STORE_BF16, 1 + 0x1p-10, 1},
        {MR_BF16, MR_STORE_F16, 0x1p-30, 0},
        {MR_F16, MR_STORE_F16, 1 + 0x1p-10, 1 + 0x1p-10},
        {MR_BF16, MR_STORE_BF16, 0x1p-30, 0x1p-30},
        {MR_F16, MR_STORE_WIDE, 1 + 0x1p-10, 1 + 0x1p-10},
        {MR_F64, MR_STORE_WIDE, 1 + 0x1p-20, 1 + 0x1p-20},
        {MR_F64, MR_STORE_BF16, 1 + 0x1p-8 + 0x1p-40, 1 + 0x1p-7},   /* one rounding, not two */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int bits = 32; bits <= 64; bits += 32)
            for (int engine = 0; engine < 2; engine++) {
                if (!mr_engine_built((mr_engine)engine)) continue;
                unsigned char bytes[8];
                double y;
                store(bytes, cases[i].weight, cases[i].file);
                const mr_matrix W = dense(bytes, cases[i].file, 1, 1);
                linear(bits, &y, &x, &W, 1, cases[i].storage, (mr_engine)engine);
                check_bits("weight", &cases[i].want, &y, 1, sizeof y);
            }
}

/* BLAS sums in its own order and, for float, in float: up to n roundings of half a unit of the sum
 * of |terms| (< n/4 here). Rows on both sides of MR_LINEAR_ROWS, by one thread or three; tokens on
 * both sides of MR_BLAS_TOKENS; weights read directly, or through scratch. */
static void blas_against_plain(void **state) {
    (void)state;
    if (!mr_engine_built(MR_BLAS_ENGINE)) return;
    const idx rows[] = {1, 2, 65, 512, 513, ROWS - 1, ROWS}, cols[] = {1, 2, 17, 50, 513},
              tokens[] = {1, 8, 9};
    static double w[ROWS * MOST], x[9 * MOST], want[9 * ROWS], y[9 * ROWS];
    static float w32[ROWS * MOST];
    fill(w, ROWS * MOST, 1);
    fill(x, 9 * MOST, 2);
    for (idx i = 0; i < ROWS * MOST; i++) w32[i] = (float)w[i];
    for (int a = 0; a < 7; a++)
        for (int b = 0; b < 5; b++)
            for (int c = 0; c < 3; c++)
                for (int bits = 32; bits <= 64; bits += 32)
                    for (int wide = 0; wide < 2; wide++) {
                        const mr_matrix W = dense(wide ? (const void *)w : w32,
                                                  wide ? MR_F64 : MR_F32, rows[a], cols[b]);
                        linear(bits, want, x, &W, tokens[c], MR_STORE_WIDE, MR_PLAIN_ENGINE);
                        mr_set_threads(a % 2 ? 3 : 1);
                        linear(bits, y, x, &W, tokens[c], MR_STORE_WIDE, MR_BLAS_ENGINE);
                        check_close("y", want, y, rows[a] * tokens[c], eps_of(bits),
                                    (double)cols[b] / 4 + 1, (double)cols[b] / 2 + 1);
                    }
    mr_set_threads(1);
    const mr_matrix W = dense(w, MR_F64, 3, 5);                     /* no tokens: nothing */
    linear(64, y, x, &W, 0, MR_STORE_WIDE, MR_BLAS_ENGINE);
}

/* Rows that are all the same memory, and a turned row: BLAS itself would refuse their strides. */
static void blas_odd_strides(void **state) {
    (void)state;
    if (!mr_engine_built(MR_BLAS_ENGINE)) return;
    const double w[] = {1, 2, 3}, x[] = {1, 10, 100}, want[] = {321, 321};
    const mr_matrix same = {w, MR_F64, 2, 3, 0, 1};
    double y[2];
    linear(64, y, x, &same, 1, MR_STORE_WIDE, MR_PLAIN_ENGINE);
    check_bits("plain", want, y, 2, sizeof *y);
    linear(64, y, x, &same, 1, MR_STORE_WIDE, MR_BLAS_ENGINE);
    check_bits("blas", want, y, 2, sizeof *y);
    const mr_matrix turned = {w, MR_F64, 1, 3, 1, 1};
    linear(64, y, x, &turned, 1, MR_STORE_WIDE, MR_BLAS_ENGINE);
    check_bits("turned", want, y, 1, sizeof *y);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worked_example), cmocka_unit_test(sizes_and_order),
        cmocka_unit_test(threads), cmocka_unit_test(accuracy), cmocka_unit_test(linearity),
        cmocka_unit_test(views), cmocka_unit_test(element_types), cmocka_unit_test(storage),
        cmocka_unit_test(blas_against_plain), cmocka_unit_test(blas_odd_strides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
