/* Training steps: trajectories of PyTorch, equal bits for any split and any number of threads, what
 * is saved, and the memory that was foretold. */
#include "tests/training.h"

#include <math.h>

/* ---- trajectories ---------------------------------------------------------------------------- */

/* Relative, of every number that PyTorch gave; measured 1e-14. REINFORCE's loss is a sum that
 * cancels, and its KL begins at 0, so something absolute is added. */
#define LIMIT 1e-9
#define NOTHING 1e-12

static void check_step(const char *name, idx n, json_t *want) {
    const char *key;
    json_t *value;
    assert_true(json_object_size(want) >= 2);   /* loss and grad_norm */
    json_object_foreach(want, key, value) {
        const double golden = json_number_value(value), got = number_of(n, key);
        if (!(fabs(got - golden) <= LIMIT * fabs(golden) + NOTHING))
            fail_msg("%s: step %td: %s is %.17g, PyTorch has %.17g", name, n + 1, key, got, golden);
    }
}

/* 50 steps in double against Hugging Face's classes and torch.optim.AdamW
 * (tests/trajectory_check.py). */
static void follow(const char *name) {
    char path[256], args[2048];
    json_error_t reason;
    snprintf(path, sizeof path, "golden/trajectories/%s.json", name);
    json_t *golden = json_load_file(path, 0, &reason);
    if (golden == NULL) fail_msg("%s: %s", path, reason.text);
    snprintf(args, sizeof args, "train %s %s --data golden/trajectories/%s.jsonl -o @/%s --json %s",
             json_string_value(json_object_get(golden, "task")),
             json_string_value(json_object_get(golden, "model")), name, name,
             json_string_value(json_object_get(golden, "options")));
    run_well(args);
    const json_t *steps = json_object_get(golden, "steps");
    assert_int_equal(json_array_size(steps), 50);
    for (size_t n = 0; n < 50; n++) check_step(name, (idx)n, json_array_get(steps, n));
    json_decref(golden);
}

static void test_sft_trajectory(void **state) {
    (void)state;
    follow("sft");
    follow("sft_sequence");
}

static void test_reward_trajectory(void **state) {
    (void)state;
    follow("reward");
}

static void test_dpo_trajectory(void **state) {
    (void)state;
    follow("dpo");
}

/* Greedy answers, so that nothing is random: policy, reference, reward model and KL penalty. */
static void test_rl_trajectory(void **state) {
    (void)state;
    follow("rl");
}

/* ---- equal bits ------------------------------------------------------------------------------ */

/* Every other way must leave the files that the first one leaves. The state of another split says
 * so in its settings, so only the model is compared. */
static void same_model(const char *task, const char *model, const char *data, const char *steps,
                       const char *const *way, size_t ways) {
    for (size_t i = 0; i < ways; i++) {
        char args[1024], name[64];
        snprintf(args, sizeof args, "train %s %s --data %s -o @/%s%zu --lr 1e-2 --max-length 64 "
                 "--seed 5 %s %s", task, model, data, task, i, steps, way[i]);
        run_well(args);
        snprintf(name, sizeof name, "%s%zu/model.safetensors", task, i);
        char first[64];
        snprintf(first, sizeof first, "%s0/model.safetensors", task);
        same_files(first, name);
    }
}

static void test_split_and_threads(void **state) {
    static const char *const ways[] = {"--batch 8",
                                       "--batch 1 --accumulate 8",
                                       "--batch 2 --accumulate 4 --threads 1",
                                       "--batch 8 --threads 2",
                                       "--batch 8 --threads 3"};
    (void)state;
    same_model("sft", MOE, SFT_DATA, "--steps 12", ways, 5);
    same_model("dpo", DENSE, DPO_DATA, "--steps 6", ways, 5);
    same_model("reward", MOE, DPO_DATA, "--steps 6", ways, 5);
}

/* The answers, too, are the same however many prompts are answered at once. */
static void test_split_rl(void **state) {
    static const char *const ways[] = {"--batch 4", "--batch 1 --accumulate 4",
                                       "--batch 2 --accumulate 2 --threads 3"};
    (void)state;
    run_well("train reward " DENSE " --data " DPO_DATA " -o @/judge --steps 4 --lr 1e-2");
    same_model("rl", DENSE, DPO_DATA, "--reward-model @/judge --samples 3 --max-new 5 --steps 3",
               ways, 3);
}

