/* Mistakes that kernels really have; 0 is the correct kernel. `how` picks among correct ways. */
#ifndef MR_TESTS_KERNELS_FAULTS_H
#define MR_TESTS_KERNELS_FAULTS_H

typedef enum {
    CORRECT,
    /* any */
    LAST_TILE_LEFT_OUT, WRITES_PAST_END, READS_PAST_END, NOT_INITIALISED, TRUNCATED, INPUT_CHANGED,
    /* rmsnorm */
    EPS_OUTSIDE, EPS_1E6, EPS_MISSING, MEAN_SUBTRACTED, GAIN_PLUS_ONE, SQUARES_IN_HALF,
    /* linear */
    SUM_IN_BF16, OPERANDS_TF32, OPERANDS_FP8, ROWS_MIXED_UP,
    /* rope */
    OTHER_PAIRS, THETA_1E4, FREQUENCIES_BF16, POSITION_PLUS_ONE, SUBNORMALS_FLUSHED,
    /* attention */
    WINDOW_PLUS_ONE, WINDOW_MINUS_ONE, NO_WINDOW, NO_MAXIMUM, MAXIMUM_FROM_ZERO, SCALE_WRONG,
    HEADS_TILED, RING_OFF_BY_ONE, CAUSAL_TOP_LEFT, EMPTY_SLOTS_READ, NOT_RESCALED,
    /* cache */
    SLOT_PLUS_ONE, FIRST_ROWS_KEPT,
    /* swiglu */
    GATE_UP_SWAPPED, EXP_OVERFLOWS, SIGMOID_1702,
    /* experts */
    BEST_FROM_ZERO, TIE_TAKEN_TWICE, NOT_RENORMALISED, PLACE_IGNORED, UNWEIGHTED,
    /* lookup and losses */
    TOKEN_PLUS_ONE, LOG_OF_UNDERFLOW, IGNORED_COUNTED,
    FAULTS
} fault;

typedef struct {
    fault fault;
    int   how;      /* 0 naive, 1 reversed, 2 tiles of 32, 3 fused multiply-add */
} variant;

#endif
