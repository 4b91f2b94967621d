/* Residual addition and RMSNorm in one pass over a row, as fused kernels do. */
#include "tests/port/port.h"

#include <math.h>
#include <string.h>

#define LANES 32
#define WRAP 256    /* elements at which a narrow index wraps here; 2^31 in real life */

/* Every lane sums its stride of the row, then halves are added. */
static float sum_of_squares(const float *x, idx d) {
    float lane[LANES] = {0};
    for (idx i = 0; i < d; i++) lane[i % LANES] += x[i] * x[i];
    for (idx half = LANES / 2; half > 0; half /= 2)
        for (idx m = 0; m < half; m++) lane[m] += lane[m + half];
    return lane[0];
}

static float mean(const float *x, idx d) {
    float sum = 0;
    for (idx i = 0; i < d; i++) sum += x[i];
    return sum / (float)d;
}

/* y may be x. */
static void norm_row(float *y, const float *x, const float *w, idx d, float eps) {
    const float center = bug(N02) ? mean(x, d) : 0;
    float square = sum_of_squares(x, d) / (float)d - center * center;
    float scale  = 1 / sqrtf(square + eps), unit = 1;
    if (bug(S16)) scale = 1 / (sqrtf(square) + eps);
    if (bug(F05)) {             /* to unit size first, epsilon along with it, then the norm */
        unit  = scale;
        scale = 1 / sqrtf(square * unit * unit + eps * unit * unit);
    }
    for (idx i = 0; i < d; i++) {
        const float normed = (x[i] - center) * unit * scale;
        if (bug(N04)) y[i] = port_st(normed * w[i]);
        else y[i] = port_st(port_st(normed) * w[i]);
    }
}

void port_add_norm(float *normed, float *residual, const float *add, const float *weight,
                   idx rows, idx d, float eps) {
    if (bug(N01)) eps = 1e-6f;
    for (idx r = 0; r < rows; r++) {
        float *x = residual + r * d;
        if (add != NULL)
            for (idx i = 0; i < d; i++) {
                const float other = bug(N10) ? weight[i] : x[i];
                x[i] = port_st(add[r * d + i] + other);
            }
    }
    for (idx r = 0; r < rows; r++) {
        idx offset = r * d;
        if (bug(N11)) offset %= WRAP;
        norm_row(normed + r * d, residual + offset, weight, d, eps);
        if (bug(N06)) norm_row(normed + r * d, normed + r * d, weight, d, eps);
    }
}