/* ---- what is saved --------------------------------------------------------------------------- */

/* A step at rate 0 changes nothing: the model is what it was, in the type asked for. */
static void test_saved_types(void **state) {
    (void)state;
    run_well("train sft " MOE " --data " SFT_DATA " -o @/same --steps 1 --lr 0 --dtype bf16");
    run_well("logits " MOE " --tokens 1,5,3 --json");
    static char want[sizeof out];
    strcpy(want, out);
    run_well("logits @/same --tokens 1,5,3 --json");
    assert_string_equal(out, want);
    run_well("train sft " MOE " --data " SFT_DATA " -o @/native --steps 1 --lr 0 --to native");
    run_well("logits @/native --tokens 1,5,3 --json");
    assert_string_equal(out, want);
}

/* Loss, validation and rate in the picture, which is closed and has nothing but numbers in it. */
static void test_curve(void **state) {
    size_t bytes;
    (void)state;
    run_well("train sft " MOE " --data " SFT_DATA " --valid " SFT_DATA " --valid-every 2 "
             "-o @/drawn --steps 9 --curve @/curve.svg");
    char *svg = (char *)scratch_read(scratch("curve.svg"), &bytes);
    svg[bytes] = '\0';
    assert_memory_equal(svg, "<svg ", 5);
    assert_string_equal(svg + bytes - 7, "</svg>\n");
    assert_null(strstr(svg, "nan"));
    assert_null(strstr(svg, "inf"));
    idx lines = 0, dots = 0;
    for (const char *at = svg; (at = strstr(at, "class=\"train\" d=\"M")) != NULL; at++) lines++;
    for (const char *at = svg; (at = strstr(at, "<circle")) != NULL; at++) dots++;
    assert_int_equal(lines, 4);   /* the legend's, loss, norm, rate */
    assert_int_equal(dots, 5);    /* steps 2, 4, 6, 8 and the last */
    free(svg);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* What --dry-run says against the peak that the system measured: within 5 %. */
static void check_memory(const char *task, const char *data) {
    char args[512];
    struct rusage used;
    int status;
    snprintf(args, sizeof args, "train %s @/wide --data %s --steps 2 --batch 8", task, data);
    char dry[600];
    snprintf(dry, sizeof dry, "%s --dry-run --json", args);
    run_well(dry);
    const double foretold = number_of(0, "total");
    snprintf(dry, sizeof dry, "%s -o @/wide-%s", args, task);
    const pid_t child = start(dry);
    assert_true(wait4(child, &status, 0, &used) == child);
    assert_int_equal(status, 0);
    const double ratio = foretold / (1024 * (double)used.ru_maxrss);
    if (!(ratio >= 0.95 && ratio <= 1.05))
        fail_msg("%s: foretold %.0f bytes, measured %ld KiB", task, foretold, used.ru_maxrss);
}

static void test_memory(void **state) {
    static const char config[] =
        "{\"model_type\": \"mixtral\", \"hidden_size\": 128, \"intermediate_size\": 256, "
        "\"num_hidden_layers\": 3, \"num_attention_heads\": 8, \"num_key_value_heads\": 2, "
        "\"head_dim\": 16, \"vocab_size\": 2000, \"rms_norm_eps\": 1e-5, \"rope_theta\": 1e4, "
        "\"num_local_experts\": 4, \"num_experts_per_tok\": 2}";
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    skip();   /* the sanitizer's own memory is no part of the formula */
#endif
    if (getenv("MR_WRAP") != NULL) skip();   /* nor is valgrind's, which a forked child counts */
    scratch_write("config.json", config, sizeof config - 1);
    run_well("init @/config.json -o @/wide --dtype f32");
    check_memory("sft", SFT_DATA);
    check_memory("dpo", DPO_DATA);
    check_memory("reward", DPO_DATA);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sft_trajectory), cmocka_unit_test(test_reward_trajectory),
        cmocka_unit_test(test_dpo_trajectory), cmocka_unit_test(test_rl_trajectory),
        cmocka_unit_test(test_split_and_threads),
        cmocka_unit_test(test_split_rl),       cmocka_unit_test(test_saved_types),
        cmocka_unit_test(test_curve),          cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, scratch_open, remove_scratch);
}
