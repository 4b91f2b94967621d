/* The feed-forward half of a verification: SwiGLU, or the router's choice and its experts. */
#include "golden/replay_state.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ref/half.h"

/* silu(w1 x) * w3 x and w2 of it, for n rows; shown: a dense layer's steps have names */
static void block(mr_walk *w, idx l, const mr_ffn *f, mr_bounded y, mr_bounded x, idx n,
                  bool shown) {
    const idx hidden[] = {n, w->c->hidden_dim};
    mr_bound_linear(w->w1, x, &f->w1, n, w->a, w->room);
    if (shown) mr_replay_step(w, l, "w1", w->w1, 2, hidden);
    mr_bound_linear(w->w3, x, &f->w3, n, w->a, w->room);
    if (shown) mr_replay_step(w, l, "w3", w->w3, 2, hidden);
    const bool swapped = w->fault->swapped_gate_up;
    mr_bound_swiglu(w->act, swapped ? w->w3 : w->w1, swapped ? w->w1 : w->w3, n * hidden[1], w->a);
    if (shown) mr_replay_step(w, l, "act", w->act, 2, hidden);
    mr_bound_linear(y, w->act, &f->w2, n, w->a, w->room);
}

/* Is the port's choice for one token a largest-K set, as far as the errors of the logits can tell?
 * *margin: by how much a skipped logit exceeds a chosen one at most, beyond those errors. */
static bool allowed(const int32_t *chosen, mr_bounded z, idx E, idx K, double unit,
                    double *margin) {
    *margin = 0;
    for (idx k = 0; k < K; k++) {
        if (chosen[k] < 0 || chosen[k] >= E) return false;
        for (idx j = 0; j < k; j++)
            if (chosen[j] == chosen[k]) return false;
    }
    bool good = true;
    for (int32_t e = 0; e < E; e++) {
        bool taken = false;
        for (idx k = 0; k < K; k++) taken = taken || chosen[k] == e;
        for (idx k = 0; k < K && !taken; k++) {
            const idx c = chosen[k];
            /* probabilities that round to the same number are a tie as well */
            const double slack = z.e[e] + z.e[c] + unit * (4 + fabs(z.v[e]) + fabs(z.v[c]));
            *margin = fmax(*margin, z.v[e] - z.v[c]);
            good = good && z.v[e] - z.v[c] <= slack;
        }
    }
    return good;
}

/* Could rounding of the logits have chosen otherwise, and nobody recorded what was chosen? Then
 * nothing is known of the row until the next tensor that the port recorded. */
static bool unknown_choice(const mr_walk *w, idx t) {
    const idx E = w->c->n_experts, K = w->c->n_experts_per_tok;
    const mr_bounded z = mr_bounded_at(w->logits, t * E);
    for (int32_t e = 0; e < E && !w->choice_known; e++) {
        bool taken = false;
        for (idx k = 0; k < K; k++) taken = taken || w->experts[t * K + k] == e;
        for (idx k = 0; k < K && !taken; k++) {
            const idx c = w->experts[t * K + k];
            const double slack = z.e[e] + z.e[c] + w->a->inside * (4 + fabs(z.v[e]) + fabs(z.v[c]));
            if (z.v[c] - z.v[e] <= slack) return true;
        }
    }
    return false;
}

/* The logits as the choice sees them: of another element type, or without the last experts. */
static void spoil_logits(mr_walk *w) {
    const idx E = w->c->n_experts, n = w->T * E, tile = w->fault->expert_tile;
    const bool wide = w->a->storage == MR_STORE_WIDE;
    for (idx i = 0; tile > 0 && i < n; i++)
        if (i % E >= E / tile * tile) w->logits.v[i] = -1e30;
    if (!w->fault->misread_router) return;
    uint16_t *half = mr_alloc(2 * n, sizeof *half, w->err);
    for (idx i = 0; half != NULL && i < n; i++) {
        const float z = (float)w->logits.v[i];
        if (wide) memcpy(half + 2 * i, &z, sizeof z);
        else half[i] = half[n + i] = w->a->storage == MR_STORE_BF16 ? mr_double_to_bf16((double)z)
                                                                    : mr_double_to_half((double)z);
    }
    for (idx i = 0; half != NULL && i < n; i++) {
        float z;
        memcpy(&z, half + 2 * i, sizeof z);
        w->logits.v[i] = wide ? mr_bf16_to_double(half[i]) : (double)z;
    }
    mr_free(half);
}

