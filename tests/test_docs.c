/* What the documents say is what happens (tests/docs.sh): commands run, options are those of
 * --help, names exist. */
#include "tests/command.h"

static void check_part(const char *part) {
    char command[1200];
    snprintf(command, sizeof command, "tests/docs.sh %s >%s 2>&1", part, scratch("out"));
    const int status = system(command);
    slurp("out", out, sizeof out);
    if (status != 0) fail_msg("tests/docs.sh %s:\n%s", part, out);
}

static void test_commands(void **state) { (void)state, check_part("commands"); }
static void test_options(void **state) { (void)state, check_part("options"); }
static void test_names(void **state) { (void)state, check_part("names"); }

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, scratch_open, remove_scratch);
}
