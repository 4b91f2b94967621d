/* compare: gradients and losses, verified where they can be and measured where not. */
#include "cli/compare.h"

#include <stdio.h>
#include <string.h>

bool mr_is_gradient(const char *name) {
    return strncmp(name, "grad.", 5) == 0 || strncmp(name, "loss.", 5) == 0;
}

mr_status mr_compare_backward(mr_comparison *c, const mr_watch *watch, mr_err *err) {
    mr_verification *v = &c->verification;
    const mr_model *model = &c->model.model;
    mr_status status = mr_verify_backward(model, &c->meta, c->port, &c->arithmetic, watch, v, err);
    if (err->code == MR_OK && !c->bare) {
        mr_measure_gradients(model, &c->meta, c->port, &c->gradients, err);
        if (err->code == MR_OK)
            status = mr_judge_gradients(&c->gradients, c->port, &c->arithmetic, v, err);
    }
    if (err->code != MR_OK) return err->code;
    const bool near = c->gradients.count > 0 && c->gradients.beyond == 0;
    const bool judged = v->count > v->nothing || near;
    if (status == MR_DISAGREE || v->faults > 0) c->status = MR_DISAGREE;
    else if (judged && (c->status == MR_MISSING || c->status == MR_PROVES_NOTHING))
        c->status = MR_OK;
    return MR_OK;
}

const mr_gradient *mr_gradient_of(const mr_comparison *c, idx at) {
    for (idx i = 0; i < c->gradients.count; i++)
        if (c->gradients.list[i].at == at) return &c->gradients.list[i];
    return NULL;
}

void mr_say_gradients(const mr_comparison *c) {
    const mr_gradients *g = &c->gradients;
    char text[300];
    double worst = 0;
    idx judged = 0;
    for (idx i = 0; i < c->verification.count; i++)
        judged += mr_is_gradient(c->verification.list[i].name);
    for (idx i = 0; i < g->count; i++)
        if (!(g->list[i].distance.relative <= worst)) worst = g->list[i].distance.relative;
    if (g->count == 0) return;
    snprintf(text, sizeof text, "%td gradients and losses: %td verified from their own inputs; all "
             "measured against the reference's in f64: at most %.2g of the norm away, tolerance "
             "%.2g%s", g->count, judged, worst, mr_gradient_tolerance(&c->arithmetic),
             g->otherwise ? ", without verdict: router_experts are not recorded, or not the "
                            "reference's" : "");
    mr_report_line("gradients", text);
}

static const struct {
    const char *name, *tag, *what;
} operations[] = {
    {"logits", "X1", "derivative of the loss by the logits"},
    {"norm", "L1'", "output matrix transposed, times the derivative of the logits"},
    {"h", "N1'", "RMSNorm backward, plus what the residual hands on"},
    {"tok_embeddings", "N1'", "RMSNorm backward, plus what the residual hands on"},
    {"ffn_out", "B2'", "derivative handed on by the residual addition"},
    {"act", "L1'", "w2 transposed, times the derivative of the block's output"},
    {"w1", "F1'", "derivative of silu(w1 x) * w3 x by w1 x"},
    {"w3", "F1'", "derivative of silu(w1 x) * w3 x by w3 x"},
    {"ffn_norm", "B2'", "derivative of the feed-forward block by its input"},
    {"h_mid", "N1'", "RMSNorm backward, plus what the residual hands on"},
    {"attention_out", "B1'", "derivative handed on by the residual addition"},
    {"attention", "L1'", "wo transposed, times the derivative of attention's output"},
    {"probs", "A2'", "derivative of the weighted sum by the probabilities"},
    {"scores", "A2'", "softmax backward"},
    {"q_rope", "A2'", "derivative of attention by the queries"},
    {"k_rope", "A2'", "derivative of attention by the keys"},
    {"v", "A2'", "derivative of attention by the values"},
    {"q", "R1'", "rotation back by the same angles"},
    {"k", "R1'", "rotation back by the same angles"},
    {"attention_norm", "L1'", "wq, wk and wv transposed, times the derivatives of q, k and v"},
    {"out", "M3'", "derivative of the weighted sum by an expert's output"},
    {"router_weights", "M3'", "derivative of the weighted sum by the gate weights"},
    {"router_logits", "M1'", "derivative by the router's logits"},
    {"weight", "L3", "gradient of a parameter"},
};

const char *mr_backward_operation(const char *name, const char **tag) {
    const char *dot = strrchr(name, '.'), *last = dot != NULL ? dot + 1 : name;
    *tag = "";
    if (strncmp(name, "loss.", 5) == 0) return "the loss";
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++)
        if (strcmp(last, operations[i].name) == 0) {
            *tag = operations[i].tag;
            return operations[i].what;
        }
    return last;
}
