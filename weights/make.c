/* A model out of nothing but its configuration: one block of data, one of names, bound like any
 * file. */
#include "weights/make.h"

#include <stdlib.h>

#include "weights/header.h"
#include "weights/text.h"

typedef struct {
    char *names;            /* [count][MR_NAME_SIZE] */
    char *data;
} heap;

static void release_heap(void *owner) {
    heap *h = owner;
    if (h == NULL) return;
    mr_free(h->names);
    mr_free(h->data);
    mr_free(h);
}

/* Bytes of all parameters; false when they overflow. */
static bool total_bytes(const mr_names *names, idx size, idx *bytes) {
    *bytes = 0;
    for (idx i = 0; i < names->count; i++) {
        const mr_kind *k = mr_names_at(names, i).kind;
        idx one;
        if (!mr_mul(k->rows, k->cols, &one) || !mr_mul(one, size, &one) ||
            !mr_add(*bytes, one, bytes))
            return false;
    }
    return true;
}

/* In the order of the table, so that a model of one seed is the same however it is sorted later. */
static void fill_all(mr_tensors *set, const mr_names *names, mr_dtype dtype, mr_fill *fill,
                     const void *user) {
    heap *h = set->owner;
    char *data = h->data;
    for (idx i = 0; i < names->count; i++) {
        const mr_param param = mr_names_at(names, i);
        const mr_kind *k = param.kind;
        char *name = h->names + i * MR_NAME_SIZE;
        mr_param_name(param, MR_LAYOUT_NATIVE, name);
        set->tensor[i] = (mr_tensor){name, dtype, k->rank, {k->rank == 1 ? k->cols : k->rows},
                                     data};
        if (k->rank == 2) set->tensor[i].dim[1] = k->cols;
        fill(user, param, name, dtype, data);
        data += mr_tensor_bytes(&set->tensor[i]);
    }
    set->count = names->count;
    qsort(set->tensor, (size_t)set->count, sizeof *set->tensor, mr_tensor_by_name);
}

/* Bound by the same code as a file: a made model obeys the rules that a read one does. */
mr_status mr_checkpoint_make(const mr_config *config, mr_dtype dtype, mr_fill *fill,
                             const void *user, const char *source, mr_checkpoint *out,
                             mr_err *err) {
    mr_names   names;
    mr_tensors set = {0};
    idx        bytes = 0;
    *out = (mr_checkpoint){0};
    if (mr_config_check(config, source, err)) return MR_BAD;
    mr_names_init(&names, config);
    /* The limit of files holds here too, and comes before a walk over 2^31 layers. */
    if (names.count > MR_MAX_TENSORS || !total_bytes(&names, mr_dtype_size(dtype), &bytes))
        return mr_fail(err, MR_BAD, "%s: %td tensors are too many or too large", source,
                       names.count);

    heap *h = mr_alloc(1, sizeof *h, err);
    if (h == NULL) return MR_BAD;
    set = (mr_tensors){.owner = h, .release = release_heap, .source = mr_string_copy(source, err)};
    set.tensor = mr_alloc(names.count, sizeof *set.tensor, err);
    h->names = mr_alloc(names.count, MR_NAME_SIZE, err);
    h->data = mr_alloc(bytes, 1, err);
    if (set.source == NULL || set.tensor == NULL || h->names == NULL || h->data == NULL) {
        mr_tensors_close(&set);
        return MR_BAD;
    }
    fill_all(&set, &names, dtype, fill, user);
    return mr_checkpoint_bind(&set, config, out, err);
}
