/* Direct preference optimisation: preferences train the policy itself, without a reward model. */
#include "ref/losses.h"

#include <math.h>
#include <string.h>

static const char *const names[MR_DPO_KINDS] = {"sigmoid", "cdpo",    "robust",      "hinge",
                                                "ipo",     "ipo_sum", "sigmoid_norm"};

const char *mr_dpo_name(mr_dpo_kind kind) { return names[kind]; }

bool mr_dpo_parse(const char *name, mr_dpo_kind *kind) {
    for (int k = 0; k < MR_DPO_KINDS; k++)
        if (strcmp(name, names[k]) == 0) {
            *kind = (mr_dpo_kind)k;
            return true;
        }
    return false;
}

mr_status mr_dpo_check(const mr_dpo_options *options, mr_err *err) {
    if (!(options->beta > 0 && isfinite(options->beta)))
        return mr_fail(err, MR_USAGE, "beta is %g; it must be a number above 0", options->beta);
    if (!(options->smoothing >= 0 && options->smoothing < 0.5))
        return mr_fail(err, MR_USAGE, "label smoothing is %g; it must be at least 0 and below 0.5",
                       options->smoothing);
    return MR_OK;
}

/* The loss of a pair and its slope by h, see (P6). */
static mr_term of_difference(double h, const mr_dpo_options *o) {
    const double b = o->beta, e = o->smoothing, x = b * h, distance = h - 1 / (2 * b);
    const double right = -mr_log_sigmoid(x), wrong = -mr_log_sigmoid(-x);
    const double d_right = -b * mr_sigmoid(-x), d_wrong = b * mr_sigmoid(x);
    switch (o->kind) {
        case MR_DPO_CDPO:
            return (mr_term){(1 - e) * right + e * wrong, (1 - e) * d_right + e * d_wrong};
        case MR_DPO_ROBUST:
            return (mr_term){((1 - e) * right - e * wrong) / (1 - 2 * e),
                             ((1 - e) * d_right - e * d_wrong) / (1 - 2 * e)};
        case MR_DPO_HINGE: return (mr_term){fmax(0, 1 - x), x < 1 ? -b : 0};
        case MR_DPO_IPO:
        case MR_DPO_IPO_SUM: return (mr_term){distance * distance, 2 * distance};
        default: return (mr_term){right, d_right};
    }
}

/* (P6) c_w = lw - lw_ref,  c_l = ll - ll_ref,  h = c_w / n_w - c_l / n_l
 *      n_w = n_l = 1, but the numbers of scored tokens for ipo and sigmoid_norm
 *      sigmoid, sigmoid_norm   -log sigma(b h)
 *      cdpo                    -(1-e) log sigma(b h) - e log sigma(-b h)
 *      robust                  ( -(1-e) log sigma(b h) + e log sigma(-b h) ) / (1-2e)
 *      hinge                   max(0, 1 - b h)            slope 0 at b h = 1
 *      ipo, ipo_sum            (h - 1/(2b))^2
 *      reference-free: lw_ref - ll_ref counts as 0
 *      rewards b c_w and b c_l, with the reference in any case
 *      dL/dlw = dL/dh / n_w,  dL/dll = -dL/dh / n_l
 * Rafailov et al. 2023 (arXiv 2305.18290), Eq. 7; cdpo: Mitchell 2023, Eq. 3; robust: Chowdhury et
 * al. 2024 (arXiv 2403.00409); hinge: Zhao et al. 2023 (arXiv 2305.10425); ipo: Azar et al. 2023
 * (arXiv 2310.12036), Eq. 17; averages: TRL dpo_trainer.py. Finite log-probabilities. */
mr_dpo_result mr_dpo(const mr_dpo_pair *p, const mr_dpo_options *options) {
    const bool averages = options->kind == MR_DPO_IPO || options->kind == MR_DPO_SIGMOID_NORM;
    const double n_w = averages && p->n_chosen > 1 ? (double)p->n_chosen : 1;
    const double n_l = averages && p->n_rejected > 1 ? (double)p->n_rejected : 1;
    const double c_w = p->chosen - p->ref_chosen, c_l = p->rejected - p->ref_rejected;
    const double h = options->reference_free ? p->chosen / n_w - p->rejected / n_l
                                             : c_w / n_w - c_l / n_l;
    const mr_term loss = of_difference(h, options);
    return (mr_dpo_result){loss.value, loss.slope / n_w, -loss.slope / n_l, options->beta * c_w,
                           options->beta * c_l};
}

/* (P7) means over n pairs; accuracy = mean [reward_w > reward_l], so 0 when policy and reference
 * are one; TRL dpo_trainer.py.                                               result: [n]  n >= 1 */
mr_dpo_metrics mr_dpo_summary(const mr_dpo_result *result, idx n) {
    mr_dpo_metrics m = {0};
    for (idx i = 0; i < n; i++) {
        const mr_dpo_result *r = &result[i];
        m.loss += r->loss / (double)n;
        m.reward_chosen += r->reward_chosen / (double)n;
        m.reward_rejected += r->reward_rejected / (double)n;
        m.accuracy += r->reward_chosen > r->reward_rejected ? 1 / (double)n : 0;
        m.margin += (r->reward_chosen - r->reward_rejected) / (double)n;
    }
    return m;
}
