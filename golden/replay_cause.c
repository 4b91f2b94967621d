/* Hypotheses as changes of the reference, tried one by one. */
#include "golden/replay_cause.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Operations a hypothesis acts on first: letters n norm, r rotation, a attention, f feed-forward,
 * g gate weights, l logits. */
typedef struct {
    mr_fault list[160];
    char     acts[160];
    idx      count;
} hypotheses;

static mr_fault *add(hypotheses *h, const mr_config *config, char acts) {
    mr_fault *f = &h->list[h->count];
    memset(f, 0, sizeof *f);
    f->config = *config;
    h->acts[h->count++] = acts;
    return f;
}

static void add_window(hypotheses *h, const mr_config *c, idx window, mr_window_rule rule) {
    const idx now = c->n_windows > 0 ? c->windows[0] : 0;
    if (window == now && rule == c->window_rule) return;
    mr_fault *f = add(h, c, 'a');
    f->config.n_windows = window > 0;
    f->config.windows[0] = window;
    f->config.window_rule = rule;
    char is[40], was[40];
    snprintf(is, sizeof is, window > 0 ? "a sliding window of %td keys" : "no sliding window",
             window);
    snprintf(was, sizeof was, now > 0 ? "%td" : "none", now);
    snprintf(f->name, sizeof f->name, "%s instead of %s", is, was);
}

static void add_windows(hypotheses *h, const mr_config *c, idx T) {
    const idx now = c->n_windows > 0 ? c->windows[0] : 0;
    add_window(h, c, 0, MR_WINDOW_SWA);
    for (idx shift = -1; shift <= 1; shift++)
        if (now + shift > 0 && now > 0) add_window(h, c, now + shift, MR_WINDOW_SWA);
    if (now == 0)
        for (idx window = T - 1; window > 0 && window > T - 24; window--)
            add_window(h, c, window, MR_WINDOW_SWA);
}

static void add_rotary(hypotheses *h, const mr_config *c) {
    static const double thetas[] = {1e3, 1e4, 1e5, 5e5, 1e6, 1e7};
    for (size_t i = 0; i < sizeof thetas / sizeof *thetas; i++) {
        if (thetas[i] == c->rope_theta) continue;
        mr_fault *f = add(h, c, 'r');
        f->config.rope_theta = thetas[i];
        snprintf(f->name, sizeof f->name, "rope_theta %g instead of %g", thetas[i], c->rope_theta);
    }
    for (int shift = -8; shift <= 8; shift++) {
        if (shift == 0) continue;
        mr_fault *f = add(h, c, 'r');
        f->position_offset = shift;
        f->harmless = true;        /* scores only depend on differences */
        snprintf(f->name, sizeof f->name, "every rotary position shifted by %+d", shift);
    }
    mr_fault *f = add(h, c, 'r');
    f->other_pairs = true;
    snprintf(f->name, sizeof f->name, "rotates %s pairs, but the rows are %s",
             c->rope_layout == MR_HALF_SPLIT ? "interleaved" : "half-split",
             c->rope_layout == MR_HALF_SPLIT ? "half-split" : "interleaved");
}

static void add_attention(hypotheses *h, const mr_config *c) {
    mr_fault *f = add(h, c, 'a');
    f->tiled_heads = true;
    snprintf(f->name, sizeof f->name, "KV heads tiled (h mod G) instead of repeated (h / (H/G))");
    f = add(h, c, 'a');
    f->score_scale = 1 / sqrt((double)c->dim / (double)c->n_heads);
    snprintf(f->name, sizeof f->name, "scores scaled by (dim/heads)^-1/2 instead of head_dim^-1/2");
    f = add(h, c, 'a');
    f->score_scale = 1;
    snprintf(f->name, sizeof f->name, "scores not scaled");
}

static void add_norm(hypotheses *h, const mr_config *c) {
    static const double epsilons[] = {1e-5, 1e-6, 1e-8, 1e-12, 0};
    for (size_t i = 0; i < sizeof epsilons / sizeof *epsilons; i++) {
        if (epsilons[i] == c->norm_eps) continue;
        mr_fault *f = add(h, c, 'n');
        f->config.norm_eps = epsilons[i];
        snprintf(f->name, sizeof f->name, "norm epsilon %g instead of %g", epsilons[i],
                 c->norm_eps);
    }
}

