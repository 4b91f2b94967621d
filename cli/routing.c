/* routing: which experts every token chose, and how even and how sticky the choices are. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

/* Picks of all layers and tokens, in the order of the logits. */
typedef struct {
    idx      L, T, E, K, fed;   /* fed: tokens of earlier calls */
    int32_t *experts;           /* [L,T,K] */
    double  *weights;           /* [L,T,K] */
} picks;

static bool tap(void *user, const mr_tensor *t) {
    picks *p = user;
    idx layer;
    char kind[32];
    if (sscanf(t->name, "layers.%9td.%31s", &layer, kind) != 2) return false;
    const bool experts = strcmp(kind, "router_experts") == 0,
               weights = strcmp(kind, "router_weights") == 0;
    if (t->data == NULL || !(experts || weights)) return experts || weights;
    const idx at = (layer * p->T + p->fed) * p->K, n = t->dim[0] * p->K;
    for (idx i = 0; i < n; i++) {
        if (experts) p->experts[at + i] = ((const int32_t *)t->data)[i];
        else
            p->weights[at + i] = t->dtype == MR_F64 ? ((const double *)t->data)[i]
                                                    : (double)((const float *)t->data)[i];
    }
    return true;
}

static mr_status each(void *user, mr_session *s, idx start, idx count, mr_err *err) {
    (void)s, (void)err;
    ((picks *)user)->fed = start + count;
    return MR_OK;
}

static bool intersect(const int32_t *a, const int32_t *b, idx K) {
    for (idx i = 0; i < K; i++)
        for (idx j = 0; j < K; j++)
            if (a[i] == b[j]) return true;
    return false;
}

/* (G1) share of each expert; (G2) how often the next token's first choice, or any choice, is the
 * same   Jiang et al. 2024, sec. 5 */
static json_t *layer_json(const picks *p, idx l) {
    const int32_t *experts = p->experts + l * p->T * p->K;
    json_t *share = json_array(), *tokens = json_array(), *weights = json_array();
    idx first = 0, any = 0;
    for (idx e = 0; e < p->E; e++) {
        idx n = 0;
        for (idx c = 0; c < p->T * p->K; c++) n += experts[c] == e;
        json_array_append_new(share, json_real((double)n / (double)(p->T * p->K)));
    }
    for (idx t = 0; t < p->T; t++) {
        const int32_t *now = experts + t * p->K;
        json_t *gates = json_array();
        for (idx k = 0; k < p->K; k++)
            json_array_append_new(gates, mr_json_real(p->weights[(l * p->T + t) * p->K + k]));
        json_array_append_new(tokens, mr_json_ids(now, p->K));
        json_array_append_new(weights, gates);
        if (t + 1 < p->T) {
            first += now[0] == now[p->K];
            any += intersect(now, now + p->K, p->K);
        }
    }
    const double pairs = p->T > 1 ? (double)(p->T - 1) : 1;
    return json_pack("{s:I,s:o,s:o,s:o,s:f,s:f}", "layer", (json_int_t)l, "experts", tokens,
                     "weights", weights, "proportion", share, "repeat_first", (double)first / pairs,
                     "repeat_any", (double)any / pairs);
}

/* 1 - C(E-K,K)/C(E,K): chance that two random sets of K experts meet */
static double random_any(idx E, idx K) {
    double apart = 1;
    for (idx i = 0; i < K; i++) apart *= E - K - i > 0 ? (double)(E - K - i) / (double)(E - i) : 0;
    return 1 - apart;
}

static void print_text(const mr_session *s, const picks *p, const json_t *layers) {
    for (idx l = 0; l < p->L; l++) {
        const json_t *layer = json_array_get(layers, (size_t)l),
                     *share = json_object_get(layer, "proportion");
        printf("layer %td  token: experts (weights)\n", l);
        for (idx t = 0; t < p->T; t++) {
            printf("  %6ld:", (long)s->ids.id[t]);
            for (idx k = 0; k < p->K; k++)
                printf("  %ld (%.4f)", (long)p->experts[(l * p->T + t) * p->K + k],
                       p->weights[(l * p->T + t) * p->K + k]);
            putchar('\n');
        }
        printf("  share of each expert:");
        for (idx e = 0; e < p->E; e++)
            printf(" %.3f", json_real_value(json_array_get(share, (size_t)e)));
        printf("\n  next token repeats the first choice %.3f (random %.3f), any choice %.3f "
               "(random %.3f)\n",
               json_real_value(json_object_get(layer, "repeat_first")), 1 / (double)p->E,
               json_real_value(json_object_get(layer, "repeat_any")), random_any(p->E, p->K));
    }
}

static mr_status route(const mr_args *args, mr_session *s, picks *p, mr_err *err) {
    int64_t chunk = s->ids.count;
    if (mr_value_int("--chunk", args->chunk, 1, INT32_MAX, &chunk, err) ||
        mr_session_run(s, 0, (idx)chunk, true, tap, p, err) ||
        mr_session_feed(s, 0, (idx)chunk, each, p, err))
        return err->code;
    json_t *layers = json_array();
    for (idx l = 0; l < p->L; l++) json_array_append_new(layers, layer_json(p, l));
    if (args->json)
        return mr_print_json(json_pack("{s:o,s:o,s:f,s:f}", "tokens",
                                       mr_json_ids(s->ids.id, s->ids.count), "layers", layers,
                                       "random_first", 1 / (double)p->E, "random_any",
                                       random_any(p->E, p->K)),
                             err);
    print_text(s, p, layers);
    json_decref(layers);
    return MR_OK;
}

mr_status mr_cmd_routing(const mr_args *args, mr_err *err) {
    mr_session s = {0};
    if (mr_session_open(args, args->file, &s, err)) return err->code;
    const mr_config *c = &s.checkpoint.model.config;
    picks p = {.L = c->n_layers, .T = s.ids.count, .E = c->n_experts, .K = c->n_experts_per_tok};
    if (p.E == 0) mr_fail(err, MR_BAD, "%s: a dense model has no router", args->model);
    else {
        p.experts = mr_alloc(p.L * p.T * p.K, sizeof *p.experts, err);
        p.weights = mr_alloc(p.L * p.T * p.K, sizeof *p.weights, err);
        if (err->code == MR_OK) route(args, &s, &p, err);
    }
    mr_free(p.experts);
    mr_free(p.weights);
    mr_session_close(&s);
    return err->code;
}
