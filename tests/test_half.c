/* The 16-bit types bit by bit: every pattern, every rounding boundary, against formulas of another
 * kind. */
#include "tests/check.h"

#include <math.h>
#include <string.h>

#include "ref/half.h"
#include "ref/sample.h"

/* ---- independent formulas -------------------------------------------------------------------- */

/* bf16 is the upper half of a float (spec 0.3). */
static double bf16_by_shift(uint16_t bits) {
    const uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return (double)value;
}

/* Rounding float to bf16 by integers: add half a unit and the parity of the last kept bit, then
 * cut. */
static uint16_t bf16_by_integers(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    if (isnan(x)) return (uint16_t)(u >> 16 | 64);
    return (uint16_t)((u + 0x7FFF + (u >> 16 & 1)) >> 16);
}

/* Half by the definition in IEEE 754: (-1)^s 2^(e-15) (1 + m/1024), or 2^-14 m/1024 when e is 0. */
static double half_by_definition(uint16_t bits) {
    const int e = bits >> 10 & 31, m = bits & 1023;
    const double sign = bits >> 15 ? -1 : 1;
    if (e == 31) return m ? (double)NAN : sign * (double)INFINITY;
    return sign * (e ? pow(2, e - 15) * (1 + m / 1024.0) : pow(2, -14) * (m / 1024.0));
}

/* Nearest pattern by search among the finite patterns 0..top-1 (rising values); ties to the even
 * pattern. */
static uint16_t nearest_half(double x) {
    const double a = fabs(x);
    /* value(low) <= a < value(high), infinity as 65536 */
    uint16_t low = 0, high = 0x7C00;
    if (a >= 65536) return (uint16_t)(0x7C00 | (x < 0 ? 0x8000 : 0));
    while (high - low > 1) {
        const uint16_t middle = (uint16_t)((low + high) / 2);
        if (half_by_definition(middle) <= a) low = middle;
        else high = middle;
    }
    const double below = a - half_by_definition(low),
                 above = (high == 0x7C00 ? 65536 : half_by_definition(high)) - a;
    const uint16_t chosen = below < above || (below == above && low % 2 == 0) ? low : high;
    return (uint16_t)(chosen | (signbit(x) ? 0x8000 : 0));
}

static void same(double want, double got) {
    if (isnan(want)) assert_true(isnan(got));
    else check_bits("value", &want, &got, 1, sizeof want);
}

/* Values and sums of all finite positive patterns as PyTorch 2.13 has them (float8_e4m3fn,
 * float8_e5m2). */