static void add_rest(hypotheses *h, const mr_model *model, const mr_config *c) {
    mr_fault *f = add(h, c, 'f');
    f->swapped_gate_up = true;
    snprintf(f->name, sizeof f->name, "w1 (gate) and w3 (up) swapped");
    if (c->n_experts > 0) {
        f = add(h, c, 'g');
        f->raw_gates = true;
        snprintf(f->name, sizeof f->name, "gate weights not renormalised over the chosen experts");
        f = add(h, c, 'g');
        f->unit_gates = true;
        snprintf(f->name, sizeof f->name, "experts added without gate weights");
    }
    if (model->output.data != model->tok_embeddings.data) {
        f = add(h, c, 'l');
        f->embedding_head = true;
        snprintf(f->name, sizeof f->name, "output head replaced by the embedding table");
    }
}

/* Which operations can have changed the first faulty tensor. */
static const char *suspects(const char *tensor) {
    static const struct {
        const char *ending, *letters;
    } table[] = {
        {"norm", "n"},          {"q_rope", "r"},  {"k_rope", "r"},          {"scores", "a"},
        {"probs", "a"},         {"attention", "ar"}, {"attention_out", "arn"}, {"h_mid", "arn"},
        {"act", "f"},           {".out", "f"},    {"router_weights", "g"},  {"ffn_out", "fgn"},
        {"logits", "ln"},       {"q", "n"},       {"k", "n"},               {"v", "n"},
        {"w1", "fn"},           {"w3", "fn"},     {"router_logits", "n"},
    };
    const size_t length = strlen(tensor);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const size_t n = strlen(table[i].ending);
        if (n > length || strcmp(tensor + length - n, table[i].ending) != 0) continue;
        if (length == n || tensor[length - n] == '.' || tensor[length - n - 1] == '.' ||
            tensor[length - n] == '_' || strcmp(table[i].ending, "norm") == 0)
            return table[i].letters;
    }
    return "narfgl";
}

static double fit_of(const mr_verification *v) {
    double worst = 0;
    for (idx i = 0; i < v->count; i++) worst = fmax(worst, v->list[i].likely);
    return worst;
}

/* Keeps the list sorted by fit; the worst of a full list gives way. */
static void insert(mr_causes *out, const mr_fault *fault, double fit) {
    idx at = out->count < MR_MAX_CAUSES ? out->count++ : MR_MAX_CAUSES - 1;
    for (; at > 0 && out->fit[at - 1] > fit; at--) {
        out->fit[at] = out->fit[at - 1];
        out->proved[at] = out->proved[at - 1];
    }
    out->fit[at] = fit;
    out->proved[at] = *fault;
}

mr_status mr_find_causes(const mr_model *model, const mr_meta *meta, mr_trace *port,
                         const mr_arithmetic *a, const mr_verification *found, mr_causes *out,
                         mr_err *err) {
    hypotheses *h = mr_alloc(1, sizeof *h, err);
    memset(out, 0, sizeof *out);
    if (h == NULL) return MR_BAD;
    const mr_config *c = &model->config;
    add_norm(h, c);
    add_rotary(h, c);
    add_windows(h, c, meta->count);
    add_attention(h, c);
    add_rest(h, model, c);
    const char *letters = found->first >= 0 ? suspects(found->list[found->first].name) : "";
    mr_status status = MR_OK;
    for (idx i = 0; i < h->count && status == MR_OK; i++) {
        if (strchr(letters, h->acts[i]) == NULL) continue;
        mr_verification v;
        mr_err one = {0};
        const mr_status s = mr_verify(model, meta, port, a, &h->list[i], &v, &one);
        out->tried++;
        if (s == MR_OK) insert(out, &h->list[i], fit_of(&v));
        else if (s != MR_DISAGREE) status = mr_fail(err, s, "%s", one.text);
        mr_verification_free(&v);
    }
    while (out->count > 1 && out->fit[out->count - 1] > 10 * out->fit[0]) out->count--;
    mr_free(h);
    return status;
}
