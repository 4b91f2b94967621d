/* The verifier on a port that is not ours: right without a seed in every arithmetic, caught with
 * one. */
#include "tests/scratch.h"

#include <sys/wait.h>

#define MODEL  "golden/cases/mixtral_e7k2_w5"
#define TOKENS " --tokens 5,17,3,29,11,23,8,2,31,7,13,19,4"

/* Runs the port, then the comparison; leaves the comparison's output in `text`. */
static int compare(const char *port_options, const char *dtype, char *text, size_t size) {
    char command[2048];
    snprintf(command, sizeof command, "build/port " MODEL TOKENS " %s -o %s >/dev/null",
             port_options, scratch("port.npz"));
    if (system(command) != 0) fail_msg("%s", command);
    snprintf(command, sizeof command,
             "./mistral-ref compare %s %s --model " MODEL " --dtype %s >%s 2>&1",
             scratch("port.npz"), scratch("port.npz"), dtype, scratch("report"));
    const int status = WEXITSTATUS(system(command));
    size_t bytes;
    unsigned char *report = scratch_read(scratch("report"), &bytes);
    snprintf(text, size, "%.*s", (int)bytes, (char *)report);
    free(report);
    return status;
}

static void test_clean(void **state) {
    (void)state;
    char text[8192];
    const char *const ways[] = {"",
                                "--record fused",
                                "--record sparse",
                                "--chunk 4",
                                "--chunk 5 --decode 3",
                                "--layout left",
                                "--rope-layout interleaved",
                                "--first 4095"};
    const char *const dtypes[] = {"f32", "bf16", "f16"};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        for (size_t d = 0; d < 3; d++) {
            char options[256];
            snprintf(options, sizeof options, "%s --dtype %s", ways[i], dtypes[d]);
            if (compare(options, dtypes[d], text, sizeof text) != 0)
                fail_msg("%s:\n%s", options, text);
        }
}

static void test_seeded(void **state) {
    (void)state;
    char text[8192];
    const struct {
        const char *options, *dtype, *first, *cause;
    } seeds[] = {
        {"--bug R01", "f32", "layers.0.q_rope", "pairs"},
        {"--bug A01", "f32", "layers.0.scores", "tiled"},
        {"--bug N01", "f32", "layers.0.attention_norm", "epsilon"},
        {"--bug E01", "f32", "layers.0.router_weights", "renormalised"},
        {"--bug E07", "f32", "layers.0.experts.", "swapped"},
        {"--bug L03", "f32", "logits", "embedding"},
        {"--dtype bf16 --record fused --bug R04", "bf16", "layers.0.q_rope", "frequencies"},
        {"--dtype bf16 --record fused --bug A08", "bf16", "layers.0.attention", ""},
        {"--dtype bf16 --record fused --bug A10", "bf16", "layers.0.attention", ""},
    };
    for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++) {
        const int status = compare(seeds[i].options, seeds[i].dtype, text, sizeof text);
        if (status != 1 || strstr(text, seeds[i].first) == NULL ||
            strstr(text, seeds[i].cause) == NULL)
            fail_msg("%s: status %d\n%s", seeds[i].options, status, text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_clean), cmocka_unit_test(test_seeded)};
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
