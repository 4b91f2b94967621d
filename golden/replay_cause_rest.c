/* Hypotheses on norm, residual, feed-forward, experts, logits and weights. */
#include <math.h>

#include "golden/replay_cause_list.h"

#define NAME(f, ...) snprintf((f)->name, sizeof (f)->name, __VA_ARGS__)

static const int64_t wraps[] = {256, 65536, (int64_t)1 << 31, (int64_t)1 << 32};

static void norms(mr_hypotheses *h, const mr_config *c, const mr_meta *m) {
    static const double epsilons[] = {1e-5, 1e-6, 1e-8, 1e-12, 0};
    mr_fault *f;
    for (size_t i = 0; i < sizeof epsilons / sizeof *epsilons; i++) {
        if (epsilons[i] == c->norm_eps) continue;
        f = mr_suppose(h, c, 'n');
        f->config.norm_eps = epsilons[i];
        NAME(f, "norm epsilon %g instead of %g", epsilons[i], c->norm_eps);
    }
    f = mr_suppose(h, c, 'n');
    f->epsilon_outside = true;
    NAME(f, "norm epsilon added to the root, not inside it");
    f = mr_suppose(h, c, 'n');
    f->layer_norm = true;
    NAME(f, "LayerNorm instead of RMSNorm: the mean is subtracted");
    f = mr_suppose(h, c, 'n');
    f->norm_twice = true;
    NAME(f, "norm applied twice");
    f = mr_suppose(h, c, 'n');
    f->unit_offset = true;
    NAME(f, "gain 1 + g instead of g in the norm");
    f = mr_suppose(h, c, 'h');
    f->residual_is_gain = true;
    NAME(f, "the next norm's gain is added instead of the residual");
    for (int i = 0; i < 4 && wraps[i] < m->count * c->dim; i++) {
        f = mr_suppose(h, c, 'n');
        f->norm_wrap = (idx)wraps[i];
        NAME(f, "index of norm rows wraps at %td elements", (idx)wraps[i]);
        if (c->n_experts == 0) continue;
        f = mr_suppose(h, c, 'f');
        f->expert_wrap = (idx)wraps[i];
        NAME(f, "index of expert rows wraps at %td elements", (idx)wraps[i]);
    }
}

static void gates(mr_hypotheses *h, const mr_config *c) {
    mr_fault *f = mr_suppose(h, c, 'g');
    f->raw_gates = true;
    NAME(f, "gate weights not renormalised over the chosen experts");
    f = mr_suppose(h, c, 'g');
    f->unit_gates = true;
    NAME(f, "experts added without gate weights");
    f = mr_suppose(h, c, 'g');
    f->gates_twice = true;
    NAME(f, "softmax over the gate weights twice");
    f = mr_suppose(h, c, 'g');
    f->probs_bf16 = true;
    NAME(f, "router probabilities rounded to bf16 before the choice");
}

static void experts(mr_hypotheses *h, const mr_config *c) {
    const idx E = c->n_experts;
    mr_fault *f = mr_suppose(h, c, 'c');
    f->router_bf16 = true;
    NAME(f, "router logits rounded to bf16");
    f = mr_suppose(h, c, 'c');
    f->misread_router = true;
    NAME(f, "router logits read as another element type");
    f = mr_suppose(h, c, 'f');
    f->rank_offset = true;
    NAME(f, "experts of the second rank are those of the first");
    f = mr_suppose(h, c, 'f');
    f->even_bins = true;
    NAME(f, "bins of even size: copies past an expert's share are lost");
    for (idx tile = 2; tile < E; tile *= 2) {
        if (E % tile == 0 || E / tile * tile < c->n_experts_per_tok) continue;
        f = mr_suppose(h, c, 'c');
        f->expert_tile = tile;
        NAME(f, "experts past the last full tile of %td are never chosen", tile);
    }
    gates(h, c);
}

static void logits(mr_hypotheses *h, const mr_model *model) {
    const mr_config *c = &model->config;
    mr_fault *f;
    for (int type = MR_STORE_BF16; type <= MR_STORE_F16; type++) {
        f = mr_suppose(h, c, 'l');
        f->logits = (mr_storage)type;
        NAME(f, "logits rounded to %s", type == MR_STORE_BF16 ? "bf16" : "f16");
    }
    if (model->output.data == model->tok_embeddings.data || c->n_labels > 0) return;
    f = mr_suppose(h, c, 'l');
    f->embedding_head = true;
    NAME(f, "output head replaced by the embedding table");
}

void mr_suppose_rest(mr_hypotheses *h, const mr_model *model, const mr_meta *m) {
    const mr_config *c = &model->config;
    const mr_dtype type = model->tok_embeddings.dtype;
    mr_fault *f = mr_suppose(h, c, 'f');
    f->swapped_gate_up = true;
    NAME(f, "w1 (gate) and w3 (up) swapped");
    norms(h, c, m);
    if (c->n_experts > 0) experts(h, c);
    logits(h, model);
    if (type != MR_BF16 && type != MR_F16) return;
    f = mr_suppose(h, c, 'w');
    f->other_half = true;
    NAME(f, "%s weights read as %s", type == MR_BF16 ? "bf16" : "f16",
         type == MR_BF16 ? "f16" : "bf16");
}