static void fp8(void **state) {
    double sum4 = 0, sum5 = 0;
    (void)state;
    same(0, mr_f8_e4m3_to_double(0));
    same(-0.0, mr_f8_e4m3_to_double(0x80));
    same(0.001953125, mr_f8_e4m3_to_double(1));
    same(0.013671875, mr_f8_e4m3_to_double(7));
    same(0.015625, mr_f8_e4m3_to_double(8));
    same(1.125, mr_f8_e4m3_to_double(0x39));
    same(448, mr_f8_e4m3_to_double(0x7e));
    same(-448, mr_f8_e4m3_to_double(0xfe));
    same((double)NAN, mr_f8_e4m3_to_double(0x7f));
    same((double)NAN, mr_f8_e4m3_to_double(0xff));
    same(1.52587890625e-05, mr_f8_e5m2_to_double(1));
    same(0.625, mr_f8_e5m2_to_double(0x39));
    same(57344, mr_f8_e5m2_to_double(0x7b));
    same((double)INFINITY, mr_f8_e5m2_to_double(0x7c));
    same((double)NAN, mr_f8_e5m2_to_double(0x7d));
    for (int i = 0; i < 0x7f; i++) sum4 += mr_f8_e4m3_to_double((uint8_t)i);
    for (int i = 0; i < 0x7c; i++) sum5 += mr_f8_e5m2_to_double((uint8_t)i);
    same(5407.875, sum4);
    same(360447.9997558594, sum5);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void known_values(void **state) {
    (void)state;
    same(1, mr_bf16_to_double(0x3F80));
    same(-2, mr_half_to_double(0xC000));
    same(0x1.fep127, mr_bf16_to_double(0x7F7F));                    /* largest bf16 */
    same(65504, mr_half_to_double(0x7BFF));                         /* largest half */
    same(0x1p-133, mr_bf16_to_double(0x0001));                      /* least subnormals */
    same(0x1p-24, mr_half_to_double(0x0001));
    same(-0.0, mr_half_to_double(0x8000));
    assert_int_equal(mr_double_to_bf16(3.141592653589793), 0x4049);
    assert_int_equal(mr_double_to_half(3.141592653589793), 0x4248);
    assert_int_equal(mr_double_to_half(-0.0), 0x8000);
    assert_int_equal(mr_double_to_bf16(-0.0), 0x8000);
}

static void every_pattern_survives(void **state) {
    (void)state;
    for (uint32_t i = 0; i < 65536; i++) {
        const uint16_t bits = (uint16_t)i;
        same(bf16_by_shift(bits), mr_bf16_to_double(bits));
        same(half_by_definition(bits), mr_half_to_double(bits));
        const double b = mr_bf16_to_double(bits), h = mr_half_to_double(bits);
        if (isnan(b)) assert_true(isnan(mr_bf16_to_double(mr_double_to_bf16(b))));
        else assert_int_equal(mr_double_to_bf16(b), bits);
        if (isnan(h)) assert_true(isnan(mr_half_to_double(mr_double_to_half(h))));
        else assert_int_equal(mr_double_to_half(h), bits);
        same(b, mr_round(b, MR_STORE_BF16));
        same(h, mr_round(h, MR_STORE_F16));
    }
}

/* Between neighbours: the middle goes to the even pattern, a hair beside it to the nearer one. */
static void ties_go_to_even(void **state) {
    (void)state;
    for (uint32_t i = 0; i < 0x7F80; i++) {
        const double low = mr_bf16_to_double((uint16_t)i);
        const double high = i == 0x7F7F ? 0x1p128 : mr_bf16_to_double((uint16_t)(i + 1));
        /* exact */
        const double middle = low + (high - low) / 2;
        assert_int_equal(mr_double_to_bf16(middle), i % 2 ? i + 1 : i);
        assert_int_equal(mr_double_to_bf16(nextafter(middle, 0)), i);
        assert_int_equal(mr_double_to_bf16(-nextafter(middle, high)), 0x8000 | (i + 1));
        same(mr_bf16_to_double(mr_double_to_bf16(middle)), mr_round(middle, MR_STORE_BF16));
        same(low, mr_round(nextafter(middle, 0), MR_STORE_BF16));
        same(mr_bf16_to_double((uint16_t)(i + 1)),
             mr_round(nextafter(middle, high), MR_STORE_BF16));
    }
    for (uint32_t i = 0; i < 0x7C00; i++) {
        const double low = mr_half_to_double((uint16_t)i);
        const double high = i == 0x7BFF ? 65536 : mr_half_to_double((uint16_t)(i + 1));
        const double middle = low + (high - low) / 2;
        assert_int_equal(mr_double_to_half(middle), i % 2 ? i + 1 : i);
        assert_int_equal(mr_double_to_half(nextafter(middle, 0)), i);
        assert_int_equal(mr_double_to_half(-nextafter(middle, high)), 0x8000 | (i + 1));
    }
}

static void random_numbers_against_other_formulas(void **state) {
    (void)state;
    mr_rng rng = mr_rng_seed(7);
    for (int i = 0; i < 200000; i++) {
        /* any float, also subnormal, inf and NaN */
        const uint32_t bits = (uint32_t)(mr_rng_next(&rng) >> 32);
        float x;
        memcpy(&x, &bits, sizeof x);
        if (isnan(x)) assert_true(isnan(mr_bf16_to_double(mr_double_to_bf16((double)x))));
        else assert_int_equal(mr_double_to_bf16((double)x), bf16_by_integers(x));
        same(bf16_by_shift(bf16_by_integers(x)), mr_round((double)x, MR_STORE_BF16));
        const double y = ldexp(2 * mr_rng_uniform(&rng) - 1, (int)(mr_rng_next(&rng) % 48) - 30);
        assert_int_equal(mr_double_to_half(y), nearest_half(y));
        same(half_by_definition(nearest_half(y)), mr_round(y, MR_STORE_F16));
    }
}

/* 1 + 2^-8 is the middle between two bf16; 2^-40 above it must round up, but a float would have
 * lost the 2^-40 first. The same for half at 1 + 2^-11. */
static void rounded_once(void **state) {
    (void)state;
    same(1 + 0x1p-7, mr_round(1 + 0x1p-8 + 0x1p-40, MR_STORE_BF16));
    same(1, mr_round(1 + 0x1p-8, MR_STORE_BF16));
    same(1 + 0x1p-10, mr_round(1 + 0x1p-11 + 0x1p-40, MR_STORE_F16));
    same(1, mr_round(1 + 0x1p-11, MR_STORE_F16));
    same(-(1 + 0x1p-7), mr_round(-(1 + 0x1p-8 + 0x1p-52), MR_STORE_BF16));
    /* below the least subnormal half */
    same(0x1p-24, mr_round(0x1p-25 + 0x1p-70, MR_STORE_F16));
    same(0, mr_round(0x1p-25, MR_STORE_F16));
    same(0x1p-133, mr_round(0x1p-134 + 0x1p-180, MR_STORE_BF16));
    same(0, mr_round(0x1p-134, MR_STORE_BF16));
}

static void edges(void **state) {
    (void)state;
    const double inf = (double)INFINITY, tiny = 4.9406564584124654e-324;
    same(inf, mr_round(1e300, MR_STORE_BF16));
    same(-inf, mr_round(-1e300, MR_STORE_F16));
    /* last number that does not overflow */
    same(0x1.fep127, mr_round(0x1.feffffffp127, MR_STORE_BF16));
    same(inf, mr_round(0x1.ffp127, MR_STORE_BF16));
    same(65504, mr_round(65519.99, MR_STORE_F16));
    same(inf, mr_round(65520, MR_STORE_F16));
    same(-0.0, mr_round(-tiny, MR_STORE_BF16));
    same(-0.0, mr_round(-tiny, MR_STORE_F16));
    same(-inf, mr_round(-inf, MR_STORE_BF16));
    /* a subnormal that rounds up to the least normal */
    same(0x1p-126, mr_round(0x1.ffp-127, MR_STORE_BF16));
    same(0x1p-14, mr_round(0x1.fffp-15, MR_STORE_F16));
    assert_true(isnan(mr_round((double)NAN, MR_STORE_BF16)));
    assert_true(isnan(mr_round((double)NAN, MR_STORE_F16)));
    assert_int_equal(mr_double_to_bf16((double)NAN) & 0x7FFF, 0x7FC0);
    assert_int_equal(mr_double_to_half((double)NAN) & 0x7FFF, 0x7E00);
    /* wide storage keeps every bit */
    same(0.1, mr_round(0.1, MR_STORE_WIDE));
    same(tiny, mr_round(tiny, MR_STORE_WIDE));
}

/* IEEE half: exponent 31 is infinity or no number; the largest number is 65504. */
static void half_beyond_numbers(void **state) {
    (void)state;
    assert_true(mr_half_to_float(0x7C00) == INFINITY && mr_half_to_float(0xFC00) == -INFINITY);
    assert_true(isnan(mr_half_to_float(0x7E00)) && isnan(mr_half_to_float(0xFC01)));
    assert_true(mr_half_to_float(0x7BFF) == 65504.0f && mr_half_to_float(0x0001) == 0x1p-24f);
    assert_true(mr_round(0.1, MR_STORE_WIDE) == 0.1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fp8),
        cmocka_unit_test(known_values), cmocka_unit_test(every_pattern_survives),
        cmocka_unit_test(ties_go_to_even), cmocka_unit_test(random_numbers_against_other_formulas),
        cmocka_unit_test(rounded_once), cmocka_unit_test(edges),
        cmocka_unit_test(half_beyond_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
