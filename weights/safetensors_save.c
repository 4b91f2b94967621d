/* Saving tensors that are all in memory: sorted into file order and streamed. */
#include "weights/safetensors.h"

#include <string.h>

#include "weights/stream.h"

mr_status mr_safetensors_save(const char *path, const mr_tensor *tensor, idx count,
                              const char *const *metadata, mr_err *err) {
    mr_saver  stream = {0};
    mr_tensor *sorted = mr_alloc(count, sizeof *sorted, err);
    if (sorted == NULL) return MR_BAD;
    if (count > 0) memcpy(sorted, tensor, (size_t)count * sizeof *sorted);
    mr_saver_sort(sorted, count);

    mr_status status = mr_saver_open(&stream, path, sorted, count, metadata, err);
    for (idx i = 0; i < count && status == MR_OK; i++) {
        const mr_tensor *t = &sorted[i];
        status = mr_saver_write(&stream, t->data, mr_tensor_bytes(t), err);
    }
    if (status == MR_OK) status = mr_saver_commit(&stream, err);
    mr_saver_abandon(&stream);
    mr_free(sorted);
    return status;
}
