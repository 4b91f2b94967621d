/* Choices of a router in another order: recognised where their weights follow, whatever the file's
 * axes are, and not where the weights are others. */
#include "tests/layouts.h"

#include "ref/half.h"

#define SPARSE CASES "mixtral_e7k2_w5/t13.f64.npz"

enum { K = 2 };

/* Every third token has its second expert first. */
static idx other_slot(idx i) { return i / K % 3 == 0 ? i / K * K + 1 - i % K : i; }
static idx other_slot_turned(idx i) { return other_slot(i % T * K + i / T); }

/* The port of these changes; is it said that choices are in another order, in every layer? Then
 * they and their weights are the golden ones. */
static bool is_told(const change *list, idx count, void (*more)(mr_trace *, mr_trace_writer *),
                    const char *names) {
    mr_err err = {0};
    mr_trace *golden;
    result r;
    idx told = 0;
    if (mr_trace_open(SPARSE, &golden, &err) != MR_OK) fail_msg("%s", err.text);
    write_port_and(golden, list, count, more);
    mr_trace_close(golden);
    recognise(&r, SPARSE, scratch("port.npz"), names);
    for (idx i = 0; i < r.found.count; i++)
        told += strstr(r.found.list[i].tensor, "router_experts") != NULL &&
                strstr(r.found.list[i].text, "experts of a token in another order") != NULL;
    assert_true(told == 0 || told == L);
    for (idx i = 0; told > 0 && more == NULL && i < count; i++)
        check_values(&r, i % 2 == 0 ? "router_experts" : "router_weights");
    done(&r);
    return told > 0;
}

static void test_with_weights(void **state) {
    (void)state;
    const change list[] = {{"router_experts", other_slot, 2, {T, K}, NULL},
                           {"router_weights", other_slot, 2, {T, K}, NULL}};
    assert_true(is_told(list, 2, NULL, NULL));
    assert_false(is_told(list, 1, NULL, NULL));   /* the weights stayed where they were */
}

/* A map file says that both tensors have tokens last. */
static void test_mapped(void **state) {
    (void)state;
    static const char map[] =
        "{\"tensors\":{\"layers.{N}.chosen\":{\"name\":\"layers.{N}.router_experts\","
        "\"steps\":[{\"permute\":[1,0]}]},\"layers.{N}.gates\":{\"name\":"
        "\"layers.{N}.router_weights\",\"steps\":[{\"permute\":[1,0]}]}}}";
    const change list[] = {{"router_experts", other_slot_turned, 2, {K, T}, "chosen"},
                           {"router_weights", other_slot_turned, 2, {K, T}, "gates"}};
    char names[600];
    scratch_write("map.json", map, sizeof map - 1);
    snprintf(names, sizeof names, "%s", scratch("map.json"));
    assert_true(is_told(list, 2, NULL, names));
}

static double   off;     /* what weights are multiplied by before they are stored */
static mr_dtype as;      /* ... in this type: half or float */

static void add_weights(mr_trace *golden, mr_trace_writer *w) {
    for (idx l = 0; l < L; l++) {
        mr_err err = {0};
        char name[64];
        idx n;
        uint16_t bits[T * K];
        float single[T * K];
        snprintf(name, sizeof name, "layers.%td.router_weights", l);
        double *x = load(golden, name, &n);
        assert_int_equal(n, T * K);
        for (idx i = 0; i < n; i++) {
            single[i] = (float)(off * x[other_slot(i)]);
            bits[i] = mr_double_to_half(off * x[other_slot(i)]);
        }
        const mr_tensor t = {name, as, 2, {T, K}, as == MR_F16 ? (void *)bits : (void *)single};
        if (mr_trace_add(w, &t, &err) != MR_OK) fail_msg("%s", err.text);
        free(x);
    }
}

/* The limit: eight roundings of the file's type, 2^-11 each in half precision, or 1e-4. */
static void test_other_weights(void **state) {
    static const struct { mr_dtype as; double off; bool told; } list[] = {
        {MR_F16, 0, true}, {MR_F16, 7.75 * 0x1p-11, true}, {MR_F16, 8.25 * 0x1p-11, false},
        {MR_F32, 0, true}, {MR_F32, 0.95e-4, true},        {MR_F32, 1.05e-4, false}};
    const change port[] = {{"router_experts", other_slot, 2, {T, K}, NULL},
                           {"router_weights", NULL, 0, {0}, NULL}};
    (void)state;
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        off = 1 - list[i].off;
        as = list[i].as;
        assert_int_equal(is_told(port, 2, add_weights, NULL), list[i].told);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_with_weights), cmocka_unit_test(test_mapped),
        cmocka_unit_test(test_other_weights),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
