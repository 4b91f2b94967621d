/* A model, a tokenizer, a trace, a training checkpoint and JSON Lines, each opened and closed 1,000
 * times: memory and open files do not grow. */
#include "tests/scratch.h"

#include <malloc.h>

#include "golden/trace.h"
#include "ref/mr.h"
#include "tokenizer/tokenizer.h"
#include "weights/checkpoint.h"
#include "weights/jsonl.h"
#include "weights/training.h"

enum { CYCLES = 1000, WARM = 100 };

static int descriptors(void) {
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL) return 0;
    while (readdir(dir) != NULL) count++;
    closedir(dir);
    return count;
}

/* Bytes in use. */
static size_t in_use(void) {
    const struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* The heap of a sanitizer or of valgrind, which look for leaks themselves, says nothing here. */
static bool heap_tells(void) {
    const size_t before = in_use();
    void *volatile block = malloc(1 << 16);
    const bool told = in_use() >= before + (1 << 16);
    free(block);
    return told;
}

/* Of memory and maps. */
static long pages(void) {
    long size = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL) return 0;
    if (fscanf(f, "%ld", &size) != 1) size = 0;
    fclose(f);
    return size;
}

static void once_model(mr_err *err) {
    const idx capacity = 32;
    const mr_run_options o = {.n_seqs = 1, .capacity = &capacity, .max_tokens = 4};
    mr_checkpoint c;
    mr_run *run = NULL;
    if (mr_checkpoint_open("golden/cases/mixtral_e5k2", &c, err) == MR_OK)
        mr_run_open(&c.model, &o, &run, err);
    mr_run_close(run);
    mr_checkpoint_close(&c);
}

static void once_tokenizer(mr_err *err) {
    static const char *const files[] = {"golden/chat/small.model", "golden/chat/tekken.json",
                                        "golden/tokenizers/hf_gpt2.json",
                                        "golden/tokenizers/hf_spm.json"};
    static int k;
    mr_tokenizer *t = NULL;
    mr_ids ids = {0};
    mr_text text = {0};
    if (mr_tokenizer_open(files[k++ % 4], &t, err) == MR_OK &&
        mr_tokenizer_encode(t, "w\xC3\xB6rld", 6, &ids, err) == MR_OK)
        mr_tokenizer_decode(t, ids.id, ids.count, &text, err);
    mr_ids_free(&ids);
    mr_text_free(&text);
    mr_tokenizer_close(t);
    assert_int_equal(mr_tokenizer_open("golden/cases/mixtral_e5k2/config.json", &t, NULL), MR_BAD);
}

static void once_trace(mr_err *err) {
    const double values[3] = {1, 2, 3};
    const mr_tensor t = {"x", MR_F64, 1, {3}, values};
    const char *path = scratch("t.npz");
    mr_trace_writer *w = NULL;
    mr_trace *trace = NULL;
    double x[3];
    if (mr_trace_create(path, 1, &w, err) || mr_trace_add(w, &t, err)) mr_trace_abandon(w);
    else mr_trace_finish(w, "{}", err);
    if (mr_trace_open(path, &trace, err) == MR_OK) mr_trace_read(trace, 0, x, err);
    mr_trace_close(trace);
}

/* A training checkpoint: written, read, its settings and log given back. */
static void once_training(mr_err *err) {
    static mr_checkpoint part[3];
    double log[2] = {1, 2};
    const mr_config c = {.dim = 2, .n_layers = 1, .head_dim = 2, .hidden_dim = 1, .n_heads = 1,
                         .n_kv_heads = 1, .vocab_size = 2, .norm_eps = 1e-5, .rope_theta = 1e4,
                         .bos_id = -1, .eos_id = -1};
    for (int i = 0; i < 3; i++)
        if (mr_checkpoint_init(&c, (uint64_t)i, MR_F32, &part[i], err)) return;
    mr_training s = {.part = {&part[0].model, &part[1].model, &part[2].model}, .counter = {1},
                     .log = log, .rows = 1, .columns = 2, .settings = json_pack("{s:i}", "x", 7)};
    const char *path = scratch("training.state");
    if (mr_training_save(path, &s, err) == MR_OK && mr_training_load(path, &s, err) == MR_OK)
        mr_free(s.log);
    json_decref(s.settings);
    for (int i = 0; i < 3; i++) mr_checkpoint_close(&part[i]);
}

static void once_lines(mr_err *err) {
    mr_jsonl lines;
    json_t *object = NULL;
    if (mr_jsonl_open(&lines, "golden/trajectories/sft.jsonl", err) == MR_OK)
        mr_jsonl_next(&lines, &object, err);
    json_decref(object);
    mr_jsonl_close(&lines);
}

static void test_cycles(void **state) {
    void (*const once[])(mr_err *err) = {once_model, once_tokenizer, once_trace, once_training,
                                         once_lines};
    const int cycles = getenv("MR_WRAP") != NULL ? WARM : CYCLES;   /* valgrind is slow */
    (void)state;
    for (size_t i = 0; i < sizeof once / sizeof *once; i++) {
        mr_err err = {0};
        for (int n = 0; n < WARM; n++) once[i](&err);
        const int files = descriptors();
        const size_t used = in_use();
        const long size = pages();
        for (int n = 0; n < cycles; n++) once[i](&err);
        const size_t now = in_use();
        if (err.code != MR_OK) fail_msg("%s", err.text);
        assert_int_equal(descriptors(), files);
        if (!heap_tells()) continue;
        if (now > used + 4096) fail_msg("%zu: %zu bytes, then %zu", i, used, now);
        if (pages() > size + 256) fail_msg("%zu: %ld pages, then %ld", i, size, pages());
    }
}

/* glibc keeps some freed blocks per thread, and counts them as used: begins again without. */
static void without_kept_blocks(char **argv) {
    if (getenv("GLIBC_TUNABLES") != NULL || getenv("MR_WRAP") != NULL) return;
    setenv("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0", 1);
    execv("/proc/self/exe", argv);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cycles),
    };
    (void)argc;
    without_kept_blocks(argv);
    return cmocka_run_group_tests_name("cycles", tests, scratch_open, scratch_close);
}
