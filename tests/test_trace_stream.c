/* .safetensors traces of more than 8 MiB, written as their tensors come. Where everything lies is
 * computed here by hand, from the rules of the format: 8 bytes of length, header, data without
 * holes. */
#include "tests/scratch.h"

#include "golden/trace.h"

enum { HELD = 8 << 20, ROOM = 1 << 20 };   /* docs/FORMATS.md */

static unsigned char big[HELD + 8];   /* too much for memory: what follows is written as it comes */

static mr_trace_writer *begin(idx bytes) {
    mr_trace_writer *writer;
    mr_err err = {0};
    for (size_t i = 0; i < sizeof big; i++) big[i] = (unsigned char)(i * 2654435761u >> 13);
    must(mr_trace_create(scratch("t.safetensors"), 1, &writer, &err), &err);
    must(mr_trace_add(writer, &(mr_tensor){"big", MR_F64, 1, {bytes / 8}, big}, &err), &err);
    return writer;
}

static void add(mr_trace_writer *writer, const char *name, mr_dtype dtype, idx n,
                const void *data) {
    mr_err err = {0};
    must(mr_trace_add(writer, &(mr_tensor){name, dtype, 1, {n}, data}, &err), &err);
}

/* The finished file; *header gets the length of its header. */
static unsigned char *finish(mr_trace_writer *writer, const char *meta, size_t *bytes,
                             size_t *header) {
    mr_err err = {0};
    must(mr_trace_finish(writer, meta, &err), &err);
    unsigned char *file = scratch_read(scratch("t.safetensors"), bytes);
    *header = 0;
    for (int i = 7; i >= 0; i--) *header = *header << 8 | file[i];
    assert_int_equal(*header % 8, 0);
    assert_int_equal(file[8], '{');
    assert_int_equal(scratch_files(false), 1);
    return file;
}

/* The header says this of a tensor of rank 1, and the data there are these. */
static void expect(const unsigned char *file, size_t header, const char *name, const char *dtype,
                   long n, long at, long end, const void *data) {
    char entry[200];
    snprintf(entry, sizeof entry,
             "\"%s\":{\"dtype\":\"%s\",\"shape\":[%ld],\"data_offsets\":[%ld,%ld]}", name, dtype, n,
             at, end);
    char *text = malloc(header + 1);
    memcpy(text, file + 8, header);
    text[header] = '\0';
    if (strstr(text, entry) == NULL) fail_msg("not in the header: %s", entry);
    free(text);
    assert_memory_equal(file + 8 + header + at, data, (size_t)(end - at));
}

/* 8 MiB are written at the end, with a header as long as it must be; more as it comes. */
static void test_edge(void **state) {
    size_t bytes, header;
    (void)state;
    unsigned char *file = finish(begin(HELD), "", &bytes, &header);
    assert_true(header < 200);
    assert_int_equal(bytes, 8 + header + HELD);
    expect(file, header, "big", "F64", HELD / 8, 0, HELD, big);
    free(file);
    file = finish(begin(HELD + 8), "", &bytes, &header);
    assert_int_equal(header, ROOM);
    assert_int_equal(bytes, 8 + header + HELD + 8);
    expect(file, header, "big", "F64", HELD / 8 + 1, 0, HELD + 8, big);
    free(file);
}

/* Behind `big`, from byte B on: the first F32 waits for the other of 4 bytes more than a multiple
 * of 8, what is one goes out, the rest at the end, widest first. No element lies across. */
