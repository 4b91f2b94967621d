/* A trace larger than memory: compare holds one tensor of each trace at a time, and what is written
 * goes out as it comes, so memory does not grow with the number of tensors. Measured from outside,
 * comparing on the program as users run it. */
#define _DEFAULT_SOURCE   /* wait4 */
#include "tests/scratch.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "golden/record.h"
#include "golden/trace.h"

enum { ELEMENTS = 1 << 16, FEW = 2, MANY = 258 };   /* tensors of 256 KiB; 64 MiB more per trace */

static float numbers[ELEMENTS];

static void fill(int tensor) {
    for (int i = 0; i < ELEMENTS; i++)
        numbers[i] = (float)((unsigned)(i + tensor) * 2654435761u >> 8) * 0x1p-24f;
}

static const char *name_of(int tensor) {
    static char name[32];
    snprintf(name, sizeof name, "layers.%d.h", tensor);
    return name;
}

/* ---- three kinds of traces, written piece by piece ------------------------------------------- */

static void write_stored(const char *path, int tensors) {
    const int64_t dims[] = {ELEMENTS / 64, 64};
    mr_record trace = mr_record_open(path, "{}");
    for (int k = 0; k < tensors; k++) {
        fill(k);
        mr_record_add(&trace, name_of(k), MR_REC_F32, 2, dims, numbers);
    }
    if (mr_record_close(&trace) != 0) fail_msg("%s", trace.error);
}

static void write_ours(const char *path, int tensors) {
    mr_trace_writer *writer;
    mr_err err = {0};
    assert_int_equal(mr_trace_create(path, 1, &writer, &err), MR_OK);
    for (int k = 0; k < tensors; k++) {
        memset(numbers, k & 1, sizeof numbers);   /* what deflate is fast on */
        const mr_tensor t = {name_of(k), MR_F32, 2, {ELEMENTS / 64, 64}, numbers};
        assert_int_equal(mr_trace_add(writer, &t, &err), MR_OK);
    }
    assert_int_equal(mr_trace_finish(writer, NULL, &err), MR_OK);
}

/* Largest resident set in KiB of a process that does nothing else. */
static long written(const char *path, int tensors) {
    struct rusage used;
    int status;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        write_ours(path, tensors);
        _exit(0);
    }
    assert_int_equal(wait4(child, &status, 0, &used), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    remove(path);
    return used.ru_maxrss;
}

static void write_safetensors(const char *path, int tensors) {
    FILE *file = fopen(path, "wb");
    long long at = 0;
    assert_non_null(file);
    char *header = malloc((size_t)tensors * 128 + 16), *end = header;
    end += sprintf(end, "{");
    for (int k = 0; k < tensors; k++, at += ELEMENTS * 4)
        end += sprintf(end, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%d,64],\"data_offsets\":[%lld,"
                       "%lld]}", k ? "," : "", name_of(k), ELEMENTS / 64, at, at + ELEMENTS * 4);
    end += sprintf(end, "}");
    const uint64_t length = (uint64_t)(end - header);
    fwrite(&length, 8, 1, file);
    fwrite(header, 1, (size_t)length, file);
    free(header);
    for (int k = 0; k < tensors; k++) {
        fill(k);
        assert_int_equal(fwrite(numbers, sizeof numbers, 1, file), 1);
    }
    assert_int_equal(fclose(file), 0);
}

/* ---- the program ----------------------------------------------------------------------------- */

/* Runs compare; largest resident set in KiB. limit: bytes of data it may have, 0 for any. */
static long compare(const char *golden, const char *port, rlim_t limit) {
    struct rusage used;
    int status;
    fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const struct rlimit most = {limit, limit};
        const int quiet = open("/dev/null", O_WRONLY);
        dup2(quiet, 1);
        if (limit > 0 && setrlimit(RLIMIT_DATA, &most) != 0) _exit(126);
        setenv("OMP_NUM_THREADS", "1", 1);
        setenv("OPENBLAS_NUM_THREADS", "1", 1);
        execl("./mistral-ref", "mistral-ref", "compare", golden, port, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(wait4(child, &status, 0, &used), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    return used.ru_maxrss;
}

static void grows_by_little(void (*write)(const char *path, int tensors), const char *ending) {
    char golden[1024], port[1024];
    long used[2];
    for (int many = 0; many < 2; many++) {
        char name[32];
        snprintf(name, sizeof name, "golden%s", ending);
        strcpy(golden, scratch(name));
        snprintf(name, sizeof name, "port%s", ending);
        strcpy(port, scratch(name));
        write(golden, many ? MANY : FEW);
        write(port, many ? MANY : FEW);
        used[many] = compare(golden, port, 0);
        remove(golden);
        remove(port);
    }
    const long data = 2L * (MANY - FEW) * ELEMENTS * 4 / 1024;
    print_message("%s: %ld KiB more data, %ld KiB more memory\n", ending, data, used[1] - used[0]);
    assert_true(used[1] - used[0] <= data / 50);
}

static void skip_under_sanitizers(void) {
#if defined(__SANITIZE_ADDRESS__)
    print_message("skipped: AddressSanitizer keeps freed memory\n");
    skip();
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
    print_message("skipped: AddressSanitizer keeps freed memory\n");
    skip();
#endif
#endif
    if (getenv("MR_WRAP") == NULL) return;
    print_message("skipped: under %s memory is not the program's own\n", getenv("MR_WRAP"));
    skip();
}

static void test_memory(void **state) {
    (void)state;
    skip_under_sanitizers();
    grows_by_little(write_stored, ".npz");
    grows_by_little(write_ours, ".npz");
    grows_by_little(write_safetensors, ".safetensors");
}

static void test_writing(void **state) {
    enum { SOME = MANY / 4 };   /* more than .safetensors holds before it begins to write */
    const long data = (MANY - SOME) * (ELEMENTS * 4 / 1024);
    static const char *const names[] = {"t.npz", "t.safetensors"};
    (void)state;
    skip_under_sanitizers();
    for (int k = 0; k < 2; k++) {
        const long some = written(scratch(names[k]), SOME), many = written(scratch(names[k]), MANY);
        print_message("%s: %ld KiB more data, %ld KiB more memory\n", names[k], data, many - some);
        assert_true(many - some <= data / 50);
    }
}

/* Two traces of 4 GB each under a limit of 256 MB on the program's data. */
static void test_beyond_a_limit(void **state) {
    (void)state;
    if (getenv("MR_TEST_BIG") == NULL) {
        print_message("skipped: set MR_TEST_BIG=1 to compare traces of 4 GB under a limit of "
                      "256 MB (1 minute, 8 GB of disk)\n");
        skip();
    }
    skip_under_sanitizers();
    static const char *const endings[] = {".npz", ".safetensors"};
    for (int k = 0; k < 2; k++) {
        char golden[1024], port[1024], name[32];
        snprintf(name, sizeof name, "golden%s", endings[k]);
        strcpy(golden, scratch(name));
        snprintf(name, sizeof name, "port%s", endings[k]);
        strcpy(port, scratch(name));
        (k == 0 ? write_stored : write_safetensors)(golden, 1 << 14);
        (k == 0 ? write_stored : write_safetensors)(port, 1 << 14);
        print_message("%s: 2 x 4 GB compared in %ld KiB\n", endings[k],
                      compare(golden, port, (rlim_t)1 << 28));
        scratch_files(true);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_writing),
        cmocka_unit_test(test_beyond_a_limit),
    };
    return cmocka_run_group_tests_name("trace_big", tests, scratch_open, scratch_close);
}
