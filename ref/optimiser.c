/* The optimiser's settings: domains, which parameters decay, the factor of clipping. */
#include "ref/adamw.h"

#include <math.h>
#include <string.h>

mr_adamw mr_adamw_default(void) { return (mr_adamw){0.9, 0.999, 1e-8, 0.01, false}; }

mr_status mr_adamw_check(const mr_adamw *options, mr_err *err) {
    const double b1 = options->beta1, b2 = options->beta2;
    if (!(b1 >= 0 && b1 < 1 && b2 >= 0 && b2 < 1))
        return mr_fail(err, MR_USAGE, "betas are %g and %g; each must be at least 0 and below 1",
                       b1, b2);
    if (!(options->eps > 0 && isfinite(options->eps)))
        return mr_fail(err, MR_USAGE, "epsilon is %g; it must be a number above 0", options->eps);
    if (!(options->decay >= 0 && isfinite(options->decay)))
        return mr_fail(err, MR_USAGE, "weight decay is %g; it must be a number, 0 or above",
                       options->decay);
    return MR_OK;
}

/* (O4) norm weights (attention_norm, ffn_norm, norm) do not decay, all other parameters do
 * transformers Trainer, get_decay_parameter_names. PyTorch itself and mistral-finetune: all. */
bool mr_adamw_decays(const mr_adamw *options, const char *name) {
    return options->decay_all || strstr(name, "norm.weight") == NULL;
}

/* (O5) c = min(1, max_norm / (norm + 1e-6))
 * torch/nn/utils/clip_grad.py. A norm that is NaN gives NaN; max_norm 0: never clip. */
double mr_clip_factor(double norm, double max_norm) {
    const double c = max_norm / (norm + 1e-6);
    return max_norm == 0 || c >= 1 ? 1 : c;
}
