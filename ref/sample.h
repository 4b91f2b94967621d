/* Choosing the next token: greedy, or temperature, top-k and top-p with a seed. */
#ifndef MR_REF_SAMPLE_H
#define MR_REF_SAMPLE_H

#include "ref/base.h"

typedef struct {
    double temperature;   /* 0: greedy */
    idx    top_k;         /* 0: all */
    double top_p;         /* 1: all */
} mr_sampling;

/* The random state of one stream: splitmix64, integers only, the same on every machine. */
typedef struct {
    uint64_t state;
} mr_rng;

mr_rng   mr_rng_seed(uint64_t seed);
uint64_t mr_rng_next(mr_rng *rng);      /* uniform on 64 bits */
double   mr_rng_uniform(mr_rng *rng);   /* [0,1), 53 bits */

/* (S1) the first largest logit. NaN counts as -inf. */
int32_t mr_argmax(const double *logits, idx V);

/* (S2) p = softmax(logits / temperature), the top_k most probable, of these each while the sum
 * before it does not exceed top_p, drawn in order of probability. probs, order: [V] scratch. One
 * number is drawn from rng (none when greedy). */
int32_t mr_sample(const double *logits, idx V, const mr_sampling *how, mr_rng *rng, double *probs,
                  int32_t *order);

#endif
