/* Reinforcement learning does what it is for: the reward rises, and the penalty holds the policy
 * near the reference. The losses themselves are in tests/test_loss_*.c. */
#include "tests/training.h"

#define STEPS 40

/* Pairs in which the answer 7 is preferred to any other id: the rule to be found. */
static int open_judge(void **state) {
    if (scratch_open(state) != 0) return -1;
    FILE *pairs = fopen(scratch("pairs.jsonl"), "w");
    FILE *prompts = fopen(scratch("prompts.jsonl"), "w");
    uint64_t random = 88172645463325252u;
    for (int n = 0; n < 60; n++) {
        int id[3];
        for (int i = 0; i < 3; i++) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            id[i] = 8 + (int)(random % 35);
        }
        fprintf(pairs, "{\"prompt_ids\":[1,%d,%d],\"chosen_ids\":[7],\"rejected_ids\":[%d]}\n",
                id[0], id[1], id[2]);
        fprintf(prompts, "{\"prompt_ids\":[1,%d,%d]}\n", id[0], id[1]);
    }
    fclose(pairs);
    fclose(prompts);
    return run("train reward " DENSE " --data @/pairs.jsonl --steps 60 --lr 1e-2 -o @/judge");
}

static void answer(const char *options) {
    char args[1024];
    snprintf(args, sizeof args, "train rl " DENSE " --data @/prompts.jsonl --reward-model @/judge "
             "--max-new 1 --samples 4 --steps %d --schedule constant --json %s", STEPS, options);
    run_well(args);
}

static double mean(const char *key, idx from, idx to) {
    double sum = 0;
    for (idx n = from; n < to; n++) sum += number_of(n, key);
    return sum / (double)(to - from);
}

/* At the start the policy is the reference, to the last bit: no divergence at all. */
static void rises(const char *options) {
    answer(options);
    const double before = mean("reward", 0, 5), after = mean("reward", STEPS - 5, STEPS);
    assert_true(number_of(0, "kl") == 0);
    if (!(after > before + 1))
        fail_msg("%s: mean reward of the first steps %g, of the last %g", options, before, after);
}

static void test_rloo(void **state) {
    (void)state;
    rises("-o @/rloo --lr 3e-3 --beta 0");
}

static void test_reinforce(void **state) {
    (void)state;
    rises("-o @/reinforce --lr 3e-3 --beta 0 --method reinforce");
}

static void test_ppo(void **state) {
    (void)state;
    rises("-o @/ppo --lr 1e-3 --beta 0 --method ppo");
}

static void test_penalty(void **state) {
    (void)state;
    answer("-o @/free --lr 3e-3 --beta 0");
    const double away = mean("kl", STEPS - 5, STEPS);
    answer("-o @/held --lr 3e-3 --beta 5");
    const double held = mean("kl", STEPS - 5, STEPS);
    if (!(held < away / 2)) fail_msg("KL %g without penalty, %g with", away, held);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rloo),
        cmocka_unit_test(test_reinforce),
        cmocka_unit_test(test_ppo),
        cmocka_unit_test(test_penalty),
    };
    return cmocka_run_group_tests(tests, open_judge, remove_scratch);
}
