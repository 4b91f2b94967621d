/* Learning-rate schedules: the factor of the base rate at each step. */
#ifndef MR_REF_SCHEDULE_H
#define MR_REF_SCHEDULE_H

#include "ref/base.h"

typedef enum {
    MR_SCHEDULE_CONSTANT,   /* after the warm-up */
    MR_SCHEDULE_LINEAR,     /* falls to 0 at `steps` */
    MR_SCHEDULE_COSINE,     /* half a cosine, falls to 0 at `steps` */
    MR_SCHEDULE_DPO,        /* the DPO repository's warm-up, whose first step is not 0 */
    MR_SCHEDULES
} mr_schedule_kind;

typedef struct {
    mr_schedule_kind kind;
    int64_t          warmup, steps;   /* >= 0; all steps, the warm-up included */
} mr_schedule;

const char *mr_schedule_name(mr_schedule_kind kind);   /* "constant", "linear", "cosine", "dpo" */
bool        mr_schedule_parse(const char *name, mr_schedule_kind *kind);

/* (O6) step counts from 0 */
double mr_schedule_factor(const mr_schedule *schedule, int64_t step);

#endif
