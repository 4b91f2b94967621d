/* Saving a model in either layout: names, rotary rows and types converted row by row on the way
 * out. */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "weights/config_write.h"
#include "weights/element.h"
#include "weights/folder.h"
#include "weights/names.h"
#include "weights/stream.h"

/* A save in progress. */
typedef struct {
    const mr_model *model;
    mr_layout       layout;
    bool            keep;       /* each tensor's own dtype; otherwise all of `dtype` */
    mr_dtype        dtype;
    mr_err         *err;
    mr_names        names;
    mr_param       *param;      /* [names.count] */
    mr_tensor      *tensor;     /* [names.count], in file order; data: the mr_param */
    char           *name;       /* [names.count][MR_NAME_SIZE] */
    unsigned char  *row;        /* one converted row, of the longest */
} job;

/* Row of the source that becomes row r of the target. */
static idx source_row(const job *j, mr_param param, idx r) {
    const mr_rope_layout target = j->layout == MR_LAYOUT_NATIVE ? MR_INTERLEAVED : MR_HALF_SPLIT;
    if (!mr_param_rotary(param)) return r;
    return mr_rotary_row(r, j->model->config.head_dim, j->model->qk_rows, target);
}

/* Bytes stay bytes where nothing changes, so that NaN payloads survive; otherwise through
 * double. */
static mr_status write_row(const job *j, mr_saver *s, const mr_matrix *m, mr_dtype to, idx r) {
    const idx size = mr_dtype_size(m->dtype);
    if (to == m->dtype && m->col_stride == 1)
        return mr_saver_write(s, (const char *)m->data + r * m->row_stride * size, m->cols * size,
                               j->err);
    for (idx c = 0; c < m->cols; c++) {
        const idx at = r * m->row_stride + c * m->col_stride;
        if (to == m->dtype)
            memcpy(j->row + c * size, (const char *)m->data + at * size, (size_t)size);
        else
            mr_element_put(j->row, to, c, mr_element_get(m->data, m->dtype, at));
    }
    return mr_saver_write(s, j->row, m->cols * mr_dtype_size(to), j->err);
}

/* The table of mr_model is not const in mr_param_matrix; nothing here writes through it. */
static const mr_matrix *matrix_of(const job *j, mr_param param) {
    return mr_param_matrix((mr_model *)j->model, param);
}

/* The tensors of the file in its order, and room for the longest row. */
static mr_status plan(job *j) {
    const idx n = j->names.count;
    idx longest = 1;
    j->param = mr_alloc(n, sizeof *j->param, j->err);
    j->tensor = mr_alloc(n, sizeof *j->tensor, j->err);
    j->name = mr_alloc(n, MR_NAME_SIZE, j->err);
    if (j->param == NULL || j->tensor == NULL || j->name == NULL) return MR_BAD;
    for (idx i = 0; i < n; i++) {
        const mr_param   param = mr_names_at(&j->names, i);
        const mr_kind   *k = param.kind;
        const mr_matrix *m = matrix_of(j, param);
        mr_tensor       *t = &j->tensor[i];
        j->param[i] = param;
        t->name = j->name + i * MR_NAME_SIZE;
        mr_param_name(param, j->layout, j->name + i * MR_NAME_SIZE);
        if (m->data == NULL || m->rows != k->rows || m->cols != k->cols ||
            !mr_element_float(m->dtype))
            return mr_fail(j->err, MR_BAD, "saving '%s': expected [%td, %td] in F64, F32, F16 or "
                           "BF16, found [%td, %td]", t->name, k->rows, k->cols, m->rows, m->cols);
        t->dtype = j->keep ? m->dtype : j->dtype;
        t->rank = k->rank;
        t->dim[0] = k->rank == 1 ? k->cols : k->rows;
        t->dim[1] = k->rank == 1 ? 0 : k->cols;
        t->data = &j->param[i];
        if (k->cols > longest) longest = k->cols;
    }
    mr_saver_sort(j->tensor, n);
    j->row = mr_alloc(longest, 8, j->err);
    return j->row != NULL ? MR_OK : MR_BAD;
}

