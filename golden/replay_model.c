/* Is a trace one of this model? Told by the configuration in its meta, before anything is run. */
#include "golden/replay_meta.h"

#include <string.h>

#include "weights/json.h"

mr_status mr_meta_of_model(const char *source, const char *text, const mr_config *c, mr_err *err) {
    const struct {
        const char *hf, *native;
        idx         want;
    } sizes[] = {
        {"hidden_size", "dim", c->dim},
        {"num_hidden_layers", "n_layers", c->n_layers},
        {"intermediate_size", "hidden_dim", c->hidden_dim},
        {"vocab_size", "vocab_size", c->vocab_size},
    };
    json_t *json = NULL;
    if (*text == '\0' || mr_json_text(source, text, (idx)strlen(text), &json, NULL)) return MR_OK;
    const json_t *config = json_object_get(json, "config");
    mr_status status = MR_OK;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && status == MR_OK; i++) {
        const json_t *found = json_object_get(config, sizes[i].hf);
        if (found == NULL) found = json_object_get(config, sizes[i].native);
        const json_int_t value = json_integer_value(found);
        if (json_is_integer(found) && value != (json_int_t)sizes[i].want)
            status = mr_fail(err, MR_BAD,
                             "%s: was recorded from another model: its %s is %lld, the model's "
                             "%td; give the model that the port ran", source, sizes[i].hf,
                             (long long)value, sizes[i].want);
    }
    json_decref(json);
    return status;
}
