/* What one rounding does to a bound. Private to golden/replay_bound.c and its like. */
#ifndef MR_GOLDEN_REPLAY_ROUND_H
#define MR_GOLDEN_REPLAY_ROUND_H

#include "golden/replay_bound.h"

#define MR_SIGMAS 6.0   /* of the statistical bound */
#define MR_STORES 3.5   /* MR_SIGMAS of a rounding anywhere between -u and u: 6/sqrt(3) */

/* gamma_n = n u / (1 - n u): error of n roundings one after the other, relative to the terms. Where
 * n u reaches 1/2 nothing better than "twice" is certain. */
double mr_gamma(double n, double u);

/* Result i is rounded `times` times to the unit u. Few roundings cannot reach six deviations. */
void mr_rounded(mr_bounded y, idx i, double times, double u, const mr_arithmetic *a);

/* ... to the storage type. One that may overflow has no bound: infinity is as right as a number. */
void mr_stored(mr_bounded y, idx i, double times, const mr_arithmetic *a);

/* (V12) Expected number i as a file may hold it. */
void mr_recorded(mr_bounded y, idx i, const mr_recording *r);

/* (V12) The port's number i from what its file has: x becomes that number, and what the program
 * really had may lie beside it. One that became infinite only in the file is not taken. */
void mr_take_recorded(mr_bounded x, idx i, double found, const mr_recording *r);

#endif
