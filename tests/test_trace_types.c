/* Every element type that a trace may have, from both containers: the values are those that the
 * formats' definitions give to these bit patterns. */
#include "tests/scratch.h"

#include <math.h>

#include "golden/trace.h"
#include "weights/safetensors.h"

enum { N = 4 };

static const double   f64[N] = {1.5, -0.0, 1e300, 5e-324};
static const float    f32[N] = {1.5f, -2, 0x1p-149f, 3.25f};
static const uint16_t f16[N] = {0x3C00, 0xC000, 0x0001, 0x7BFF};
static const uint16_t bf16[N] = {0x3F80, 0xC000, 0x0001, 0x7F7F};
static const int64_t  i64[N] = {0, -1, (int64_t)1 << 53, -((int64_t)1 << 40)};
static const int32_t  i32[N] = {0, -1, INT32_MAX, INT32_MIN};
static const uint16_t u16[N] = {0, 1, 256, 65535};
static const uint8_t  u8[N] = {0, 1, 128, 255};
/* OCP 8-bit formats: 4 exponent bits with bias 7, 5 with bias 15 */
static const uint8_t  e4m3[N] = {0x38, 0xC0, 0x01, 0x7E};
static const uint8_t  e5m2[N] = {0x3C, 0xC0, 0x01, 0x7B};

static const struct {
    mr_tensor tensor;
    double    want[N];
} types[] = {
    {{"a", MR_F64, 1, {N}, f64}, {1.5, -0.0, 1e300, 5e-324}},
    {{"b", MR_F32, 1, {N}, f32}, {1.5, -2, 0x1p-149, 3.25}},
    {{"c", MR_F16, 1, {N}, f16}, {1, -2, 0x1p-24, 65504}},
    {{"d", MR_BF16, 1, {N}, bf16}, {1, -2, 0x1p-133, 0x1.fep127}},
    {{"e", MR_I64, 1, {N}, i64}, {0, -1, 0x1p53, -0x1p40}},
    {{"f", MR_I32, 1, {N}, i32}, {0, -1, 2147483647, -2147483648.0}},
    {{"g", MR_U16, 1, {N}, u16}, {0, 1, 256, 65535}},
    {{"h", MR_U8, 1, {N}, u8}, {0, 1, 128, 255}},
    {{"i", MR_F8_E4M3, 1, {N}, e4m3}, {1, -2, 0x1p-9, 448}},
    {{"j", MR_F8_E5M2, 1, {N}, e5m2}, {1, -2, 0x1p-16, 57344}},
};
enum { TYPES = sizeof types / sizeof *types, IN_NPZ = TYPES - 2 };   /* numpy has no 8-bit floats */

static void read_all(const char *path, int count) {
    mr_trace *trace;
    mr_err err = {0};
    if (mr_trace_open(path, &trace, &err) != MR_OK) fail_msg("%s", err.text);
    assert_int_equal(mr_trace_count(trace), count);
    for (int i = 0; i < count; i++) {
        double got[N];
        const idx at = mr_trace_find(trace, types[i].tensor.name);
        assert_true(at >= 0);
        assert_int_equal(mr_trace_read(trace, at, got, &err), MR_OK);
        check_bits(types[i].tensor.name, types[i].want, got, N, sizeof *got);
    }
    mr_trace_close(trace);
}

static void test_safetensors(void **state) {
    mr_tensor list[TYPES];
    mr_err err = {0};
    (void)state;
    for (int i = 0; i < TYPES; i++) list[i] = types[i].tensor;
    if (mr_safetensors_save(scratch("t.safetensors"), list, TYPES, NULL, &err) != MR_OK)
        fail_msg("%s", err.text);
    read_all(scratch("t.safetensors"), TYPES);
    scratch_files(true);
}

static void test_npz(void **state) {
    mr_trace_writer *writer;
    mr_err err = {0};
    (void)state;
    assert_int_equal(mr_trace_create(scratch("t.npz"), 1, &writer, &err), MR_OK);
    for (int i = 0; i < IN_NPZ; i++)
        if (types[i].tensor.dtype != MR_BF16)
            assert_int_equal(mr_trace_add(writer, &types[i].tensor, &err), MR_OK);
    assert_int_equal(mr_trace_finish(writer, "{}", &err), MR_OK);
    mr_trace *trace;
    assert_int_equal(mr_trace_open(scratch("t.npz"), &trace, &err), MR_OK);
    for (int i = 0; i < IN_NPZ; i++) {
        double got[N];
        const idx at = mr_trace_find(trace, types[i].tensor.name);
        if (types[i].tensor.dtype == MR_BF16) continue;
        assert_int_equal(mr_trace_read(trace, at, got, &err), MR_OK);
        check_bits(types[i].tensor.name, types[i].want, got, N, sizeof *got);
    }
    mr_trace_close(trace);
    scratch_files(true);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_safetensors),
                                       cmocka_unit_test(test_npz)};
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
