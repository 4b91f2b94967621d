/* Reports in files: JUnit and HTML, their escapes and size; explained choices; proof of nothing. */
#include "tests/command.h"

#define MODEL  "golden/cases/mixtral_e7k2_w5"
#define TOKENS " --tokens 5,17,3,29,11,23,8,2,31,7,13,19,4"

static void record(const char *options, const char *name) {
    char command[2048];
    snprintf(command, sizeof command, "build/port " MODEL TOKENS " %s -o '%s' >/dev/null", options,
             scratch(name));
    if (system(command) != 0) fail_msg("%s", command);
}

static char *text_of(const char *name) {
    size_t bytes;
    char *text = (char *)scratch_read(scratch(name), &bytes);
    text = realloc(text, bytes + 1);
    assert_non_null(text);
    text[bytes] = '\0';
    assert_int_equal(strlen(text), bytes);
    return text;
}

static int count(const char *text, const char *what) {
    int n = 0;
    for (; (text = strstr(text, what)) != NULL; text++) n++;
    return n;
}

static void contains(const char *text, const char *what) {
    if (strstr(text, what) == NULL) fail_msg("lacks %s:\n%.3000s", what, text);
}

/* One case per tensor; the window's two faults fail; the caches, which no operation judges, are
 * skipped. */
static void test_junit(void **state) {
    (void)state;
    record("--bug M01", "port.npz");
    assert_int_equal(run("compare @/port.npz @/port.npz --model " MODEL " --junit @/r.xml"), 1);
    char *xml = text_of("r.xml");
    contains(xml, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites ");
    contains(xml, "tests=\"57\" failures=\"2\" errors=\"0\" skipped=\"6\"");
    assert_int_equal(count(xml, "<testcase "), 57);
    assert_int_equal(count(xml, "<failure "), 2);
    assert_int_equal(count(xml, "<skipped "), 6);
    contains(xml, "classname=\"mistral-ref.layers.0\" name=\"layers.0.scores\"");
    contains(xml, "classname=\"mistral-ref.model\" name=\"logits\"");
    contains(xml, "cause, proved: a sliding window of 6 keys instead of 5");
    contains(xml, "--only layers.1.scores");
    free(xml);
}

static void test_escapes(void **state) {
    (void)state;
    record("", "a<&\">\x01\xff.npz");
    assert_int_equal(run("compare '@/a<&\">\x01\xff.npz' '@/a<&\">\x01\xff.npz' --model " MODEL
                         " --junit @/r.xml --html @/r.html"), 0);
    static const char *const files[] = {"r.xml", "r.html"};
    for (int i = 0; i < 2; i++) {
        char *text = text_of(files[i]);
        contains(text, "a&lt;&amp;&quot;&gt;??.npz");
        assert_null(strstr(text, "a<&"));
        assert_null(strchr(text, '\x01'));
        assert_null(strchr(text, '\xff'));
        free(text);
    }
}

static void test_html(void **state) {
    (void)state;
    record("--bug M01", "port.npz");
    assert_int_equal(run("compare @/port.npz @/port.npz --model " MODEL " --html @/r.html"), 1);
    char *page = text_of("r.html");
    static const char *const ids[] = {"verdict", "fault", "map", "inside", "masks", "routing",
                                      "all"};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        char id[32];
        snprintf(id, sizeof id, " id=\"%s\"", ids[i]);
        assert_int_equal(count(page, id), 1);
    }
    assert_int_equal(count(page, "class=\"panel"), 51);
    contains(page, "<b>48</b> forbidden keys seen");
    /* nothing is loaded from anywhere */
    assert_null(strstr(page, "http://"));
    assert_null(strstr(page, "https://"));
    assert_null(strstr(page, "src="));
    assert_null(strstr(page, "url("));
    free(page);
    /* a file that cannot be written is a failure, whatever the verdict */
    assert_int_equal(run("compare @/port.npz @/port.npz --model " MODEL " --html @/none/r.html"),
                     3);
    contains(err, "none/r.html");
}

/* Of the choices that differ every one is a tie. The seed takes the later of equal experts, as no
 * document forbids. */
