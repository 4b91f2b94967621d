/* Reading a configuration: which file, which dialect, the defaults, and the rules at the end. */
#include <string.h>

#include "weights/checkpoint.h"
#include "weights/config_parts.h"
#include "weights/folder.h"
#include "weights/text.h"

/* Conventions are choices of the reader, not of the file; {0} of most enumerations is the default,
 * but a default that matters is better written than inherited. */
static mr_config defaults(void) {
    return (mr_config){
        .bos_id = 1, .eos_id = 2,
        .window_rule = MR_WINDOW_SWA, .rope_layout = MR_INTERLEAVED, .rope_angles = MR_ANGLES_F32,
        .storage = MR_STORE_WIDE, .convention = MR_NATIVE, .attention_rounding = MR_ATTENTION_EAGER,
        .router_order = MR_TOPK_SOFTMAX, .router_weights_wide = false,
        .expert_order = MR_EXPERTS_ASCENDING, .capacity_factor = 0,
        .capacity_rank = MR_CAPACITY_TOKENS};
}

/* The dialect is told by the words, because both files are called many things. Only the first
 * Mixtral release has Hugging Face's words without saying what it is, and there the file's name
 * decides. */
static mr_status read_dialect(mr_config_reader *r, const char *path) {
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    const bool  native = json_object_get(r->json.object, "dim") != NULL;
    const bool  hf = json_object_get(r->json.object, "hidden_size") != NULL;
    const bool  typed = json_object_get(r->json.object, "model_type") != NULL ||
                        json_object_get(r->json.object, "architectures") != NULL;
    if (native && hf)
        return mr_config_fail(r, "has both dim and hidden_size; expected params.json or "
                              "config.json");
    if (hf && !typed && strcmp(name, "params.json") == 0) return mr_config_read_torrent(r);
    if (native || strcmp(name, "params.json") == 0) return mr_config_read_native(r);
    if (hf || typed) return mr_config_read_hf(r);
    return mr_config_fail(r, "has neither hidden_size (config.json) nor dim (params.json); "
                          "expected the configuration of a model");
}

/* The dialect fills, mr_config_check judges: rules that hold for every source are in one place. */
static mr_status read_object(const json_t *root, const char *path, mr_config *out, char *warning,
                             idx size, mr_err *err) {
    if (!json_is_object(root))
        return mr_fail(err, MR_BAD, "%s: expected an object, found %s", path, mr_json_kind(root));
    mr_config_reader r = {{root, path, "", err, MR_OK}, out, warning, size};
    mr_status status = read_dialect(&r, path);
    if (status == MR_OK) status = mr_config_check(out, path, err);
    if (status == MR_OK && out->max_positions < 0)
        status = mr_fail(err, MR_BAD, "%s: max_position_embeddings (max_seq_len) is %td; expected "
                         "0 or more", path, out->max_positions);
    return status;
}

static mr_status read_file(const char *path, mr_config *out, char *warning, idx size, mr_err *err) {
    json_t   *root = NULL;
    mr_status status = mr_json_file(path, MR_JSON_CONFIG_CAP, &root, err);
    if (status == MR_OK) status = read_object(root, path, out, warning, size, err);
    json_decref(root);
    return status;
}

mr_status mr_config_read_json(const json_t *root, const char *source, mr_config *out,
                              mr_err *err) {
    char warning[1024] = "";
    *out = defaults();
    return read_object(root, source, out, warning, sizeof warning, err);
}

mr_status mr_config_read(const char *path, mr_config *out, char *warning, idx size, mr_err *err) {
    char  spare[1024];
    char *inside = NULL;
    bool  both = false;
    if (warning == NULL || size < 1) {          /* nobody listens */
        warning = spare;
        size = sizeof spare;
    }
    warning[0] = '\0';
    *out = defaults();
    if (mr_path_is_folder(path)) {
        inside = mr_folder_config(path, &both, err);
        if (inside == NULL) return MR_BAD;
    }
    if (both) {
        mr_config_reader r = {.warning = warning, .size = size};
        mr_config_note(&r, "config.json and params.json are both there: config.json taken");
    }
    mr_status status = read_file(inside != NULL ? inside : path, out, warning, size, err);
    mr_free(inside);
    return status;
}
