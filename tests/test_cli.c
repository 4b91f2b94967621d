/* The command contract: every subcommand run as a user runs it, with exit status, output and
 * message. */
#include "tests/command.h"

#define MOE   "golden/cases/mixtral_e5k2"
#define DENSE "golden/cases/dense_gqa_w5"

static void test_help_and_usage(void **state) {
    (void)state;
    const expectation table[] = {
        {"", 2, "", "Exit status"},
        {"--help", 0, "selftest", ""},
        {"--version", 0, "mistral-ref ", ""},
        {"run --help", 0, "--temp", ""},
        {"mask --help", 0, "number of tokens", ""},
        {"fly", 2, "", "unknown command \"fly\""},
        {"run", 2, "", "no model named"},
        {"run " MOE " --wings 2", 2, "", "unknown option"},
        {"run " MOE " --tokens", 2, "", "no value for option"},
        {"run " MOE " --tokens 1 -n many", 2, "", "-n: expected an integer"},
        {"run " MOE " --tokens 1,,2", 2, "", "--tokens: expected token ids"},
        {"run " MOE " --tokens 1 -p x", 2, "", "exactly one of"},
        {"run " MOE " --tokens 1 --temp warm", 2, "", "--temp: expected a finite number"},
        {"run " MOE " --tokens 1 --temp -1", 2, "", "--temp must be 0 or more"},
        {"run " MOE " --tokens 1 --engine steam", 2, "", "--engine: expected plain|blas"},
        {"run " MOE " --tokens 1 --window 0", 2, "", "--window: expected an integer from 1"},
        {"run " MOE " a b c", 2, "", "unexpected argument \"a\""},
        {"trace " MOE " --tokens 1", 2, "", "-o OUT"},
        {"trace " MOE " --tokens 1 -o @/x.txt", 3, "", ".npz or .safetensors"},
        {"mask", 2, "", "--tokens T is needed"},
        {"mask --tokens 6 --window 2 --rule longformer --chunk 2", 2, "", "looks ahead"},
        {"init " MOE "/config.json", 2, "", "-o DIR is needed"},
        {"convert " MOE " -o @/x", 2, "", "--to hf|native are needed"},
        {"convert " MOE " -o @/x --to hf --kv-heads 3", 2, "", "divisor of the model's 2 KV heads"},
        {"score " MOE " --tokens 1", 2, "", "at least two tokens"},
        {"tokenize nowhere x --bos --no-bos", 2, "", "exclude each other"},
    };
    CHECK_ALL(table);
}

static void test_bad_input(void **state) {
    (void)state;
    const expectation table[] = {
        {"info nowhere", 3, "", "nowhere"},
        {"run nowhere --tokens 1", 3, "", "nowhere"},
        {"run " MOE " --tokens 1,41", 3, "", "id 41 is outside the vocabulary, expected 0 to 40"},
        {"score " MOE " --tokens 1,41", 3, "", "id 41 is outside"},
        {"run " MOE " -p hello", 3, "", "tokenizer"},
        {"logits " MOE " --tokens 1 --rope-theta -1", 3, "", "rope_theta above 0"},
        {"logits " DENSE " --tokens 1,2,3 --window-rule longformer --chunk 1", 3, "",
         "looks ahead"},
        {"routing " DENSE " --tokens 1", 3, "", "a dense model has no router"},
        {"score " MOE " @/text", 3, "", "tokenizer.model"},
        {"selftest @", 5, "", "no golden cases"},
    };
    CHECK_ALL(table);
}

static void test_every_command_answers(void **state) {
    (void)state;
    const expectation table[] = {
        {"run " MOE " --tokens 1,5,3 -n 4 --chunk 2", 0, "\n", ""},
        {"run " MOE " --tokens 1,5,3 -n 4 --json", 0, "{\"prompt_tokens\":[1,5,3],\"tokens\":[",
         ""},
        {"run " MOE
         " --tokens 1,5,3 -n 4 --temp 0.8 --top-k 5 --top-p 0.9 --seed 3 --threads 2 --json",
         0, "\"tokens\":[", ""},
        {"logits " MOE " --tokens 1,5 --precision f64 --engine plain", 0, "0 (1):", ""},
        {"logits " MOE " --tokens 1,5 --json", 0, "{\"tokens\":[1,5],\"logits\":[[", ""},
        {"logits " MOE " --tokens 1,5 --precision bf16 --convention hf --dispatch naive", 0,
         "1 (5):", ""},
        {"logits " MOE " --tokens 1,5 --precision f16 --capacity-factor 1 --capacity-rank slots", 0,
         "1 (5):", ""},
        {"score " MOE " --tokens 1,5,3", 0, "2 tokens scored", ""},
        {"score " MOE " --tokens 1,5,3 --json", 0, "\"perplexity\":", ""},
        {"trace " MOE " --tokens 1,5,3 -o @/t.npz --json", 0, "\"tokens\":[1,5,3]", ""},
        {"trace " DENSE
         " --tokens 1,5,3,2,1 -o @/t.safetensors --chunk 2 --decode 3 --only 'layers.1.*'",
         0, "", ""},
        {"routing " MOE " --tokens 1,5,3", 0, "share of each expert", ""},
        {"routing " MOE " --tokens 1,5,3 --chunk 2 --json", 0, "\"random_any\":", ""},
        {"info " MOE, 0, "5 experts, 2 per token", ""},
        {"info " DENSE " --json --context 100", 0, "\"active_parameters\":", ""},
        {"mask --tokens 4 --window 2", 0, "#...\n##..\n.##.\n..##\n", ""},
        {"mask --tokens 4 --window 2 --rule swa-inclusive", 0, "#...\n##..\n###.\n.###\n", ""},
        {"mask --tokens 4 --window 2 --rule longformer", 0, "##..\n###.\n.###\n..##\n", ""},
        {"mask --tokens 4 --window 2 --rule causal", 0, "#...\n##..\n###.\n####\n", ""},
        {"mask --tokens 5 --window 3 --chunk 4 --json", 0,
         "\"cache_pos\":[3,1,2]},{\"first\":4,\"count\":1,\"cache_pos\":[3,4,2]", ""},
        {"selftest " MOE " --verbose", 0, "agrees", ""},
        {"selftest " DENSE " --json", 0, "\"results\":[", ""},
    };
    CHECK_ALL(table);
}

