/* From packed rows of logits to losses and their gradient by the logits, with the functions that
 * training uses, against TRL and Hugging Face on padded batches (golden/losses/batches.json). */
#include "tests/losses_golden.h"

#include <math.h>

#include "ref/mr.h"

enum { V = 8, ROWS = 40, SEQS = 6 };

typedef struct {
    idx     n, n_seqs, length[SEQS];
    int32_t tokens[ROWS], targets[ROWS];
    uint8_t scored[ROWS];
} batch;

static void append(batch *b, const double *id, idx n, int scored) {
    for (idx t = 0; t < n; t++, b->n++) {
        b->tokens[b->n] = (int32_t)id[t];
        b->scored[b->n] = (uint8_t)scored;
    }
}

/* chosen answers of three pairs, then the rejected ones, cut at the end to max_length */
static void pack_pairs(batch *b, const json_t *root) {
    const idx most = (idx)golden(root, "preference/max_length", NULL)[0];
    const char *const sides[] = {"preference/chosen", "preference/rejected"};
    memset(b, 0, sizeof *b);
    for (int side = 0; side < 2; side++) {
        const double *p = golden(root, "preference/prompt/ids", NULL);
        const double *np = golden(root, "preference/prompt/length", NULL);
        const double *a = golden_at(root, sides[side], "ids", NULL);
        const double *na = golden_at(root, sides[side], "length", NULL);
        for (idx i = 0; i < 3; i++) {
            const idx n = (idx)(np[i] + na[i]), kept = n < most ? n : most, first = b->n;
            append(b, p, (idx)np[i], 0);
            append(b, a, (idx)na[i], 1);
            b->n = first + kept;
            b->length[b->n_seqs++] = kept;
            p += (idx)np[i];
            a += (idx)na[i];
        }
    }
    mr_next_tokens(b->targets, b->tokens, b->scored, b->length, b->n_seqs);
}

static void targets_are(const char *name, const double *want, const batch *b) {
    for (idx t = 0; t < b->n; t++)
        if (b->targets[t] != (int32_t)want[t])
            fail_msg("%s[%td]: want %g, got %d", name, t, want[t], b->targets[t]);
}

/* Sums of log-probabilities, and how many tokens they have. */
static void sums(double *sum, idx *count, const batch *b, const double *logits) {
    for (idx s = 0, row = 0; s < b->n_seqs; s++) {
        sum[s] = 0;
        count[s] = 0;
        for (const idx end = row + b->length[s]; row < end; row++) {
            if (b->targets[row] < 0) continue;
            sum[s] += mr_log_probability_f64(logits + row * V, V, b->targets[row]);
            count[s]++;
        }
    }
}

static void dpo_kind(const json_t *root, const char *name, const batch *b, const double *logits,
                     const double *sum, const idx *count) {
    mr_dpo_options options = {MR_DPO_SIGMOID, 0.5, 0.1, false};
    const double *ref = golden(root, "preference/ref_sums", NULL);
    double dz[ROWS * V] = {0}, d[SEQS];
    mr_dpo_result results[3];
    assert_true(mr_dpo_parse(name, &options.kind));
    for (idx i = 0; i < 3; i++) {
        const mr_dpo_pair pair = {sum[i], sum[i + 3], ref[i], ref[i + 3], count[i], count[i + 3]};
        results[i] = mr_dpo(&pair, &options);
        d[i] = results[i].d_chosen / 3;
        d[i + 3] = results[i].d_rejected / 3;
    }
    for (idx s = 0, row = 0; s < b->n_seqs; s++)
        for (const idx end = row + b->length[s]; row < end; row++)
            if (b->targets[row] >= 0)
                mr_log_probability_backward_f64(dz + row * V, logits + row * V, V, b->targets[row],
                                                d[s], MR_PLAIN_ENGINE);
    char path[64];
    snprintf(path, sizeof path, "preference/%s", name);
    const mr_dpo_metrics m = mr_dpo_summary(results, 3);
    const double got[] = {m.reward_chosen, m.reward_rejected, m.accuracy, m.margin};
    const double *want = golden_at(root, path, "logits_gradient", NULL);
    check_number(name, golden_at(root, path, "loss", NULL)[0], m.loss, 32);
    check_close(name, want, dz, b->n * V, EPS_F64, golden_size(want, b->n * V), 64);
    check_close("metrics", golden(root, "preference/metrics", NULL), got, 4, EPS_F64, 8, 16);
}

