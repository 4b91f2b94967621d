/* Embedding: rows of the table, from any element type and layout, in both precisions. */
#include "tests/check.h"

#include <math.h>
#include <string.h>

#include "ref/mr.h"

/* By hand: table rows are (1,2,3), (4,5,6), (7,8,9), (10,11,12); tokens 2 0 2 3. No scaling,
 * repeated ids repeat rows. */
static void worked_example(void **state) {
    (void)state;
    const double table[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    const int32_t tokens[] = {2, 0, 2, 3};
    const double want[] = {7, 8, 9, 1, 2, 3, 7, 8, 9, 10, 11, 12};
    const mr_matrix E = {table, MR_F64, 4, 3, 3, 1};
    double wide[12];
    float narrow[12];
    mr_embedding_f64(wide, tokens, &E, 4, MR_STORE_WIDE);
    check_bits("f64", want, wide, 12, sizeof *wide);
    mr_embedding_f32(narrow, tokens, &E, 4, MR_STORE_WIDE);
    check_close_f32("f32", want, narrow, 12, 1, 0);
}

/* The same table transposed and with gaps between its elements. */
static void views(void **state) {
    (void)state;
    const double want[] = {4, 5, 6, 1, 2, 3};
    const int32_t tokens[] = {1, 0};
    const double turned[] = {1, 4, 2, 5, 3, 6};
    const double gaps[] = {1, -9, 2, -9, 3, -9, -9, 4, -9, 5, -9, 6};
    const mr_matrix transposed = {turned, MR_F64, 2, 3, 1, 2}, strided = {gaps, MR_F64, 2, 3, 7, 2};
    double got[6];
    mr_embedding_f64(got, tokens, &transposed, 2, MR_STORE_WIDE);
    check_bits("transposed", want, got, 6, sizeof *got);
    mr_embedding_f64(got, tokens, &strided, 2, MR_STORE_WIDE);
    check_bits("strided", want, got, 6, sizeof *got);
}

/* Values that every type holds, in every type, one byte off any alignment. */
static void element_types(void **state) {
    (void)state;
    enum { V = 3, d = 50 };
    double table[V * d], wide[2 * d];
    float narrow[2 * d];
    const int32_t tokens[] = {2, 1};
    for (int i = 0; i < V * d; i++) table[i] = (i % 2 ? -1 : 1) * (i - 70) / 16.0;
    const mr_dtype dtypes[] = {MR_F64, MR_F32, MR_F16, MR_BF16};
    for (int k = 0; k < 4; k++) {
        unsigned char bytes[V * d * 8 + 1];
        for (int i = 0; i < V * d; i++) {
            const float single = (float)table[i];
            const uint16_t half = dtypes[k] == MR_F16 ? mr_double_to_half(table[i])
                                                      : mr_double_to_bf16(table[i]);
            const void *from = dtypes[k] == MR_F64 ? (const void *)&table[i]
                             : dtypes[k] == MR_F32 ? (const void *)&single : (const void *)&half;
            memcpy(bytes + 1 + i * mr_dtype_size(dtypes[k]), from,
                   (size_t)mr_dtype_size(dtypes[k]));
        }
        const mr_matrix E = {bytes + 1, dtypes[k], V, d, d, 1};
        mr_embedding_f64(wide, tokens, &E, 2, MR_STORE_WIDE);
        check_bits("row 2", table + 2 * d, wide, d, sizeof *wide);
        check_bits("row 1", table + d, wide + d, d, sizeof *wide);
        mr_embedding_f32(narrow, tokens, &E, 2, MR_STORE_WIDE);
        check_close_f32("f32", wide, narrow, 2 * d, 1, 0);
    }
}

/* 16-bit storage rounds a wider table, ties to even: 1 + 2^-8 is halfway in bf16, 1 + 3/2^8 too. */
static void storage(void **state) {
    (void)state;
    const double table[] = {1 + 0x1p-8, 1 + 3 * 0x1p-8, 1 + 0x1p-11, 1e5};
    const mr_matrix E = {table, MR_F64, 1, 4, 4, 1};
    const int32_t token = 0;
    const double bf16[] = {1, 1 + 0x1p-6, 1, 99840},
                 half[] = {1 + 0x1p-8, 1 + 3 * 0x1p-8, 1, (double)INFINITY};
    double got[4];
    mr_embedding_f64(got, &token, &E, 1, MR_STORE_BF16);
    check_bits("bf16", bf16, got, 4, sizeof *got);
    mr_embedding_f64(got, &token, &E, 1, MR_STORE_F16);
    check_bits("f16", half, got, 4, sizeof *got);
}

/* From double to bf16 there is one rounding in either precision: 1 + 2^-8 + 2^-40 lies above the
 * middle. */
static void storage_rounds_once(void **state) {
    (void)state;
    const double table[] = {1 + 0x1p-8 + 0x1p-40, 1 + 0x1p-11 + 0x1p-40}, want = 1 + 0x1p-7;
    const mr_matrix E = {table, MR_F64, 1, 2, 2, 1};
    const int32_t token = 0;
    double wide[2];
    float narrow[2];
    mr_embedding_f64(wide, &token, &E, 1, MR_STORE_BF16);
    check_bits("f64", &want, wide, 1, sizeof *wide);
    mr_embedding_f32(narrow, &token, &E, 1, MR_STORE_BF16);
    check_close_f32("f32", &want, narrow, 1, 1, 0);
    mr_embedding_f32(narrow, &token, &E, 1, MR_STORE_F16);
    const double half = 1 + 0x1p-10;
    check_close_f32("half", &half, narrow + 1, 1, 1, 0);
}

static void no_tokens(void **state) {
    (void)state;
    const double table[] = {1, 2};
    const mr_matrix E = {table, MR_F64, 1, 2, 2, 1};
    double got[] = {-5, -5};
    mr_embedding_f64(got, NULL, &E, 0, MR_STORE_WIDE);
    assert_true(got[0] == -5 && got[1] == -5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worked_example), cmocka_unit_test(views), cmocka_unit_test(element_types),
        cmocka_unit_test(storage), cmocka_unit_test(storage_rounds_once),
        cmocka_unit_test(no_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