static void test_aligned(void **state) {
    enum { B = HELD + 8 };
    static const char letters[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    size_t bytes, header;
    (void)state;
    mr_trace_writer *w = begin(B);
    add(w, "mask", MR_U8, 3, letters);
    add(w, "a", MR_F32, 1, letters + 1);          /* waits */
    add(w, "none", MR_F32, 0, NULL);
    add(w, "b", MR_F64, 1, letters + 2);          /* B to B + 8 */
    add(w, "h", MR_BF16, 1, letters + 3);         /* waits */
    add(w, "c", MR_I32, 3, letters + 4);          /* with a: B + 8, B + 12 to B + 24 */
    add(w, "d", MR_I64, 2, letters + 5);          /* B + 24 to B + 40 */
    add(w, "e", MR_F32, 5, letters + 6);          /* waits */
    unsigned char *file = finish(w, "{\"k\": 1}", &bytes, &header);
    assert_int_equal(header, ROOM);
    assert_int_equal(bytes, 8 + header + B + 40 + 20 + 2 + 3 + 8);
    expect(file, header, "b", "F64", 1, B, B + 8, letters + 2);
    expect(file, header, "a", "F32", 1, B + 8, B + 12, letters + 1);
    expect(file, header, "c", "I32", 3, B + 12, B + 24, letters + 4);
    expect(file, header, "d", "I64", 2, B + 24, B + 40, letters + 5);
    expect(file, header, "e", "F32", 5, B + 40, B + 60, letters + 6);
    expect(file, header, "h", "BF16", 1, B + 60, B + 62, letters + 3);
    expect(file, header, "mask", "U8", 3, B + 62, B + 65, letters);
    expect(file, header, "meta", "U8", 8, B + 65, B + 73, "{\"k\": 1}");
    assert_non_null(strstr((char *)file + 8, "\"__metadata__\":{\"meta\":\"{\\\"k\\\": 1}\"}}  "));
    free(file);
}

/* Any type before any other: the reader's rules hold, and every tensor is at a multiple of its
 * elements' size. */
static void test_any_order(void **state) {
    static const struct {
        mr_dtype    dtype;
        const char *name;
        idx         size;
    } types[] = {{MR_F64, "F64", 8}, {MR_F32, "F32", 4}, {MR_F16, "F16", 2}, {MR_U8, "U8", 1}};
    unsigned random = 1;
    (void)state;
    for (int run = 0; run < 20; run++) {
        mr_trace *trace;
        mr_err err = {0};
        size_t bytes, header;
        mr_trace_writer *w = begin(HELD + 8);
        for (int k = 0; k < 60; k++) {
            char name[16];
            random = random * 1664525u + 1013904223u;
            snprintf(name, sizeof name, "%d.%s", k, types[random >> 30].name);
            add(w, name, types[random >> 30].dtype, (idx)(random >> 20 & 15), big + k);
        }
        unsigned char *file = finish(w, "{}", &bytes, &header);
        must(mr_trace_open(scratch("t.safetensors"), &trace, &err), &err);
        assert_int_equal(mr_trace_count(trace), 61);
        mr_trace_close(trace);
        for (int k = 0; k < 60; k++)
            for (int t = 0; t < 4; t++) {
                char entry[64];
                long from, to;
                snprintf(entry, sizeof entry, "\"%d.%s\":", k, types[t].name);
                const char *found = strstr((char *)file + 8, entry);
                if (found == NULL) continue;
                found = strstr(found, "data_offsets\":[") + 15;
                assert_int_equal(sscanf(found, "%ld,%ld", &from, &to), 2);
                assert_int_equal(from % types[t].size, 0);
                assert_memory_equal(file + 8 + header + from, big + k, (size_t)(to - from));
            }
        free(file);
    }
}

/* A header that its room can not hold: the data make way. */
static void test_many(void **state) {
    enum { MANY = 20000 };
    char name[64];
    size_t bytes, header;
    (void)state;
    mr_trace_writer *w = begin(HELD + 8);
    for (int k = 0; k < MANY; k++) {
        snprintf(name, sizeof name, "layers.%d.of_a_long_name_to_fill_the_header", k);
        add(w, name, MR_F32, 2, big + k);
    }
    unsigned char *file = finish(w, "", &bytes, &header);
    assert_true(header > ROOM);
    assert_int_equal(bytes, 8 + header + HELD + 8 + 8L * MANY);
    expect(file, header, "big", "F64", HELD / 8 + 1, 0, HELD + 8, big);
    for (int k = 0; k < MANY; k++)
        assert_memory_equal(file + 8 + header + HELD + 8 + 8L * k, big + k, 8);
    for (int k = 0; k < MANY; k += 999) {
        snprintf(name, sizeof name, "layers.%d.of_a_long_name_to_fill_the_header", k);
        expect(file, header, name, "F32", 2, HELD + 8 + 8L * k, HELD + 16 + 8L * k, big + k);
    }
    free(file);
}

/* What has gone to the file is refused as what is in memory is; an older file stays. */
static void test_refused(void **state) {
    static const struct {
        mr_tensor   tensor;
        const char *text;
    } bad[] = {{{"big", MR_U8, 1, {1}, "a"}, "comes twice"},
               {{"a\n", MR_U8, 1, {8}, "12345678"}, "control characters"},
               {{"meta", MR_U8, 1, {8}, "12345678"}, "name meta is taken"},
               {{"x", MR_U8, 1, {8}, NULL}, "no data"}};
    (void)state;
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        mr_err err = {0};
        size_t bytes;
        const char *path = scratch_write("t.safetensors", "old", 3);
        mr_trace_writer *w = begin(HELD + 8);
        add(w, "waits", MR_U8, 1, "a");
        check_refused(mr_trace_add(w, &bad[k].tensor, &err), MR_BAD, &err, bad[k].text);
        mr_trace_abandon(w);
        unsigned char *old = scratch_read(path, &bytes);
        assert_int_equal(bytes, 3);
        free(old);
        assert_int_equal(scratch_files(false), 1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edge),      cmocka_unit_test(test_aligned),
        cmocka_unit_test(test_any_order), cmocka_unit_test(test_many),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests_name("trace_stream", tests, scratch_open, scratch_close);
}
