/* Small models, folders and comparisons that the tests of weights/ share. */
#ifndef MR_TESTS_MODELS_H
#define MR_TESTS_MODELS_H

#include "tests/scratch.h"

#include "weights/checkpoint.h"
#include "weights/element.h"
#include "weights/names.h"

/* Every size another, so that a wrong shape or stride cannot come out right: H*D != d, G != H. */
static inline mr_config small(bool sparse) {
    return (mr_config){.dim = 10, .n_layers = 2, .head_dim = 4, .hidden_dim = 7, .n_heads = 6,
                       .n_kv_heads = 2, .vocab_size = 11, .n_experts = sparse ? 3 : 0,
                       .n_experts_per_tok = sparse ? 2 : 0, .norm_eps = 1e-5, .rope_theta = 1e4,
                       .bos_id = 1, .eos_id = 2};
}

/* Temporary folders of one level, emptied and removed. */
static inline void drop(const char *folder) {
    DIR *dir = opendir(folder);
    if (dir == NULL) return;
    for (struct dirent *e; (e = readdir(dir)) != NULL; ) {
        char path[1400];
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (e->d_name[0] != '.') remove(path);
    }
    closedir(dir);
    rmdir(folder);
}

/* Row r as its place in the native order, whatever order the model has. */
static inline idx native_row(const mr_model *m, mr_param p, idx r) {
    const idx D = m->config.head_dim, k = r % D;
    if (!mr_param_rotary(p) || m->qk_rows == MR_INTERLEAVED) return r;
    return r - k + k / 2 + k % 2 * (D / 2);
}

static inline void check_same(mr_model *a, mr_model *b) {
    mr_names names;
    mr_names_init(&names, &a->config);
    for (idx i = 0; i < names.count; i++) {
        const mr_param   p = mr_names_at(&names, i);
        const mr_matrix *x = mr_param_matrix(a, p), *y = mr_param_matrix(b, p);
        char name[MR_NAME_SIZE];
        mr_param_name(p, MR_LAYOUT_NATIVE, name);
        assert_true(x->rows == y->rows && x->cols == y->cols);
        for (idx r = 0; r < x->rows; r++)
            for (idx c = 0; c < x->cols; c++) {
                const double u = mr_matrix_get(x, native_row(a, p, r), c);
                const double v = mr_matrix_get(y, native_row(b, p, r), c);
                if (memcmp(&u, &v, sizeof u) != 0)
                    fail_msg("%s[%td,%td]: %g, %g", name, r, c, u, v);
            }
    }
}

static inline void check_equal_files(const char *a, const char *b) {
    size_t n, m;
    unsigned char *x = scratch_read(scratch(a), &n), *y = scratch_read(scratch(b), &m);
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n);
    free(x);
    free(y);
}

static inline void write_text(const char *path, const char *text) {
    FILE *f = fopen(scratch(path), "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

#endif
