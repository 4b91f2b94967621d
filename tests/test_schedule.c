/* Schedules against transformers' own (golden/losses/optimiser.json). */
#include "tests/losses_golden.h"

#include "ref/schedule.h"

static void every_step(void **state) {
    (void)state;
    json_t *root = golden_open("optimiser");
    idx cases;
    const double *warmup = golden(root, "schedules/warmup", &cases);
    const double *steps = golden(root, "schedules/steps", NULL);
    const idx upto = (idx)golden(root, "schedules/upto", NULL)[0];
    assert_true(cases == 4 && upto == 15);
    for (int k = 0; k < MR_SCHEDULES; k++) {
        mr_schedule schedule;
        const char *name = mr_schedule_name((mr_schedule_kind)k);
        const double *want = golden_at(root, "schedules", name, NULL);
        assert_true(mr_schedule_parse(name, &schedule.kind) && (int)schedule.kind == k);
        for (idx c = 0; c < cases; c++) {
            schedule.warmup = (int64_t)warmup[c];
            schedule.steps = (int64_t)steps[c];
            for (idx s = 0; s < upto; s++) {
                const double got = mr_schedule_factor(&schedule, s);
                check_close(name, want + c * upto + s, &got, 1, EPS_F64, 1, 1);
            }
        }
    }
    json_decref(root);
}

static void names(void **state) {
    (void)state;
    mr_schedule_kind kind;
    assert_false(mr_schedule_parse("cosine ", &kind));
    assert_false(mr_schedule_parse("", &kind));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_step), cmocka_unit_test(names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
