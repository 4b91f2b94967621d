/* Rotary embedding by a table of cosines and sines, built once. */
#include "tests/port/port.h"

#include <math.h>
#include <stdlib.h>

#define TABLE 4096   /* positions of the table that R08 and R09 outgrow */

/* Frequency of pair n, in float as the frameworks form it. */
static float frequency(const port_model *model, float theta, idx n) {
    float f = 1 / powf(theta, (float)(2 * n) / (float)model->D);
    if (bug(R04)) f = port_to_bf16(f);
    if (bug(R07)) f = port_junk(n);          /* a buffer that nobody filled */
    return f;
}

void port_rope_build(port_rope *rope, const port_model *model, int64_t low, int64_t high) {
    float theta = model->theta;
    if (bug(R03)) theta = 1e4f;
    rope->low  = low;
    rope->high = high;
    rope->half = model->D / 2;
    rope->cos  = port_floats((idx)(high - low + 1) * rope->half);
    rope->sin  = port_floats((idx)(high - low + 1) * rope->half);
    for (int64_t p = low; p <= high; p++) {
        int64_t row = p;
        if (bug(R08) && row >= TABLE) row = TABLE - 1;
        for (idx n = 0; n < rope->half; n++) {
            float f = frequency(model, theta, n);
            if (bug(R09) && row >= TABLE) f = frequency(model, 1e4f, n);
            const float angle = (float)row * f;
            rope->cos[(idx)(p - low) * rope->half + n] = cosf(angle);
            rope->sin[(idx)(p - low) * rope->half + n] = sinf(angle);
        }
    }
}

void port_rope_free(port_rope *rope) {
    free(rope->cos);
    free(rope->sin);
}

void port_rotate(float *x, idx heads, const port_rope *rope, int64_t position, bool half) {
    const idx    pairs = rope->half, row = (idx)(position - rope->low) * pairs;
    const float *c = rope->cos + row, *s = rope->sin + row;
    if (bug(R01)) half = !half;
    for (idx h = 0; h < heads; h++)
        for (idx n = 0; n < pairs; n++) {
            float *a = x + h * 2 * pairs + (half ? n : 2 * n), *b = a + (half ? pairs : 1);
            const float x0 = *a, x1 = *b;
            *a = port_st(x0 * c[n] - x1 * s[n]);
            *b = port_st(x1 * c[n] + x0 * s[n]);
        }
}