/* init, convert to native and back: the logits keep every bit. */
static void test_init_convert(void **state) {
    (void)state;
    static char first[sizeof out];
    assert_int_equal(run("init " MOE "/config.json -o @/hf --seed 7"), 0);
    assert_int_equal(run("convert @/hf -o @/native --to native"), 0);
    assert_int_equal(run("convert @/native -o @/back --to hf --dtype f32"), 0);
    assert_int_equal(run("logits @/hf --tokens 1,5,3 --json"), 0);
    strcpy(first, out);
    assert_int_equal(run("logits @/native --tokens 1,5,3 --json"), 0);
    assert_string_equal(first, out);
    assert_int_equal(run("logits @/back --tokens 1,5,3 --json"), 0);
    assert_string_equal(first, out);
    assert_int_equal(run("init @/native/params.json -o @/again --seed 7 --dtype f32"), 0);
    assert_int_equal(run("info @/again"), 0);
}

/* Fewer KV heads: with all heads equal the mean changes nothing; here it must give a model that
 * runs with G = 1. */
static void test_kv_heads(void **state) {
    (void)state;
    assert_int_equal(run("convert " MOE " -o @/mqa --to hf --kv-heads 1"), 0);
    assert_int_equal(run("info @/mqa"), 0);
    assert_non_null(strstr(out, "6 query and 1 KV heads"));
    assert_int_equal(run("logits @/mqa --tokens 1,5,3"), 0);
}

/* Chunks of any size and the naive dispatch give the bits of one prefill. */
static void test_paths_agree(void **state) {
    (void)state;
    static char first[sizeof out];
    const char *const ways[] = {"--chunk 1", "--chunk 4",        "--chunk 5",
                                "--chunk 6", "--dispatch naive", "--threads 3"};
    assert_int_equal(
        run("logits golden/cases/mixtral_e7k2_w5 --tokens 1,5,3,7,9,2,4,8,6,1,2,3,4 --json"), 0);
    strcpy(first, out);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        char args[256];
        snprintf(args, sizeof args,
                 "logits golden/cases/mixtral_e7k2_w5 --tokens 1,5,3,7,9,2,4,8,6,1,2,3,4 --json %s",
                 ways[i]);
        assert_int_equal(run(args), 0);
        assert_string_equal(first, out);
    }
}

/* A result that cannot be written is a failure, whatever it would have been. */
static void test_full_output(void **state) {
    static const char *const commands[] = {
        "info " MOE, "run --help", "--help",
        "compare golden/cases/dense_gqa/t1.f32.npz golden/cases/dense_gqa/t13.f32.npz"};
    (void)state;
    if (access("/dev/full", W_OK) != 0) skip();
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        char line[1024];
        snprintf(line, sizeof line, "./mistral-ref %s >/dev/full 2>%s/err", commands[i],
                 scratch_folder);
        assert_int_equal(WEXITSTATUS(system(line)), 3);
        slurp("err", err, sizeof err);
        assert_non_null(strstr(err, "writing to standard output failed\n"));
    }
}

/* Closed standard streams: their numbers do not go to files, where messages would end up.
 * What prints nothing loses nothing. */
static void test_closed_streams(void **state) {
    char line[2048];
    (void)state;
    assert_int_equal(run("trace " MOE " --tokens 1,5 -o @/open.npz"), 0);
    snprintf(line, sizeof line, "./mistral-ref trace " MOE " --tokens 1,5 -o %s/closed.npz <&- >&- "
             "2>&-; test $? = 0 && cmp %s/open.npz %s/closed.npz", scratch_folder, scratch_folder,
             scratch_folder);
    assert_int_equal(system(line), 0);
    snprintf(line, sizeof line, "./mistral-ref tokenize golden/chat/small.model <&- >%s/out 2>&1",
             scratch_folder);
    assert_int_equal(WEXITSTATUS(system(line)), 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_help_and_usage),
        cmocka_unit_test(test_bad_input),
        cmocka_unit_test(test_every_command_answers),
        cmocka_unit_test(test_init_convert),
        cmocka_unit_test(test_kv_heads),
        cmocka_unit_test(test_paths_agree),
        cmocka_unit_test(test_full_output),
        cmocka_unit_test(test_closed_streams),
    };
    return cmocka_run_group_tests(tests, scratch_open, remove_scratch);
}