static void test_explained(void **state) {
    (void)state;
    assert_int_equal(run("init golden/cases/mixtral_e5k2/config.json -o @/tie --seed 3"), 0);
    /* router rows all equal: every choice is a tie */
    size_t bytes;
    unsigned char *file = scratch_read(scratch("tie/model.safetensors"), &bytes);
    char *end;
    for (int layer = 0; layer < 2; layer++) {
        char name[96];
        snprintf(name, sizeof name, "model.layers.%d.block_sparse_moe.gate.weight", layer);
        uint64_t header;
        memcpy(&header, file, 8);
        const char *at = strstr((char *)file + 8, name);
        assert_non_null(at);
        const long from = strtol(strstr(strstr(at, "offsets"), "[") + 1, &end, 10);
        memset(file + 8 + header + from, 0, (size_t)(strtol(end + 1, NULL, 10) - from));
    }
    scratch_write("tie/model.safetensors", file, bytes);
    free(file);
    char command[1024];
    snprintf(command, sizeof command,
             "build/port %s --tokens 5,17,3 --dtype bf16 --bug F07 -o %s >/dev/null",
             scratch("tie"), scratch("port.npz"));
    assert_int_equal(system(command), 0);
    assert_int_equal(run("compare @/port.npz @/port.npz --model @/tie --junit @/r.xml --html "
                         "@/r.html"), 0);
    contains(out, "explained   layers.0.router_experts");
    char *xml = text_of("r.xml"), *page = text_of("r.html");
    contains(xml, "<system-out>explained: token 0 chose otherwise");
    contains(xml, "failures=\"0\"");
    contains(page, "6 choices differ");
    free(xml);
    free(page);
}

/* Weights of zero make every tensor constant: no fault could show. */
static void test_proves_nothing(void **state) {
    (void)state;
    size_t bytes;
    uint64_t header;
    assert_int_equal(run("init golden/cases/dense_gqa/config.json -o @/zero"), 0);
    unsigned char *file = scratch_read(scratch("zero/model.safetensors"), &bytes);
    memcpy(&header, file, 8);
    memset(file + 8 + header, 0, bytes - 8 - (size_t)header);
    scratch_write("zero/model.safetensors", file, bytes);
    free(file);
    assert_int_equal(run("trace @/zero --tokens 5,17,3 --only '*[!skv]' -o @/port.npz"), 0);
    assert_int_equal(run("compare @/port.npz @/port.npz --model @/zero --junit @/r.xml"), 5);
    assert_int_equal(strncmp(out, "NO PROOF    ", 12), 0);
    contains(err, "constant");
    char *xml = text_of("r.xml");
    contains(xml, "proves nothing: every expected number is the same");
    free(xml);
    /* a model without its weights has no verdict at all */
    remove(scratch("zero/model.safetensors"));
    const int status = run("compare @/port.npz @/port.npz --model @/zero");
    assert_true(status == 3 || status == 4);
    contains(err, "safetensors");
}

/* 32 layers of 8 experts: the page stays below 5 MB. */
static void test_large(void **state) {
    (void)state;
    FILE *config = fopen(scratch("config.json"), "w");
    assert_non_null(config);
    fputs("{\"model_type\":\"mixtral\",\"hidden_size\":32,\"intermediate_size\":24,"
          "\"num_attention_heads\":8,\"num_key_value_heads\":2,\"head_dim\":8,"
          "\"num_hidden_layers\":32,\"vocab_size\":300,\"rms_norm_eps\":1e-5,\"rope_theta\":1e6,"
          "\"sliding_window\":9,\"num_local_experts\":8,\"num_experts_per_tok\":2,"
          "\"tie_word_embeddings\":false}", config);
    fclose(config);
    char command[1024], ids[512] = "1";
    for (int t = 1; t < 100; t++) sprintf(ids + strlen(ids), ",%d", t * 7 % 299 + 1);
    assert_int_equal(run("init @/config.json -o @/large --dtype f32"), 0);
    snprintf(command, sizeof command, "trace @/large --tokens %s --window 10 -o @/port.npz", ids);
    assert_int_equal(run(command), 0);
    assert_int_equal(run("compare @/port.npz @/port.npz --model @/large --only '*' --html "
                         "@/r.html"), 1);
    struct stat file;
    assert_int_equal(stat(scratch("r.html"), &file), 0);
    assert_in_range(file.st_size, 1 << 18, 5000000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_junit),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_html),
        cmocka_unit_test(test_explained),
        cmocka_unit_test(test_proves_nothing),
        cmocka_unit_test(test_large),
    };
    return cmocka_run_group_tests(tests, scratch_open, remove_scratch);
}
