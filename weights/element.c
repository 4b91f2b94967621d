/* Reading and writing single elements; memcpy because mapped data have no alignment to rely on. */
#include "weights/element.h"

#include <assert.h>
#include <string.h>

#include "ref/half.h"

bool mr_element_float(mr_dtype dtype) {
    return dtype == MR_F64 || dtype == MR_F32 || dtype == MR_F16 || dtype == MR_BF16;
}

double mr_element_get(const void *data, mr_dtype dtype, idx i) {
    const unsigned char *at = (const unsigned char *)data + i * mr_dtype_size(dtype);
    double   wide;
    float    single;
    uint16_t bits;
    assert(mr_element_float(dtype));
    if (dtype == MR_F64) {
        memcpy(&wide, at, sizeof wide);
        return wide;
    }
    if (dtype == MR_F32) {
        memcpy(&single, at, sizeof single);
        return (double)single;
    }
    memcpy(&bits, at, sizeof bits);
    return dtype == MR_BF16 ? mr_bf16_to_double(bits) : mr_half_to_double(bits);
}

void mr_element_put(void *data, mr_dtype dtype, idx i, double value) {
    unsigned char *at = (unsigned char *)data + i * mr_dtype_size(dtype);
    assert(mr_element_float(dtype));
    if (dtype == MR_F64) {
        memcpy(at, &value, sizeof value);
    } else if (dtype == MR_F32) {
        float single = (float)value;            /* IEEE conversion rounds to nearest even */
        memcpy(at, &single, sizeof single);
    } else {
        uint16_t bits = dtype == MR_BF16 ? mr_double_to_bf16(value) : mr_double_to_half(value);
        memcpy(at, &bits, sizeof bits);
    }
}

/* Strides count elements: this is the one place where a layout becomes an address. */
double mr_matrix_get(const mr_matrix *m, idx r, idx c) {
    return mr_element_get(m->data, m->dtype, r * m->row_stride + c * m->col_stride);
}
