/* Threads of one process: each with a model, a tokenizer and files of its own, or all with the same
 * model and tokenizer, do what one thread does, bit for bit. `make tsan` runs this under
 * ThreadSanitizer. */
#include "tests/scratch.h"

#include <pthread.h>

#include "golden/trace.h"
#include "ref/mr.h"
#include "tokenizer/tokenizer.h"
#include "weights/checkpoint.h"

enum { THREADS = 8, ROUNDS = 4, STEPS = 8, RESULT = 1 << 19 };

static const char *const models[THREADS] = {
    "golden/cases/dense_gqa", "golden/cases/dense_gqa_w5", "golden/cases/dense_mha",
    "golden/cases/dense_mqa_tied", "golden/cases/mixtral_e3k3", "golden/cases/mixtral_e4k1",
    "golden/cases/mixtral_e5k2", "golden/cases/mixtral_e7k2_w5"};
static const char *const tokenizers[THREADS] = {
    "golden/chat/small.model", "golden/chat/tekken.json", "golden/tokenizers/hf_gpt2.json",
    "golden/tokenizers/hf_metaspace.json", "golden/tokenizers/hf_nfkc.json",
    "golden/tokenizers/hf_spm.json", "golden/tokenizers/spm_small.model",
    "golden/tokenizers/tekken_small.json"};

static const char *const traces[THREADS] = {
    "dense_gqa/t1.f32.npz", "dense_gqa_w5/t4.bf16.npz", "dense_mha/t12.f32.npz",
    "dense_mqa_tied/t11.f64.npz", "mixtral_e5k2/t1.f64.npz", "mixtral_e5k2/t13.f32.npz",
    "dense_gqa/t13.f64.npz", "dense_gqa_w5/t6.f32.npz"};

/* What one piece of work gave, in order. */
typedef struct {
    size_t        bytes;
    unsigned char byte[RESULT];
    mr_err        err;
} result;

static void add(result *r, const void *data, size_t bytes) {
    if (r->bytes + bytes > RESULT) mr_fail(&r->err, MR_BAD, "the result of the test is too long");
    else {
        memcpy(r->byte + r->bytes, data, bytes);
        r->bytes += bytes;
    }
}

/* ---- the work: cmocka's checks are for the main thread, so failures go to r->err ------------- */

static mr_status start(const mr_model *m, bool train, mr_run **run, mr_err *err) {
    const idx capacity = 32;
    const mr_run_options o = {.precision = train ? MR_F64_RUN : MR_F32_RUN, .n_seqs = 1,
                              .capacity = &capacity, .max_tokens = 4, .train = train};
    return mr_run_open(m, &o, run, err);
}

/* Greedy tokens and the logits they were chosen from. */
static void generate(const mr_model *m, result *r) {
    double logits[512];
    const int32_t prompt[] = {1, 5, 3, 7};
    int32_t next = 0;
    idx n = 4;
    mr_run *run = NULL;
    if (m->config.vocab_size > 512 || start(m, false, &run, &r->err)) return;
    for (int i = 0; i < STEPS; i++, n = 1) {
        if (mr_run_forward(run, i == 0 ? prompt : &next, &n, &r->err)) break;
        mr_run_logits(run, mr_run_rows(run) - 1, logits);
        next = mr_argmax(logits, m->config.vocab_size);
        add(r, logits, (size_t)m->config.vocab_size * sizeof *logits);
        add(r, &next, sizeof next);
    }
    mr_run_close(run);
}

/* The gradient of one probability by every parameter. */
static void differentiate(const mr_model *m, result *r) {
    const int32_t tokens[] = {1, 5, 3, 7};
    const idx n = 4, count = mr_params_count(m);
    mr_run *run = NULL;
    mr_model gradients = {0};
    double *g = mr_alloc(count, sizeof *g, &r->err);
    if (g != NULL && mr_params_like(&gradients, m, MR_F64, g, &r->err) == MR_OK &&
        start(m, true, &run, &r->err) == MR_OK &&
        mr_run_forward(run, tokens, &n, &r->err) == MR_OK) {
        mr_run_log_probability_backward(run, 2, tokens[3], 1);
        if (mr_run_backward(run, &gradients, &r->err) == MR_OK)
            add(r, g, (size_t)count * sizeof *g);
    }
    mr_run_close(run);
    mr_params_free(&gradients);
    mr_free(g);
}

static const char text[] =
    "Hello, w\xC3\xB6rld! 123  the quick\nbrown fox \xE4\xBD\xA0\xE5\xA5\xBD";

static void speak(const mr_tokenizer *t, result *r) {
    mr_ids ids = {0};
    mr_text back = {0};
    mr_stream stream = {0};
    if (mr_tokenizer_encode(t, text, (idx)sizeof text - 1, &ids, &r->err) == MR_OK &&
        mr_tokenizer_decode(t, ids.id, ids.count, &back, &r->err) == MR_OK) {
        for (idx i = 0; i < ids.count; i++)
            mr_tokenizer_stream(t, &stream, ids.id[i], &back, &r->err);
        mr_tokenizer_stream_end(t, &stream, &back, &r->err);
        add(r, ids.id, (size_t)ids.count * sizeof *ids.id);
        add(r, back.byte, (size_t)back.count);
    }
    mr_ids_free(&ids);
    mr_text_free(&back);
}

