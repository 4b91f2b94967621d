/* The BLAS engine's attention, in blocks of queries, against the plain engine's rows: every rule of
 * the mask, packed sequences, old keys in a ring, what a tap sees, and derivatives. */
#include "tests/gradients.h"

enum { V = 11, MANY = 150, SHOWN = 70 };   /* blocks are of 64 */

static int32_t tokens[MANY];

static const struct { mr_window_rule rule; idx window; } masks[] = {
    {MR_WINDOW_SWA, 0},       {MR_WINDOW_SWA, 1},         {MR_WINDOW_SWA, 5},
    {MR_WINDOW_SWA, 70},      {MR_WINDOW_INCLUSIVE, 63},  {MR_WINDOW_LONGFORMER, 20}};

enum { MASKS = sizeof masks / sizeof *masks };

static mr_config config(int mask) {
    mr_config c = tiny_config();
    c.window_rule = masks[mask].rule, c.windows[0] = masks[mask].window;
    c.n_windows = masks[mask].window > 0;
    for (idx i = 0; i < MANY; i++) tokens[i] = (int32_t)((i * i * 37 + i * 11 + 5) % V);
    return c;
}

/* All logits, fed `chunk` tokens at a time. */
static void feed(const tiny *t, mr_engine engine, mr_precision precision, idx chunk,
                 double *logits) {
    const idx capacity = MANY;
    mr_run *run = tiny_run(t, &(mr_run_options){.engine = engine, .precision = precision,
                                                .n_seqs = 1, .capacity = &capacity,
                                                .max_tokens = chunk});
    for (idx at = 0, n; at < MANY; at += n) {
        n = MANY - at < chunk ? MANY - at : chunk;
        tiny_forward(run, tokens + at, &n);
        for (idx r = 0; r < n; r++) mr_run_logits(run, r, logits + (at + r) * V);
    }
    mr_run_close(run);
}

/* Chunks of 40 find their old keys in a ring that has turned; of 3, rows are taken one by one. */
static void chunks(void **state) {
    (void)state;
    const idx chunk[] = {MANY, 100, 40, 3};
    double want[MANY * V], got[MANY * V];
    if (!mr_engine_built(MR_BLAS_ENGINE)) return;
    for (int mask = 0; mask < MASKS; mask++)
        for (int i = 0; i < (masks[mask].rule == MR_WINDOW_LONGFORMER ? 1 : 4); i++)
            for (int bits = 0; bits < 2; bits++) {
                const mr_config c = config(mask);
                tiny t;
                tiny_open(&t, &c);
                feed(&t, MR_PLAIN_ENGINE, MR_F64_RUN, MANY, want);
                feed(&t, MR_BLAS_ENGINE, bits ? MR_F64_RUN : MR_F32_RUN, chunk[i], got);
                check_close("logits", want, got, MANY * V, bits ? EPS_F64 : EPS_F32, 1, 40);
                tiny_close(&t);
            }
}

/* Scores of thousands, of both signs: whichever of a row's is the largest, its key takes nearly all
 * the weight, and nothing overflows. A score of 10^4 may be 100 units of 10^4 eps off. */
static void far_apart(void **state) {
    (void)state;
    double want[MANY * V], got[MANY * V];
    if (!mr_engine_built(MR_BLAS_ENGINE)) return;
    for (int mask = 0; mask < MASKS; mask++) {
        const mr_config c = config(mask);
        tiny t;
        tiny_open(&t, &c);
        for (idx l = 0; l < c.n_layers; l++) {
            const mr_matrix *wq = &t.model.layers[l].wq;
            double *data = tiny_data(&t, wq);
            for (idx i = 0; i < wq->rows * wq->cols; i++) data[i] *= 1e4;
        }
        feed(&t, MR_PLAIN_ENGINE, MR_F64_RUN, MANY, want);
        feed(&t, MR_BLAS_ENGINE, MR_F64_RUN, masks[mask].window == 5 ? 40 : MANY, got);
        check_close("logits", want, got, MANY * V, EPS_F64, 1e4, 100);
        tiny_close(&t);
    }
}

