/* Unit tests of kernels: inputs that are hard for one operation, its result in double, a verdict
 * by computed bounds. Plain C types, usable from C, C++, CUDA and HIP. Guide: docs/KERNELS.md.
 *
 *     mr_check *check = mr_check_new(&plan, text, sizeof text);
 *     my_rmsnorm(mr_check_data(check, "y"), mr_check_data(check, "x"), ...);
 *     status = mr_check_judge(check, text, sizeof text);
 *     mr_check_free(check);
 */
#ifndef MR_GOLDEN_CHECK_H
#define MR_GOLDEN_CHECK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How inputs are filled. */
typedef enum {
    MR_FILL_ORDINARY,       /* bell-shaped, near 1 */
    MR_FILL_INTEGERS,       /* small integers: sums are exact in float, in any order */
    MR_FILL_LARGE,          /* as large as the result in float and the storage type allow */
    MR_FILL_TINY,           /* around the smallest normal number of the type, and below */
    MR_FILL_NEGATIVE,       /* every score and logit far below zero */
    MR_FILL_TIES,           /* equal scores, logits and rows */
    MR_FILL_OFFSET,         /* a large number added to every element of a row */
    MR_FILL_CANCELLATION,   /* terms that cancel in pairs */
    MR_FILLS,
    MR_FILL_OWN             /* the caller fills, then calls mr_check_begin */
} mr_check_inputs;

/* One test. Fields that the operation does not use are ignored; zero means none. */
typedef struct {
    const char *operation;      /* a name of docs/KERNELS.md: "rmsnorm", "linear", ... */
    const char *store;          /* element type of tensors: "f32", "bf16", "f16" */
    const char *inside;         /* what is not written is kept in; NULL: as store */
    const char *sum;            /* sums: "f32", "tf32", "fp8", "bf16", "f16"; NULL: f32 */
    int         fill;           /* mr_check_inputs */
    uint64_t    seed;
    ptrdiff_t   tokens, width, outputs, heads, kv_heads, head_dim;   /* sizes: below 2^30 each */
    ptrdiff_t   window;         /* keys that a query sees, itself included; 0: all up to itself */
    ptrdiff_t   seen, slots;    /* tokens cached before the call; slots of the ring */
    ptrdiff_t   vocab, experts, chosen;
    double      eps, theta;
    int         half_split;     /* rotary pairs (i, i + D/2); 0: (2i, 2i + 1) */
    int         finite_unused;  /* slots that hold no key: large numbers; 0: NaN */
} mr_check_plan;

typedef struct mr_check mr_check;

/* One array. `data` lies inside `block`, `offset` bytes from its start, with poison on both sides:
 * copy the whole block to a device and back, and accesses outside the array are found there too. */
typedef struct {
    const char *name;
    void       *data;
    size_t      count, element;   /* elements, and bytes of one */
    void       *block;
    size_t      bytes, offset;    /* of the block, and of data in it */
} mr_check_buffer;

/* NULL with the reason in text: an unknown word, sizes that do not fit, no memory. */
mr_check *mr_check_new(const mr_check_plan *plan, char *text, size_t size);
void      mr_check_free(mr_check *check);   /* NULL is fine */

/* The array of that name as its operation's row of docs/KERNELS.md has it; NULL: no such. */
const mr_check_buffer *mr_check_get(const mr_check *check, const char *name);
void                  *mr_check_data(const mr_check *check, const char *name);

/* Keeps a copy of the inputs and poisons the outputs again. mr_check_new has done it; call it
 * after filling inputs by hand, or before a second run. */
void mr_check_begin(mr_check *check);

/* After the kernel ran. 0 agrees; 1 disagrees; 3 out of memory; 5 proves nothing (every expected
 * number is the same). text: one paragraph that says which element, got, expected, bound, and the
 * likely reason. */
int mr_check_judge(mr_check *check, char *text, size_t size);

/* After a judgement: expected value and bound of element i of an output, in double. */
double mr_check_expected(const mr_check *check, const char *name, size_t i, double *bound);

/* Largest error / bound of the last judgement. */
double mr_check_ratio(const mr_check *check);

/* The kernel under test: reads and writes the arrays of the check. */
typedef void mr_check_kernel(const mr_check *check, const mr_check_plan *plan, void *user);

/* Every fill at sizes on both sides of every tile edge (1, 31, 33, 127, ...). Operation, types and
 * half_split are those of `like`; its eps and theta too unless 0. Stops at the first disagreement,
 * whose paragraph is left in text; else text counts the runs. Status as of mr_check_judge. */
int mr_check_sweep(const mr_check_plan *like, mr_check_kernel *kernel, void *user, char *text,
                   size_t size);

/* Storage type <-> double, for kernels on the host. */
double mr_check_load(const char *store, const void *array, size_t i);
void   mr_check_store(const char *store, void *array, size_t i, double value);

#ifdef __cplusplus
}
#endif

#endif