/* Writes a trace under a name that all threads share, and reads another. */
static void file_away(int k, result *r) {
    const double x[3] = {k, 2, 3};
    const mr_tensor t = {"x", MR_F64, 1, {3}, x};
    char path[1100], other[256];
    mr_trace_writer *w = NULL;
    mr_trace *trace = NULL;
    double loaded[1024];
    snprintf(path, sizeof path, "%s/shared.npz", scratch_folder);
    snprintf(other, sizeof other, "golden/cases/%s", traces[k]);
    if (mr_trace_create(path, 1, &w, &r->err) == MR_OK &&
        mr_trace_add(w, &t, &r->err) == MR_OK) mr_trace_finish(w, "{}", &r->err);
    else mr_trace_abandon(w);
    if (mr_trace_open(other, &trace, &r->err)) return;
    for (idx i = 0; i < mr_trace_count(trace); i++) {
        const mr_tensor *v = mr_trace_tensor(trace, i);
        const idx count = mr_count(v->rank, v->dim);
        if (count <= 1024 && mr_trace_read(trace, i, loaded, &r->err) == MR_OK)
            add(r, loaded, (size_t)count * sizeof *loaded);
    }
    mr_trace_close(trace);
}

/* All of it with things of its own. */
static void own(int k, result *r) {
    mr_checkpoint c = {0};
    mr_tokenizer *t = NULL;
    if (mr_checkpoint_open(models[k], &c, &r->err) == MR_OK) {
        generate(&c.model, r);
        differentiate(&c.model, r);
    }
    if (mr_tokenizer_open(tokenizers[k], &t, &r->err) == MR_OK) speak(t, r);
    file_away(k, r);
    mr_tokenizer_close(t);
    mr_checkpoint_close(&c);
}

static mr_checkpoint one_model;
static mr_tokenizer *one_tokenizer;

/* The same model and tokenizer for all. */
static void shared(int k, result *r) {
    (void)k;
    generate(&one_model.model, r);
    differentiate(&one_model.model, r);
    speak(one_tokenizer, r);
}

/* ---- serial and together --------------------------------------------------------------------- */

typedef struct {
    void (*work)(int k, result *r);
    int     k;
    result  got;
} job;

static void *together(void *user) {
    job *j = user;
    mr_set_threads(1);   /* of this thread: eight pools on one machine would only wait */
    for (int i = 0; i < ROUNDS && j->got.err.code == MR_OK; i++) {
        j->got.bytes = 0;
        j->work(j->k, &j->got);
    }
    return NULL;
}

static void compare(void (*work)(int k, result *r)) {
    static result want[THREADS];
    static job    jobs[THREADS];
    pthread_t thread[THREADS];
    for (int k = 0; k < THREADS; k++) {
        want[k] = (result){0};
        work(k, &want[k]);
        if (want[k].err.code != MR_OK) fail_msg("%s", want[k].err.text);
        assert_true(want[k].bytes > 1000);
        jobs[k] = (job){.work = work, .k = k};
    }
    for (int k = 0; k < THREADS; k++)
        assert_int_equal(pthread_create(&thread[k], NULL, together, &jobs[k]), 0);
    for (int k = 0; k < THREADS; k++) assert_int_equal(pthread_join(thread[k], NULL), 0);
    for (int k = 0; k < THREADS; k++) {
        if (jobs[k].got.err.code != MR_OK) fail_msg("thread %d: %s", k, jobs[k].got.err.text);
        assert_int_equal(jobs[k].got.bytes, want[k].bytes);
        assert_memory_equal(jobs[k].got.byte, want[k].byte, want[k].bytes);
    }
}

static void test_own(void **state) {
    (void)state;
    compare(own);
    assert_int_equal(scratch_files(false), 1);   /* one trace, by whoever was last, and complete */
    result r = {0};
    mr_trace *trace;
    double x[3];
    assert_int_equal(mr_trace_open(scratch("shared.npz"), &trace, &r.err), MR_OK);
    assert_int_equal(mr_trace_read(trace, 0, x, &r.err), MR_OK);
    assert_true(x[1] == 2 && x[2] == 3);
    mr_trace_close(trace);
}

static void test_shared(void **state) {
    (void)state;
    mr_err err = {0};
    assert_int_equal(mr_checkpoint_open(models[6], &one_model, &err), MR_OK);
    for (int k = 0; k < THREADS; k++) {
        assert_int_equal(mr_tokenizer_open(tokenizers[k], &one_tokenizer, &err), MR_OK);
        compare(shared);
        mr_tokenizer_close(one_tokenizer);
    }
    mr_checkpoint_close(&one_model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own),
        cmocka_unit_test(test_shared),
    };
    return cmocka_run_group_tests_name("threads", tests, scratch_open, scratch_close);
}
