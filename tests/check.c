/* Implementation of the checks in check.h. */
#define _POSIX_C_SOURCE 200809L
#include "tests/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "ref/sample.h"

void check_close(const char *name, const double *want, const double *got, idx n, double eps,
                 double scale, double limit) {
    for (idx i = 0; i < n; i++) {
        const double difference = fabs(got[i] - want[i]);
        const double ratio = difference == 0 ? 0 : difference / (eps * scale);
        if (!(ratio <= limit))
            fail_msg("%s[%td]: want %.17g, got %.17g: %.3g eps of %g, limit %g", name, i, want[i],
                     got[i], ratio, scale, limit);
    }
}

void check_number(const char *name, double want, double got, double limit) {
    check_close(name, &want, &got, 1, EPS_F64, want == 0 ? 1 : fabs(want), limit);
}

void check_close_f32(const char *name, const double *want, const float *got, idx n, double scale,
                     double limit) {
    for (idx i = 0; i < n; i++) {
        const double wide = (double)got[i];
        check_close(name, want + i, &wide, 1, EPS_F32, scale, limit);
    }
}

void check_bits(const char *name, const void *want, const void *got, idx n, idx size) {
    for (idx i = 0; i < n; i++)
        if (memcmp((const char *)want + i * size, (const char *)got + i * size, (size_t)size) != 0)
            fail_msg("%s[%td]: bits differ", name, i);
}

void must(mr_status status, const mr_err *err) {
    if (status != MR_OK) fail_msg("status %d: %s", (int)status, err->text);
}

void check_refused(mr_status got, mr_status want, const mr_err *err, const char *text) {
    if (got != want) fail_msg("status %d, want %d; message: %s", (int)got, (int)want, err->text);
    if (strstr(err->text, text) == NULL) fail_msg("message lacks \"%s\": %s", text, err->text);
}

void fill_f64(double *x, idx n, uint64_t stream) {
    mr_rng rng = mr_rng_seed(stream);
    for (idx i = 0; i < n; i++) x[i] = 2 * mr_rng_uniform(&rng) - 1;
}

void fill_f32(float *x, idx n, uint64_t stream) {
    mr_rng rng = mr_rng_seed(stream);
    for (idx i = 0; i < n; i++) x[i] = (float)(2 * mr_rng_uniform(&rng) - 1);
}

const char *test_data(void) {
    const char *folder = getenv("MR_TEST_DATA");
    if (folder == NULL) folder = "../shared/data";
    struct stat info;
    return stat(folder, &info) == 0 ? folder : NULL;
}

const char *test_data_file(const char *relative) {
    static char path[4096];
    if (test_data() == NULL) {
        print_message("skipped: no test data (%s); set MR_TEST_DATA\n", relative);
        skip();
    }
    snprintf(path, sizeof path, "%s/%s", test_data(), relative);
    return path;
}
