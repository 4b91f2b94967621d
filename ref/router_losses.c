/* The router losses of one call: which coefficient goes with which loss, layer by layer. */
#include "ref/real.h"
#include "ref/state.h"

static mr_balance cleared(const mr_balance *sums, idx E) {
    for (idx e = 0; e < E; e++) sums->chosen[e] = sums->probability[e] = 0;
    return (mr_balance){sums->chosen, sums->probability, 0};
}

/* (Y1) and (Y3) of the present layer, into run->layer and run->importance */
static void layer_sums(FN(run) *run) {
    const idx T = run->T, E = run->model->config.n_experts,
              K = run->model->config.n_experts_per_tok;
    run->layer = cleared(&run->layer, E);
    for (idx e = 0; e < E; e++) run->importance[e] = 0;
    FN(balance_add)(&run->layer, run->router_logits, run->router_experts, NULL, T, E, K, K);
    FN(importance_add)(run->importance, run->router_experts, run->router_weights, T, K);
}

void FN(router_losses_pool)(FN(run) *run) {
    const idx E = run->model->config.n_experts, K = run->model->config.n_experts_per_tok;
    run->pooled = cleared(&run->pooled, E);
    for (idx l = 0; l < run->model->config.n_layers; l++) {
        FN(select_layer)(run, l);
        FN(balance_add)(&run->pooled, run->router_logits, run->router_experts, NULL, run->T, E, K,
                        K);
    }
}

/* (Y8) c_balance (Y2)/K + c_z (Y7)/T + c_importance (Y4) of each layer, averaged over layers,
 *      and c_pooled (Y2) of all layers together
 * K: all slots are counted, so a balanced router has balance 1 and pooled K. */
double FN(router_losses)(FN(run) *run) {
    const mr_router_losses *by = &run->options.router;
    const idx T = run->T, E = run->model->config.n_experts, L = run->model->config.n_layers;
    double loss = 0;
    if (E == 0 || T == 0) return 0;
    for (idx l = 0; l < L; l++) {
        FN(select_layer)(run, l);
        layer_sums(run);
        loss += by->balance * FN(balance_loss)(&run->layer, E) /
                (double)run->model->config.n_experts_per_tok;
        loss += by->z * FN(router_z)(run->router_logits, NULL, T, E) / (double)T;
        loss += by->importance * mr_cv_squared(run->importance, E);
    }
    FN(router_losses_pool)(run);
    return loss / (double)L + by->pooled * FN(balance_loss)(&run->pooled, E);
}

void FN(router_losses_backward)(FN(run) *run) {
    const mr_router_losses *by = &run->options.router;
    const mr_config *c = &run->model->config;
    const idx T = run->T, E = c->n_experts, K = c->n_experts_per_tok;
    const double share = 1 / (double)c->n_layers;
    real *dz = run->d.router_logits;
    if (T == 0) return;
    layer_sums(run);
    mr_cv_squared_backward(run->slope, run->importance, E, by->importance * share);
    FN(balance_backward)(dz, run->router_logits, &run->layer, NULL, T, E,
                         by->balance * share / (double)K);
    FN(balance_backward)(dz, run->router_logits, &run->pooled, NULL, T, E, by->pooled);
    FN(router_z_backward)(dz, run->router_logits, NULL, T, E, by->z * share / (double)T);
    FN(importance_backward)(dz, run->router_experts, run->router_weights, run->slope, T, E, K);
}
