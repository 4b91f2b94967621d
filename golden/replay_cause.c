/* Hypotheses as changes of the reference, tried one by one. */
#include "golden/replay_cause.h"

#include <math.h>
#include <string.h>

#include "golden/replay_cause_list.h"

/* Which operations can have changed the first faulty tensor. */
static const char *suspects(const char *tensor) {
    static const struct {
        const char *name, *letters;
    } table[] = {
        {"tok_embeddings", "w"},     {"norm", "nhw"},        {"q", "nw"},
        {"k", "nkw"},                {"v", "nw"},            {"q_rope", "nrw"},
        {"k_rope", "nkrw"},          {"scores", "nkraw"},    {"probs", "nkraw"},
        {"attention", "nkraw"},      {"attention_out", "nkraow"}, {"h_mid", "nkraohw"},
        {"w1", "nfhw"},              {"w3", "nfhw"},         {"act", "nfhw"},
        {"router_logits", "nchw"},   {"router_experts", "nchgw"}, {"router_weights", "nchgw"},
        {"out", "nhcfgw"},           {"ffn_out", "nhcfgw"},  {"logits", "nhlw"},
    };
    const char *dot = strrchr(tensor, '.'), *name = dot != NULL ? dot + 1 : tensor;
    const size_t length = strlen(name);
    if (length > 5 && strcmp(name + length - 5, "_norm") == 0) return "nhw";
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(name, table[i].name) == 0) return table[i].letters;
    return "nkraohfcglw";
}

static double fit_of(const mr_verification *v) {
    double worst = 0;
    for (idx i = 0; i < v->count; i++) worst = fmax(worst, v->list[i].likely);
    return worst;
}

/* A hypothesis whose own bounds are wider than the reference's and than half the error explains
 * nothing: it allows everything. */
static bool vague(const mr_verification *v, const mr_finding *first) {
    if (first->width + first->distance == 0) return false;   /* a shape or a choice was wrong */
    for (idx i = 0; i < v->count; i++)
        if (strcmp(v->list[i].name, first->name) == 0)
            return !(v->list[i].width <= 2 * first->width ||
                     v->list[i].width <= first->distance / 2);
    return true;
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
    mr_hypotheses *h = mr_alloc(1, sizeof *h, err);
    memset(out, 0, sizeof *out);
    if (h == NULL) return MR_BAD;
    mr_suppose_rest(h, model, meta);
    mr_suppose_rotations(h, model, meta);
    mr_suppose_attention(h, &model->config, meta);
    mr_suppose_masks(h, &model->config, meta);
    const char *letters = found->first >= 0 ? suspects(found->list[found->first].name) : "";
    mr_status status = MR_OK;
    for (idx i = 0; i < h->count && status == MR_OK; i++) {
        if (strchr(letters, h->acts[i]) == NULL) continue;
        mr_verification v;
        mr_err one = {0};
        const mr_status s = mr_verify(model, meta, port, a, &h->list[i], &v, &one);
        out->tried++;
        if (s == MR_OK && !vague(&v, &found->list[found->first]))
            insert(out, &h->list[i], fit_of(&v));
        else if (s != MR_OK && s != MR_DISAGREE && s != MR_PROVES_NOTHING)
            status = mr_fail(err, s, "%s", one.text);
        mr_verification_free(&v);
    }
    while (out->count > 1 && out->fit[out->count - 1] > 10 * out->fit[0]) out->count--;
    out->harmless = out->count > 0 && out->proved[0].harmless;
    mr_free(h);
    return status;
}
