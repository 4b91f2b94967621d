// Arrays of a test on a CUDA device, poison around them included.
#ifndef MR_TESTS_KERNELS_DEVICE_CUH
#define MR_TESTS_KERNELS_DEVICE_CUH

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>

#include "golden/check.h"

static inline void good(cudaError_t error, const char *what) {
    if (error == cudaSuccess) return;
    std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(error));
    std::exit(3);
}

// An array of the test, copied to the device with its block; copied back at the end of its scope,
// so that what the kernel wrote outside the array is seen by mr_check_judge.
template <class T> class device_array {
public:
    device_array(const mr_check *check, const char *name) : host(mr_check_get(check, name)) {
        if (host == nullptr) return;
        good(cudaMalloc(&block, host->bytes), "cudaMalloc");
        good(cudaMemcpy(block, host->block, host->bytes, cudaMemcpyHostToDevice), "copy to device");
    }
    ~device_array() {
        if (host == nullptr) return;
        good(cudaMemcpy(host->block, block, host->bytes, cudaMemcpyDeviceToHost), "kernel");
        good(cudaFree(block), "cudaFree");
    }
    device_array(const device_array &) = delete;
    T *data() const { return host ? (T *)((char *)block + host->offset) : nullptr; }

private:
    const mr_check_buffer *host;
    void *block = nullptr;
};

// Sweeps one kernel over every fill and size, prints the verdict; the status of mr_check_sweep.
static inline int check_on_device(const char *operation, const char *store, const char *inside,
                                  mr_check_kernel *kernel) {
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
        std::puts("no CUDA device: compiled, not run");
        std::exit(77);
    }
    mr_check_plan plan = {};
    char text[2000];
    plan.operation = operation;
    plan.store = store;
    plan.inside = inside;
    const int status = mr_check_sweep(&plan, kernel, nullptr, text, sizeof text);
    std::puts(text);
    return status;
}

static inline __device__ float to_float(float x) { return x; }
static inline __device__ float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }
static inline __device__ void put(float *at, float x) { *at = x; }
static inline __device__ void put(__nv_bfloat16 *at, float x) { *at = __float2bfloat16(x); }

#endif
