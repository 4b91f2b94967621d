/* A run that is killed, interrupted or stopped goes on as if nothing had happened. */
#include "tests/training.h"

#define KILLS 20

static const char common[] =
    "train %s --steps 30 --batch 2 --lr 1e-2 --seed 3 --save-every 1 --valid-every 4";

/* what: task, model, data */
static void command(char *args, size_t size, const char *what, const char *rest) {
    const int n = snprintf(args, size, common, what);
    snprintf(args + n, size - (size_t)n, " %s", rest);
}

static bool exists(const char *name) { return access(scratch(name), F_OK) == 0; }

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Kills the run at moments of a fixed pseudo-random row, each before a tenth of the time that the
 * whole run took, until it has been killed KILLS times or is done; then lets it finish. */
static int kill_and_resume(const char *what, double whole) {
    char args[1024];
    uint64_t random = 88172645463325252u;
    int kills = 0, status = 0;
    while (kills < KILLS) {
        command(args, sizeof args, what, exists("killed/training.state") ? "--resume @/killed"
                                                                         : "-o @/killed");
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        const pid_t child = start(args);
        sleep_ms((long)(1000 * whole / 10 * (double)(random >> 11) * 0x1p-53));
        kill(child, SIGKILL);
        assert_true(waitpid(child, &status, 0) == child);
        if (WIFEXITED(status)) break;   /* it was done before the kill */
        kills++;
    }
    if (!WIFEXITED(status)) {
        command(args, sizeof args, what, exists("killed/training.state") ? "--resume @/killed"
                                                                         : "-o @/killed");
        run_well(args);
    }
    return kills;
}

static void drop(const char *name) {
    char command_line[1100];
    snprintf(command_line, sizeof command_line, "rm -rf %s", scratch(name));
    assert_int_equal(system(command_line), 0);
}

/* A machine that had other work during the whole run is faster now: sooner, then. */
static void compare(const char *what) {
    char args[1024];
    int kills = 0;
    drop("whole");
    command(args, sizeof args, what, "-o @/whole");
    const double begun = seconds();
    run_well(args);
    double whole = seconds() - begun;
    for (int tries = 0; kills < 10 && tries < 6; tries++, whole /= 2) {
        drop("killed");
        kills = kill_and_resume(what, whole);
        same_files("whole/training.state", "killed/training.state");
        same_files("whole/model.safetensors", "killed/model.safetensors");
    }
    if (kills < 10) fail_msg("only %d kills met the run", kills);
    run_well("logits @/killed --tokens 1,5,3");
}

static void test_killed(void **state) {
    (void)state;
    compare("sft " MOE " --data " SFT_DATA " --valid " SFT_DATA);
    compare("dpo " DENSE " --data " DPO_DATA);
    compare("reward " DENSE " --data " DPO_DATA);
}

static void test_killed_rl(void **state) {
    (void)state;
    run_well("train reward " DENSE " --data " DPO_DATA " -o @/judge --steps 4 --lr 1e-2");
    compare("rl " DENSE " --data " DPO_DATA " --reward-model @/judge --samples 2 --max-new 4");
}

