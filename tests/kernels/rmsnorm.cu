// RMSNorm on CUDA, checked: one block of threads per row, in f32 and bf16 storage.
#include "tests/kernels/device.cuh"

// y[t,i] = g[i] x[t,i] / sqrt(mean_j x[t,j]^2 + eps)       grid: T  block: a power of two
template <class T> __global__ void rmsnorm(T *y, const T *x, const T *g, int d, float eps) {
    extern __shared__ float part[];
    const T *row = x + (size_t)blockIdx.x * d;
    float sum = 0;
    for (int i = threadIdx.x; i < d; i += blockDim.x) sum += to_float(row[i]) * to_float(row[i]);
    part[threadIdx.x] = sum;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
        __syncthreads();
    }
    const float r = 1 / sqrtf(part[0] / d + eps);
    for (int i = threadIdx.x; i < d; i += blockDim.x)
        put(&y[(size_t)blockIdx.x * d + i], to_float(row[i]) * r * to_float(g[i]));
}

template <class T> static void call(const mr_check *check, const mr_check_plan *plan, void *) {
    const device_array<T> x(check, "x"), g(check, "g"), y(check, "y");
    const int threads = 128;
    rmsnorm<T><<<(unsigned)plan->tokens, threads, threads * sizeof(float)>>>(
        y.data(), x.data(), g.data(), (int)plan->width, (float)plan->eps);
    good(cudaDeviceSynchronize(), "rmsnorm");
}

int main() {
    const int f32 = check_on_device("rmsnorm", "f32", nullptr, call<float>);
    const int bf16 = check_on_device("rmsnorm", "bf16", nullptr, call<__nv_bfloat16>);
    return f32 != 0 ? f32 : bf16;
}