/* Scores and probabilities of all pairs, the masked ones included. */
static void shown(void **state) {
    (void)state;
    static tiny_trace want, got;
    const char *names[] = {"layers.1.scores", "layers.1.probs", "layers.1.attention"};
    if (!mr_engine_built(MR_BLAS_ENGINE)) return;
    for (int mask = 0; mask < MASKS; mask++)
        for (int i = 0; i < 3; i++) {
            const mr_config c = config(mask);
            tiny t;
            tiny_open(&t, &c);
            want.name = got.name = names[i], want.n = got.n = 0;
            mr_run_options o = {.precision = MR_F64_RUN};
            tiny_logits(&t, o, tokens, SHOWN, NULL, &want);
            o.engine = MR_BLAS_ENGINE;
            tiny_logits(&t, o, tokens, SHOWN, NULL, &got);
            assert_true(want.n == got.n && want.n > 0);
            for (idx k = 0; k < want.n; k++) {
                const bool masked = isinf(want.values[k]);
                assert_true(masked == (isinf(got.values[k]) && got.values[k] < 0));
                if (masked) want.values[k] = got.values[k] = 0;
            }
            check_close(names[i], want.values, got.values, want.n, EPS_F64, 1, 40);
            tiny_close(&t);
        }
}

/* Gradients of all parameters, and what a tap sees of them. */
static void gradients(mr_engine engine, const mr_config *c, const idx *length, idx n_seqs,
                      tiny_trace *trace, double *out) {
    trainee t;
    mr_err err = {0};
    trace->n = 0;
    trainee_open(&t, c, MR_F64_RUN);
    mr_run_options o = {.precision = MR_F64_RUN, .engine = engine};
    if (trace->name != NULL) o.tap = tiny_tap, o.user = trace;
    mr_run *run = train_run(&t, o, length, n_seqs);
    tiny_forward(run, tokens, length);
    for (idx r = 0; r < mr_run_rows(run); r++)
        mr_run_log_probability_backward(run, r, tokens[(r + 3) % MANY], -0.01 - 1e-4 * (double)r);
    if (mr_run_backward(run, &t.gradients, &err)) fail_msg("%s", err.text);
    memcpy(out, t.slopes, (size_t)t.count * sizeof *out);
    mr_run_close(run);
    trainee_close(&t);
}

static void backward(void **state) {
    (void)state;
    static tiny_trace traced, seen;
    const idx length[][3] = {{MANY, 0, 0}, {64, 65, 3}, {7, 8, 9}, {SHOWN, 0, 0}};
    const char *names[] = {NULL, NULL, NULL, "grad.layers.0.scores"};
    if (!mr_engine_built(MR_BLAS_ENGINE)) return;
    for (int mask = 0; mask < MASKS; mask++)
        for (int i = 0; i < 4; i++) {
            const mr_config c = config(mask);
            const idx n = (idx)mr_config_sizes(&c).total;
            double *want = mr_alloc(2 * n, sizeof *want, NULL), *got = want + n, most = 0;
            traced.name = seen.name = names[i];
            gradients(MR_PLAIN_ENGINE, &c, length[i], 3, &traced, want);
            gradients(MR_BLAS_ENGINE, &c, length[i], 3, &seen, got);
            for (idx k = 0; k < n; k++) most = fmax(most, fabs(want[k]));
            assert_true(most > 0.01);
            check_close("gradients", want, got, n, EPS_F64, most, 200);
            assert_true(traced.n == seen.n && (traced.n > 0) == (names[i] != NULL));
            check_close("slopes", traced.values, seen.values, seen.n, EPS_F64, 1, 40);
            mr_free(want);
        }
}

/* A prompt of twice the length needs twice the memory, not four times. */
static void memory(void **state) {
    (void)state;
    if (!mr_engine_built(MR_BLAS_ENGINE)) return;
    for (int mask = 0; mask < MASKS; mask++)
        for (int train = 0; train < 2; train++) {
            const mr_config c = config(mask);
            tiny t;
            idx size[3];
            tiny_open(&t, &c);
            for (idx n = 0; n < 3; n++) {
                const idx capacity = 1000 * (n + 1);
                size[n] = mr_run_size(&t.model, &(mr_run_options){
                    .engine = MR_BLAS_ENGINE, .n_seqs = 1, .capacity = &capacity,
                    .max_tokens = capacity, .train = train});
            }
            const idx bend = (size[2] - size[1]) - (size[1] - size[0]);
            assert_true(bend <= size[0] / 100 && bend >= -size[0] / 100);
            tiny_close(&t);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(chunks), cmocka_unit_test(far_apart),
                                       cmocka_unit_test(shown), cmocka_unit_test(backward),
                                       cmocka_unit_test(memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