/* Ctrl-C: the step is finished, saved, said; the program ends by the signal. */
static void test_interrupted(void **state) {
    char args[1024];
    int status;
    const char *what = "sft " MOE " --data " SFT_DATA;
    (void)state;
    drop("whole");
    drop("killed");
    command(args, sizeof args, what, "-o @/whole");
    run_well(args);
    command(args, sizeof args, what, "-o @/killed");
    const pid_t child = start(args);
    for (int n = 0; n < 500 && !exists("killed/training.state"); n++) sleep_ms(2);
    kill(child, SIGINT);
    assert_true(waitpid(child, &status, 0) == child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
    command(args, sizeof args, what, "--resume @/killed");
    run_well(args);
    same_files("whole/training.state", "killed/training.state");
    same_files("whole/model.safetensors", "killed/model.safetensors");
}

/* What a killed run left half written goes with the next run in that folder; the rest stays, and
 * is not copied from a model's folder either. */
static void test_leftovers(void **state) {
    static const char *const half[] = {"training.state.tmp-1-0", "config.json.tmp-1-0",
                                       "tokenizer.json.tmp-1-0"};
    char path[128];
    (void)state;
    for (int resumed = 0; resumed < 2; resumed++) {
        mkdir(scratch("left"), 0700);
        write_file("left/notes.tmp-1-0", "x");
        for (size_t i = 0; i < sizeof half / sizeof *half; i++) {
            snprintf(path, sizeof path, "left/%s", half[i]);
            write_file(path, "x");
        }
        run_well(resumed == 0 ? "train sft " MOE " --data " SFT_DATA " --steps 1 -o @/left"
                              : "train sft " MOE " --data " SFT_DATA " --steps 1 --resume @/left");
        for (size_t i = 0; i < sizeof half / sizeof *half; i++) {
            snprintf(path, sizeof path, "left/%s", half[i]);
            assert_false(exists(path));
        }
        assert_true(exists("left/notes.tmp-1-0"));
    }
    write_file("left/tokenizer.json.tmp-1-0", "x");
    run_well("train sft @/left --data " SFT_DATA " --steps 1 -o @/right");
    assert_false(exists("right/tokenizer.json.tmp-1-0"));
}

/* Half the steps, then all of them; at a constant rate that is one run of all of them. */
static void test_more_steps(void **state) {
    (void)state;
    run_well("train sft " MOE " --data " SFT_DATA " --steps 7 --schedule constant -o @/all");
    run_well("train sft " MOE " --data " SFT_DATA " --steps 3 --schedule constant -o @/parts");
    run_well("train sft " MOE " --data " SFT_DATA " --steps 7 --schedule constant "
             "--resume @/parts");
    same_files("all/training.state", "parts/training.state");
    same_files("all/model.safetensors", "parts/model.safetensors");
}

/* What would not be the same run is refused, with what differs. */
static void test_other_run(void **state) {
    (void)state;
    run_well("train sft " MOE " --data " SFT_DATA " --steps 2 -o @/run");
    const expectation table[] = {
        {"train sft " MOE " --data " SFT_DATA " --steps 2 -o @/run", 2, "", "choose another"},
        {"train sft " MOE " --data " SFT_DATA " --steps 3 --lr 1 --resume @/run", 2, "",
         "this run has lr 1.0, the checkpoint was made with 0.00029"},
        {"train sft " MOE " --data golden/trajectories/sft_sequence.jsonl --steps 3 --resume @/run",
         2, "", "this run has data"},
        {"train sft " DENSE " --data " SFT_DATA " --steps 3 --resume @/run", 2, "",
         "this run has model"},
        {"train sft " MOE " --data " SFT_DATA " --steps 3 --precision f64 --resume @/run", 2, "",
         "precision"},
        {"train sft " MOE " --data " SFT_DATA " --steps 3 --resume @/nowhere", 3, "", "nowhere"},
    };
    CHECK_ALL(table);
}

/* The same path, another model. */
static void test_other_model(void **state) {
    char copy[2048];
    (void)state;
    for (int n = 0; n < 2; n++) {
        snprintf(copy, sizeof copy, "mkdir -p %s/model && cp %s/*.json %s/*.safetensors %s/model",
                 scratch_folder, n == 0 ? MOE : DENSE, n == 0 ? MOE : DENSE, scratch_folder);
        assert_int_equal(system(copy), 0);
        const char *args = "train sft @/model --data " SFT_DATA " --steps 2 --save-every 1 ";
        char all[512];
        snprintf(all, sizeof all, "%s%s", args, n == 0 ? "-o @/first" : "--resume @/first");
        if (n == 0) run_well(all);
        else check_all(&(expectation){all, 3, "", "of this model and precision"}, 1);
    }
}

/* Validation gets worse at once at this rate: the run stops, and the best model is on disk. */
static void test_patience(void **state) {
    (void)state;
    run_well("train sft " MOE " --data " SFT_DATA " --valid " SFT_DATA " --valid-every 1 "
             "--patience 2 --steps 50 --lr 3 --schedule constant --batch 2 --json -o @/patient");
    assert_non_null(strstr(out, "\"stopped\":\"the validation loss no longer falls\""));
    double best = 1e300;
    idx steps = 0;
    for (const char *at = out; (at = strstr(at, "\"valid_loss\":")) != NULL; at++, steps++) {
        const double loss = strtod(at + 13, NULL);
        best = loss < best ? loss : best;
    }
    assert_true(steps >= 3 && steps < 50);
    run_well("train sft @/patient --data " SFT_DATA " --valid " SFT_DATA " --steps 1 --lr 0 "
             "--json -o @/judged");
    const double again = number_of(0, "valid_loss");
    if (again != best) fail_msg("the model on disk has %.17g, the best was %.17g", again, best);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed),     cmocka_unit_test(test_killed_rl),
        cmocka_unit_test(test_more_steps), cmocka_unit_test(test_other_run),
        cmocka_unit_test(test_patience),   cmocka_unit_test(test_interrupted),
        cmocka_unit_test(test_leftovers),
        cmocka_unit_test(test_other_model),
    };
    return cmocka_run_group_tests(tests, scratch_open, remove_scratch);
}
