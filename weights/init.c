/* Random weights that any program can make again from a seed and the tensors' native names, with
 * 64-bit integers and one multiplication.
 *   mix(z): z = (z ^ z>>30) * 0xBF58476D1CE4E5B9; z = (z ^ z>>27) * 0x94D049BB133111EB; z ^ z>>31
 *   key   = mix(seed) ^ fnv(name)                    fnv: FNV-1a, 64 bits, of the native name
 *   z_i   = mix(key + (i + 1) * 0x9E3779B97F4A7C15)  i: element, row-major, native row order
 *   x_i   = (a + b + c + d - 131070) * scale         a, b, c, d: the four 16-bit fields of z_i
 *   scale = (std * 1.7320508075688772) / 65536       in double; 1.73... = sqrt(3)
 * all integer arithmetic modulo 2^64. std is 0.02, or what the caller asks for in the embedding
 * and in the other matrices. Norm vectors are 1 + x_i, always of 0.02. Then one rounding to nearest
 * even to the dtype. The sum of four uniform numbers has the standard deviation 65536/sqrt(3) (but
 * for 1e-10 of it): x is close to N(0, std), with |x| below 3.47 standard deviations, and needs no
 * logarithm or cosine that libraries round differently. The sum lies in 0..262140 and the product
 * is one rounding, so every machine has the same bits. */
#include <math.h>

#include "weights/element.h"
#include "weights/make.h"

static uint64_t mix(uint64_t z) {
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static uint64_t fnv(const char *name) {
    uint64_t hash = UINT64_C(14695981039346656037);
    for (; *name != '\0'; name++) hash = (hash ^ (unsigned char)*name) * UINT64_C(1099511628211);
    return hash;
}

#define USUAL 0.02

static double element(uint64_t key, uint64_t i, double std) {
    const double   scale = (std * 1.7320508075688772) / 65536.0;
    const uint64_t z = mix(key + (i + 1) * UINT64_C(0x9E3779B97F4A7C15));
    const int      sum = (int)((z & 0xffff) + (z >> 16 & 0xffff) + (z >> 32 & 0xffff) + (z >> 48));
    return (double)(sum - 131070) * scale;
}

static void fill(const void *user, mr_param p, const char *name, mr_dtype dtype, void *data) {
    const mr_random *how = user;
    const uint64_t key = mix(how->seed) ^ fnv(name);
    const double   std = p.kind->rank == 1 ? USUAL
                       : p.kind->offset == offsetof(mr_model, tok_embeddings) &&
                         p.kind->scope == MR_IN_MODEL ? how->embedding_std : how->std;
    const double   centre = p.kind->rank == 1 ? 1 : 0;  /* a norm weight of exactly 1 hides bugs */
    const idx      count = p.kind->rows * p.kind->cols;
    for (idx i = 0; i < count; i++)
        mr_element_put(data, dtype, i, centre + element(key, (uint64_t)i, std));
}

mr_status mr_checkpoint_random(const mr_config *config, const mr_random *how, mr_dtype dtype,
                               mr_checkpoint *out, mr_err *err) {
    const bool positive = how->std > 0 && how->embedding_std > 0;
    if (!positive || isinf(how->std) || isinf(how->embedding_std))
        return mr_fail(err, MR_USAGE, "standard deviations of random weights must be positive and "
                       "finite, found %.9g and %.9g", how->std, how->embedding_std);
    if (dtype != MR_F32 && dtype != MR_BF16)
        return mr_fail(err, MR_USAGE, "random weights are F32 or BF16, found %s",
                       mr_dtype_name(dtype));
    return mr_checkpoint_make(config, dtype, fill, how, "random weights", out, err);
}

mr_status mr_checkpoint_init(const mr_config *config, uint64_t seed, mr_dtype dtype,
                             mr_checkpoint *out, mr_err *err) {
    return mr_checkpoint_random(config, &(mr_random){seed, USUAL, USUAL}, dtype, out, err);
}