/* The experts that the logits choose, or the port's own when it recorded them and may. */
static void choose(mr_walk *w, idx l) {
    const idx E = w->c->n_experts, K = w->c->n_experts_per_tok, T = w->T, dim[] = {T, K};
    double *weights = w->gates.v;
    mr_finding f;
    mr_router_f64(w->experts, weights, w->logits.v, T, E, K, MR_TOPK_SOFTMAX);
    w->choice_known = mr_replay_begin(w, l, "router_experts", 2, dim, &f);
    if (!w->choice_known) return;
    f.elements = T * K;
    f.worst = -1;
    for (idx t = 0; t < T; t++) {
        int32_t port[64];
        double margin;
        bool same = true;
        for (idx k = 0; k < K; k++) {
            port[k] = (int32_t)w->recorded[t * K + k];
            same = same && port[k] == w->experts[t * K + k];
        }
        const double unit = w->fault->probs_bf16 ? 0x1p-8 : w->a->inside;
        const bool good = allowed(port, mr_bounded_at(w->logits, t * E), E, K, unit, &margin);
        if (!same && w->watch != NULL)
            w->watch->choice(w->watch->user, f.slot, t, port, w->experts + t * K, margin, good);
        if (!good) {
            f.beyond += K;
            f.ratio = f.likely = (double)INFINITY;
            if (f.note[0] == '\0')
                snprintf(f.note, sizeof f.note,
                         "token %td chose %ld, expected %ld first; margin %.3g", t, (long)port[0],
                         (long)w->experts[t * K], margin);
            continue;   /* an impossible choice is not followed */
        }
        if (!same && f.note[0] == '\0') {
            f.verdict = MR_EXPLAINED;
            snprintf(f.note, sizeof f.note, "token %td chose otherwise within the margin %.3g", t,
                     margin);
        }
        memcpy(w->experts + t * K, port, (size_t)K * sizeof *port);
    }
    if (f.beyond > 0) f.verdict = MR_FAULT;
    mr_replay_end(w, &f);
}

/* x / sum of x */
static void divide(mr_bounded x, idx n, const mr_arithmetic *a) {
    double sum = 0, e = 0, s = 0;
    for (idx i = 0; i < n; i++) sum += x.v[i], e += x.e[i], s += x.s[i];
    for (idx i = 0; i < n; i++) {
        const double own = ((double)n + 1) * a->sum + a->inside;
        x.v[i] /= sum;
        x.e[i] = x.e[i] / sum + x.v[i] * (e / sum + own);
        x.s[i] = x.s[i] / sum + x.v[i] * (s / sum + own);
    }
}

/* Gate weights of the chosen: softmax over their logits */
static void weigh(mr_walk *w, idx l) {
    const idx E = w->c->n_experts, K = w->c->n_experts_per_tok, dim[] = {w->T, K};
    double v[64], e[64], s[64], all_v[1024], all_e[1024], all_s[1024];
    const mr_bounded chosen = {v, e, s}, all = {all_v, all_e, all_s};
    for (idx t = 0; t < w->T; t++) {
        const mr_bounded z = mr_bounded_at(w->logits, t * E), g = mr_bounded_at(w->gates, t * K);
        const bool first = w->fault->raw_gates || w->fault->probs_bf16;
        if (first) mr_bound_softmax(all, z, E, w->a);
        if (w->fault->probs_bf16) mr_walk_round(all, E, MR_STORE_BF16);
        for (idx k = 0; k < K; k++) {
            const idx from = w->experts[t * K + k];
            const mr_bounded source = first ? all : z;
            v[k] = source.v[from], e[k] = source.e[from], s[k] = source.s[from];
        }
        if (w->fault->probs_bf16) divide(chosen, K, w->a);
        else if (!first) mr_bound_softmax(chosen, chosen, K, w->a);
        if (w->fault->gates_twice) mr_bound_softmax(chosen, chosen, K, w->a);
        for (idx k = 0; k < K; k++) {
            g.v[k] = v[k], g.e[k] = 2 * e[k], g.s[k] = 2 * s[k];
        }
    }
    mr_replay_step(w, l, "router_weights", w->gates, 2, dim);
    for (idx i = 0; w->fault->unit_gates && i < w->T * K; i++)
        w->gates.v[i] = 1, w->gates.e[i] = w->gates.s[i] = 0;
}