static void preference(void **state) {
    (void)state;
    json_t *root = golden_open("batches");
    const char *const kinds[] = {"sigmoid", "robust", "hinge", "ipo", "sigmoid_norm"};
    batch b;
    idx count[SEQS];
    double sum[SEQS];
    const double *logits = golden(root, "preference/logits", NULL);
    pack_pairs(&b, root);
    assert_true(b.n_seqs == SEQS && b.n <= ROWS);
    targets_are("preference", golden(root, "preference/targets", NULL), &b);
    sums(sum, count, &b, logits);
    check_each("sums", golden(root, "preference/sums", NULL), sum, SEQS, 32);
    for (int k = 0; k < 5; k++) dpo_kind(root, kinds[k], &b, logits, sum, count);
    json_decref(root);
}

static void read_sequences(batch *b, const json_t *root, const char *where, const double *prompt) {
    idx n;
    const double *id = golden_at(root, where, "sequences/ids", NULL);
    const double *length = golden_at(root, where, "sequences/length", &n);
    memset(b, 0, sizeof *b);
    for (idx s = 0; s < n; s++) {
        const idx asked = prompt != NULL ? (idx)prompt[s] : 0;
        append(b, id, asked, 0);
        append(b, id + asked, (idx)length[s] - asked, 1);
        b->length[b->n_seqs++] = (idx)length[s];
        id += (idx)length[s];
    }
}

/* Token mean over two micro-batches of 3 and 9 scored tokens, and one balance loss of each. */
static void supervised(void **state) {
    (void)state;
    json_t *root = golden_open("batches");
    batch b;
    double weight[ROWS], loss = 0, aux[2];
    const double *z = golden(root, "supervised/logits", NULL);
    read_sequences(&b, root, "supervised", golden(root, "supervised/prompt", NULL));
    mr_next_tokens(b.targets, b.tokens, b.scored, b.length, b.n_seqs);
    targets_are("supervised", golden(root, "supervised/targets", NULL), &b);
    mr_loss_weights(weight, b.targets, b.length, b.n_seqs, NULL, MR_LOSS_TOKEN);
    for (idx t = 0; t < b.n; t++)
        if (b.targets[t] >= 0)
            loss -= weight[t] * mr_log_probability_f64(z + t * V, V, b.targets[t]);
    check_number("loss", golden(root, "supervised/loss", NULL)[0], loss, 32);
    const idx split = b.length[0] + b.length[1];
    for (idx m = 0; m < 2; m++) {
        double logits[ROWS * 4], gate[ROWS * 2], chosen[4] = {0}, probability[4] = {0};
        int32_t experts[ROWS * 2];
        const idx first = m == 0 ? 0 : split, T = m == 0 ? split : b.n - split;
        mr_balance sum = {chosen, probability, 0};
        for (idx i = 0; i < T * 4; i++) logits[i] = z[(first + i / 4) * V + i % 4];
        mr_router_f64(experts, gate, logits, T, 4, 2, MR_TOPK_SOFTMAX);
        mr_balance_add_f64(&sum, logits, experts, NULL, T, 4, 2, 2);
        aux[m] = mr_balance_loss_f64(&sum, 4);
    }
    check_each("aux", golden(root, "supervised/aux", NULL), aux, 2, 32);
    check_number("total", golden(root, "supervised/total", NULL)[0],
                 loss + 0.01 * (aux[0] + aux[1]) / 2, 32);
    json_decref(root);
}

/* The row of the reward is Hugging Face's wherever padding is an id of its own. */
static void rewards(void **state) {
    (void)state;
    json_t *root = golden_open("batches");
    batch b;
    const double *rows = golden(root, "rewards/rows", NULL);
    const double *want = golden(root, "rewards/score", NULL);
    read_sequences(&b, root, "rewards", NULL);
    assert_true(b.n_seqs == 4);
    for (idx s = 0; s < b.n_seqs; s++)
        check_number("score", want[s], rows[mr_score_row(b.length, s)], 4);
    json_decref(root);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(preference), cmocka_unit_test(supervised), cmocka_unit_test(rewards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