/* In file order, one row at a time: the converted model is never in memory. */
static mr_status write_weights(const job *j, mr_saver *s, const char *path) {
    static const char *const metadata[] = {"format", "pt", NULL};
    if (mr_saver_open(s, path, j->tensor, j->names.count, metadata, j->err)) return MR_BAD;
    for (idx i = 0; i < j->names.count; i++) {
        const mr_param   param = *(const mr_param *)j->tensor[i].data;
        const mr_matrix *m = matrix_of(j, param);
        for (idx r = 0; r < m->rows; r++)
            if (write_row(j, s, m, j->tensor[i].dtype, source_row(j, param, r))) return MR_BAD;
    }
    return MR_OK;
}

/* Left open in *file: it gets its name after the weights have theirs. */
static mr_status write_config(const job *j, mr_atomic *file, const char *path) {
    const mr_config *c = &j->model->config;
    mr_writer   text = {.err = j->err};
    mr_status status = MR_OK;
    if (j->layout == MR_LAYOUT_NATIVE) mr_config_write_native(&text, c);
    else status = mr_config_write_hf(&text, c, j->keep ? j->model->tok_embeddings.dtype : j->dtype);
    if (status == MR_OK) status = text.status;
    if (status == MR_OK) status = mr_atomic_open(file, path, j->err);
    if (status == MR_OK) status = mr_atomic_write(file, text.data, text.length, j->err);
    mr_writer_free(&text);
    return status;
}

/* Makes the folder, and refuses one that holds a checkpoint of the other layout: a reader would
 * have to choose between old and new. */
static mr_status prepare_folder(const char *folder, const char *other, mr_err *err) {
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return mr_fail(err, MR_BAD, "%s: cannot create the folder: %s", folder, strerror(errno));
    char *path = mr_string_path(folder, other, err);
    if (path == NULL) return MR_BAD;
    const bool there = mr_path_exists(path);
    mr_free(path);
    if (!there) return MR_OK;
    return mr_fail(err, MR_BAD, "%s: holds a checkpoint of the other layout (%s); choose another "
                   "folder", folder, other);
}

/* Both files are complete before either gets its name; weights first, so that a folder with a new
 * configuration has the weights it speaks of. */
static mr_status write_folder(job *j, const char *folder) {
    const bool native = j->layout == MR_LAYOUT_NATIVE;
    mr_saver  stream = {0};
    mr_atomic  file = {0};
    if (prepare_folder(folder, native ? "config.json" : "params.json", j->err)) return MR_BAD;
    char *config = mr_string_path(folder, native ? "params.json" : "config.json", j->err);
    char *weights = mr_string_path(folder, native ? "consolidated.safetensors"
                                   : "model.safetensors",
                                 j->err);
    mr_status status = config != NULL && weights != NULL ? write_config(j, &file, config) : MR_BAD;
    if (status == MR_OK) status = write_weights(j, &stream, weights);
    if (status == MR_OK) status = mr_saver_commit(&stream, j->err);
    if (status == MR_OK) status = mr_atomic_commit(&file, j->err);
    mr_saver_abandon(&stream);
    mr_atomic_abandon(&file);
    mr_free(config);
    mr_free(weights);
    return status;
}

/* Checks and plans before the folder is touched. */
mr_status mr_checkpoint_save(const mr_model *model, const char *folder, mr_layout layout,
                             bool keep_dtype, mr_dtype dtype, mr_err *err) {
    job j = {.model = model, .layout = layout, .keep = keep_dtype, .dtype = dtype, .err = err};
    if (!keep_dtype && !mr_element_float(dtype))
        return mr_fail(err, MR_USAGE, "%s: a model cannot be saved as %s; expected F64, F32, F16 "
                       "or BF16", folder, mr_dtype_name(dtype));
    if (mr_config_check(&model->config, folder, err)) return MR_BAD;
    mr_names_init(&j.names, &model->config);
    mr_status status = plan(&j);
    if (status == MR_OK) status = write_folder(&j, folder);
    mr_free(j.param);
    mr_free(j.tensor);
    mr_free(j.name);
    mr_free(j.row);
    return status;
}
