/* The precision switch: every equation file is compiled twice, with MR_BITS 32 and 64, into one
 * archive.
 * `real` is the type of activations, `acc` the type sums are formed in, FN(name) the exported name.
 * No include guard on purpose: mr.h includes it once per precision. */
#undef real
#undef FN
#if MR_BITS == 64
#define real double
#define FN(name) mr_##name##_f64
#elif MR_BITS == 32
#define real float
#define FN(name) mr_##name##_f32
#else
#error "compile with -DMR_BITS=32 or -DMR_BITS=64"
#endif

#ifndef MR_REF_REAL_H
#define MR_REF_REAL_H

#include <float.h>

/* Results must not depend on how a compiler widens or reassociates. */
#ifdef __FAST_MATH__
#error "never compile the reference with -ffast-math: results would differ from build to build"
#endif
#if FLT_EVAL_METHOD != 0
#error "float must be evaluated as float (FLT_EVAL_METHOD 0); on 32-bit x86 use -msse2 -mfpmath=sse"
#endif
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "weights and traces are little-endian and read where they lie: little-endian machines only"
#endif

/* Products of two floats are exact in double: a float dot product has one rounding per addition,
 * all in double. */
typedef double acc;

/* Threads share out independent outputs, never a sum, so their number cannot change a bit. `cost`
 * is a rough count of operations: below some ten thousand, starting threads costs more than it
 * saves. */
#ifdef _OPENMP
#define MR_PRAGMA(text) _Pragma(#text)
#define PARALLEL_FOR(cost) MR_PRAGMA(omp parallel for schedule(static) if ((cost) > 50000))
#else
#define PARALLEL_FOR(cost)
#endif

/* The turns of the loop below have no order: several may share one vector register. */
#define SIMD _Pragma("omp simd")

/* Compiled for several vector widths, of which the best is taken when the program starts. What a
 * clone calls is compiled with it only when it is inlined. */
#if !defined MR_CLONES
#define CLONES
#elif defined __clang__ || __GNUC__ >= 12
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#endif

/* Whole vectors do not straddle two cache lines. */
#define ALIGNED __attribute__((aligned(64)))

/* Once per use, with the constants of that use; make cov counts each only once (COV=1). */
#ifndef INLINE
#define INLINE static inline __attribute__((always_inline))
#endif

#endif
