/* Which keys a row saw, from the null space of a small matrix. */
#include <math.h>
#include <string.h>

#include "golden/paths_keys_state.h"

#define SWEEPS 60

/* scale * q . k of one head and key */
static double score(const mr_key_search *s, idx t, idx h, idx key) {
    const idx H = s->c->n_heads, G = s->c->n_kv_heads, D = s->c->head_dim;
    const double *q = s->q.v + (t * H + h) * D, *k = s->k.v + (key * G + h / (H / G)) * D;
    double sum = 0;
    for (idx c = 0; c < D; c++) sum += q[c] * k[c];
    return sum / sqrt((double)D);
}

/* A = M^T M of the rows (head, channel) of M: w_hj (v_hjc - o_hc), w_hj = e^(s_hj - max). Columns
 * are scaled to norm 1 where they are not 0; *scale keeps the norms. */
static void normal_matrix(mr_key_search *s, idx t, idx from, idx n, double *A, double *scale) {
    const idx H = s->c->n_heads, G = s->c->n_kv_heads, D = s->c->head_dim;
    double w[512];
    memset(A, 0, (size_t)(n * n) * sizeof *A);
    for (idx h = 0; h < H; h++) {
        double top = -(double)INFINITY;
        for (idx j = 0; j < n; j++) top = fmax(top, w[j] = score(s, t, h, from + j));
        for (idx j = 0; j < n; j++) w[j] = exp(w[j] - top);
        for (idx c = 0; c < D; c++) {
            const double o = s->found[(t * H + h) * D + c];
            for (idx i = 0; i < n; i++) {
                const double x = w[i] * (s->v.v[((from + i) * G + h / (H / G)) * D + c] - o);
                for (idx j = 0; j <= i; j++)
                    A[i * n + j] +=
                        x * w[j] * (s->v.v[((from + j) * G + h / (H / G)) * D + c] - o);
            }
        }
    }
    for (idx i = 0; i < n; i++) scale[i] = A[i * n + i] > 0 ? sqrt(A[i * n + i]) : 1;
    for (idx i = 0; i < n; i++)
        for (idx j = 0; j <= i; j++) A[j * n + i] = A[i * n + j] /= scale[i] * scale[j];
}

/* Rotation of rows and columns p, q that makes A[p,q] zero (Jacobi 1846); V collects them. */
static void rotate(double *A, double *V, idx n, idx p, idx q) {
    if (A[p * n + q] == 0) return;
    const double theta = (A[q * n + q] - A[p * n + p]) / (2 * A[p * n + q]);
    const double t = (theta >= 0 ? 1 : -1) / (fabs(theta) + sqrt(theta * theta + 1));
    const double c = 1 / sqrt(t * t + 1), s = t * c;
    for (idx k = 0; k < n; k++) {
        const double x = A[k * n + p], y = A[k * n + q];
        A[k * n + p] = c * x - s * y;
        A[k * n + q] = s * x + c * y;
    }
    for (idx k = 0; k < n; k++) {
        const double x = A[p * n + k], y = A[q * n + k];
        A[p * n + k] = c * x - s * y;
        A[q * n + k] = s * x + c * y;
    }
    for (idx k = 0; k < n; k++) {
        const double x = V[k * n + p], y = V[k * n + q];
        V[k * n + p] = c * x - s * y;
        V[k * n + q] = s * x + c * y;
    }
}

/* The eigenvector of the least eigenvalue of A into x; false when the next one is about as small:
 * then other sets of keys give the same output. */
static bool null_vector(double *A, double *V, idx n, double *x) {
    memset(V, 0, (size_t)(n * n) * sizeof *V);
    for (idx i = 0; i < n; i++) V[i * n + i] = 1;
    for (int sweep = 0; sweep < SWEEPS; sweep++) {
        double off = 0;
        for (idx p = 0; p < n; p++)
            for (idx q = p + 1; q < n; q++) off += A[p * n + q] * A[p * n + q];
        if (off < 1e-40) break;
        for (idx p = 0; p < n; p++)
            for (idx q = p + 1; q < n; q++) rotate(A, V, n, p, q);
    }
    idx least = 0, next = -1;
    for (idx i = 1; i < n; i++)
        if (A[i * n + i] < A[least * n + least]) least = i;
    for (idx i = 0; i < n; i++)
        if (i != least && (next < 0 || A[i * n + i] < A[next * n + next])) next = i;
    for (idx i = 0; i < n; i++) x[i] = V[i * n + least];
    const double small = fmax(A[least * n + least], 0);
    return next >= 0 && A[next * n + next] > 1e-13 && A[next * n + next] > 100 * small;
}

idx mr_key_solve(mr_key_search *s, idx t, idx from, idx to, idx *keys) {
    const idx n = to - from;
    double scale[512], x[512], largest = 0;
    if (n < 2 || n > 512 || n > s->c->n_heads * s->c->head_dim) return 0;
    double *A = s->matrix, *V = A + n * n;
    normal_matrix(s, t, from, n, A, scale);
    if (!null_vector(A, V, n, x)) return 0;
    for (idx j = 0; j < n; j++) {
        x[j] /= scale[j];
        if (fabs(x[j]) > fabs(largest)) largest = x[j];
    }
    idx count = 0;
    for (idx j = 0; j < n; j++) {   /* seen ones are equal, the others 0 */
        const double share = x[j] / largest;
        if (!(fabs(share) < 0.25 || share > 0.75)) return 0;
        if (share > 0.75) keys[count++] = from + j;
    }
    return count;
}