/* Every expert's rows, in token order, then the weighted sum. */
static void experts(mr_walk *w, idx l, mr_bounded y) {
    const mr_config *c = w->c;
    const idx E = c->n_experts, K = c->n_experts_per_tok, d = c->dim;
    const idx share = w->fault->even_bins ? (w->T * K + E - 1) / E : w->T * K;
    mr_dispatch_sort(w->copy, w->put, w->bin, w->experts, w->T, E, K, 0, MR_CAPACITY_TOKENS);
    for (idx e = 0; e < E; e++) {
        const idx start = w->bin[e], all = w->bin[e + 1] - start, n = all < share ? all : share;
        const mr_bounded out = mr_bounded_at(w->expert_out, start * d);
        char name[48];
        for (idx i = 0; i < n; i++) {
            const idx wrap = w->fault->expert_wrap, row = w->copy[start + i] / K * d;
            const mr_bounded from = mr_bounded_at(w->normed, wrap > 0 ? row % wrap : row);
            memcpy(w->expert_in.v + i * d, from.v, (size_t)d * sizeof(double));
            memcpy(w->expert_in.e + i * d, from.e, (size_t)d * sizeof(double));
            memcpy(w->expert_in.s + i * d, from.s, (size_t)d * sizeof(double));
        }
        const idx half = (E + 1) / 2, own = w->fault->rank_offset && e >= half ? e - half : e;
        if (n > 0) block(w, l, &w->model->layers[l].ffn[own], out, w->expert_in, n, false);
        snprintf(name, sizeof name, "experts.%td.out", e);
        if (n > 0) mr_replay_step(w, l, name, out, 2, (const idx[]){n, d});
    }
    for (idx t = 0; t < w->T; t++) {
        mr_bounded rows[64];
        idx kept = 0;
        for (idx k = 0; k < K; k++) {   /* lost copies take no part */
            const idx put = w->put[t * K + k], e = w->experts[t * K + k];
            if (put - w->bin[e] >= share) continue;
            rows[kept] = mr_bounded_at(w->expert_out, put * d);
            w->kept.v[kept] = w->gates.v[t * K + k];
            w->kept.e[kept] = w->gates.e[t * K + k];
            w->kept.s[kept++] = w->gates.s[t * K + k];
        }
        mr_bound_combine(mr_bounded_at(y, t * d), w->kept, rows, kept, d, w->a);
        const bool unknown = unknown_choice(w, t);
        for (idx i = t * d; unknown && i < t * d + d; i++) y.e[i] = y.s[i] = 1e30;
    }
}

void mr_walk_ffn(mr_walk *w, idx l) {
    const mr_config *c = w->c;
    const mr_layer *layer = &w->model->layers[l];
    const idx T = w->T, d = c->dim, row[] = {T, d}, router[] = {T, c->n_experts};
    mr_walk_norm(w, &layer->ffn_norm);
    mr_replay_step(w, l, "ffn_norm", w->normed, 2, row);
    if (c->n_experts == 0) block(w, l, layer->ffn, w->out_row, w->normed, T, true);
    else {
        mr_bound_linear(w->logits, w->normed, &layer->gate, T, w->a, w->room);
        if (w->fault->router_bf16) mr_walk_round(w->logits, T * c->n_experts, MR_STORE_BF16);
        mr_replay_step(w, l, "router_logits", w->logits, 2, router);
        spoil_logits(w);
        choose(w, l);
        weigh(w, l);
        experts(w, l, w->out_row);
    }
    mr_replay_step(w, l, "ffn_out", w->out_row, 2, row);
    mr_walk_residual(w, l + 1 < c->n_layers ? &layer[1].attention_norm : &w->model->norm);
    mr_replay_step(w, l, "h", w->x, 2, row);
}
