/* AdamW's settings, which parameters decay, and clipping by the global norm. */
#ifndef MR_REF_ADAMW_H
#define MR_REF_ADAMW_H

#include "ref/base.h"

typedef struct {
    double beta1, beta2;   /* [0,1); PyTorch 0.9 and 0.999 */
    double eps;            /* > 0; PyTorch 1e-8 */
    double decay;          /* >= 0, multiplied with the learning rate; PyTorch 0.01 */
    bool   decay_all;      /* norm weights too; default only the rest */
} mr_adamw;

mr_adamw  mr_adamw_default(void);
/* MR_USAGE with a message when a setting is outside its domain. */
mr_status mr_adamw_check(const mr_adamw *options, mr_err *err);

/* (O4) does the parameter of this native name decay? Norm weights do not, unless decay_all */
bool mr_adamw_decays(const mr_adamw *options, const char *name);

/* (O5) factor of all gradients: min(1, max_norm / (norm + 1e-6)); max_norm 0: no clipping */
double mr_clip_factor(double norm, double max_norm);

#endif
