// Attention on CUDA, checked: tiles of 32 keys with online softmax, a window, grouped heads, and
// a ring of cached keys; one warp per query and head. In f32 and bf16 storage.
#include "tests/kernels/device.cuh"

struct shape {
    int H, G, D, window, seen, slots;
};

template <class T> struct keys {
    const T *rows, *ring;   // [T,G,D] and [slots,G,D]
};

// Element i of kv head g at a position: in the ring, or among the new rows.
template <class T> __device__ float at(keys<T> k, shape s, int position, int g, int i) {
    const int row = position < s.seen ? position % s.slots : position - s.seen;
    return to_float((position < s.seen ? k.ring : k.rows)[((size_t)row * s.G + g) * s.D + i]);
}

static __device__ float warp_max(float x) {
    for (int n = 16; n > 0; n /= 2) x = fmaxf(x, __shfl_xor_sync(~0u, x, n));
    return x;
}

static __device__ float warp_sum(float x) {
    for (int n = 16; n > 0; n /= 2) x += __shfl_xor_sync(~0u, x, n);
    return x;
}

// grid: [T,H]  block: 32  shared: D floats, the running output
template <class T>
__global__ void attention(T *y, const T *q, keys<T> k, keys<T> v, shape s) {
    extern __shared__ float out[];
    const int t = blockIdx.x, h = blockIdx.y, lane = threadIdx.x, g = h / (s.H / s.G);
    const int own = s.seen + t, from = s.window > 0 ? max(0, own - s.window + 1) : 0;
    const T *query = q + ((size_t)t * s.H + h) * s.D;
    const float scale = 1 / sqrtf((float)s.D);
    float top = -INFINITY, sum = 0;
    for (int i = lane; i < s.D; i += 32) out[i] = 0;
    for (int first = from; first <= own; first += 32) {
        const int mine = first + lane;
        float score = mine <= own ? 0 : -INFINITY;
        for (int i = 0; mine <= own && i < s.D; i++)
            score += to_float(query[i]) * at(k, s, mine, g, i);
        score *= scale;
        const float higher = fmaxf(top, warp_max(score)), again = expf(top - higher);
        const float weight = mine <= own ? expf(score - higher) : 0;
        sum = sum * again + warp_sum(weight);
        top = higher;
        for (int i = lane; i < s.D; i += 32) out[i] *= again;
        for (int j = 0; j < 32 && first + j <= own; j++) {
            const float w = __shfl_sync(~0u, weight, j);
            for (int i = lane; i < s.D; i += 32) out[i] += w * at(v, s, first + j, g, i);
        }
    }
    for (int i = lane; i < s.D; i += 32) put(&y[((size_t)t * s.H + h) * s.D + i], out[i] / sum);
}

template <class T> static void call(const mr_check *check, const mr_check_plan *plan, void *) {
    const device_array<T> q(check, "q"), k(check, "k"), v(check, "v"), y(check, "y"),
        ring_k(check, "ring_k"), ring_v(check, "ring_v");
    const shape s = {(int)plan->heads, (int)plan->kv_heads, (int)plan->head_dim,
                     (int)plan->window, (int)plan->seen, (int)plan->slots};
    const dim3 grid((unsigned)plan->tokens, (unsigned)plan->heads);
    attention<T><<<grid, 32, (size_t)plan->head_dim * sizeof(float)>>>(
        y.data(), q.data(), {k.data(), ring_k.data()}, {v.data(), ring_v.data()}, s);
    good(cudaDeviceSynchronize(), "attention");
}

int main() {
    const int f32 = check_on_device("attention", "f32", nullptr, call<float>);
    const int bf16 = check_on_device("attention", "bf16", "f32", call<__nv_bfloat16>);
    return f32 != 0 ? f32 : bf16;
}
