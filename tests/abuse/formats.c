/* The readers of tests/abuse/formats.h. */
#include "tests/abuse/formats.h"

#include "golden/npy.h"
#include "golden/npz.h"
#include "golden/replay_meta.h"
#include "tokenizer/chat.h"
#include "weights/checkpoint.h"
#include "weights/config_write.h"
#include "weights/jsonl.h"
#include "weights/safetensors.h"
#include "weights/training.h"

/* FNV-1a */
static void add(uint64_t *hash, const void *data, size_t size) {
    const unsigned char *byte = data;
    for (size_t i = 0; i < size; i++) *hash = (*hash ^ byte[i]) * UINT64_C(1099511628211);
}

static void add_tensor(uint64_t *hash, const mr_tensor *t, const void *data) {
    if (t->name != NULL) add(hash, t->name, strlen(t->name) + 1);
    add(hash, &t->dtype, sizeof t->dtype);
    add(hash, t->dim, (size_t)t->rank * sizeof *t->dim);
    if (data != NULL) add(hash, data, (size_t)(mr_count(t->rank, t->dim) *
                                               mr_dtype_size(t->dtype)));
}

static mr_status read_set(const char *path, uint64_t *hash, mr_err *err) {
    mr_tensors set;
    const mr_status status = mr_safetensors_open(path, &set, err);
    for (idx i = 0; i < set.count; i++) add_tensor(hash, &set.tensor[i], set.tensor[i].data);
    mr_tensors_close(&set);
    return status;
}

static mr_status read_safetensors(const unsigned char *data, size_t size, uint64_t *hash,
                                  mr_err *err) {
    return read_set(fuzz_file("input.safetensors", data, size), hash, err);
}

static mr_status read_shards(const unsigned char *data, size_t size, uint64_t *hash,
                             mr_err *err) {
    static const float value[3] = {1, 2, 3};
    const mr_tensor t[3] = {{"x", MR_F32, 1, {1}, &value[0]}, {"y", MR_F32, 1, {1}, &value[1]},
                            {"z", MR_F32, 1, {1}, &value[2]}};
    static bool made;
    if (!made) {
        FUZZ_OK(mr_safetensors_save(fuzz_path("a.safetensors"), t, 2, NULL, err), err);
        FUZZ_OK(mr_safetensors_save(fuzz_path("b.safetensors"), t + 2, 1, NULL, err), err);
    }
    made = true;
    return read_set(fuzz_file("model.safetensors.index.json", data, size), hash, err);
}

static mr_status read_configuration(const char *path, uint64_t *hash, mr_err *err) {
    mr_config c;
    mr_writer text = {0};
    const mr_status status = mr_config_read(path, &c, NULL, 0, err);
    if (status != MR_OK) return status;
    mr_config_write_native(&text, &c);
    add(hash, text.data, (size_t)text.length);
    add(hash, &c.bos_id, sizeof c.bos_id);
    add(hash, &c.eos_id, sizeof c.eos_id);
    mr_writer_free(&text);
    return MR_OK;
}

static mr_status read_config(const unsigned char *data, size_t size, uint64_t *hash,
                             mr_err *err) {
    return read_configuration(fuzz_file("config.json", data, size), hash, err);
}

static mr_status read_params(const unsigned char *data, size_t size, uint64_t *hash,
                             mr_err *err) {
    return read_configuration(fuzz_file("params.json", data, size), hash, err);
}

static mr_status read_tokenizer(const unsigned char *data, size_t size, uint64_t *hash,
                                mr_err *err) {
    static const char text[] = "Hello,  w\xC3\xB6rld 123 hello ab abc";
    mr_tokenizer *t;
    mr_ids ids = {0};
    mr_status status = mr_tokenizer_open(fuzz_file("tokenizer", data, size), &t, err);
    if (status != MR_OK) return status;
    status = mr_tokenizer_encode(t, text, (idx)sizeof text - 1, &ids, err);
    const idx count = mr_tokenizer_size(t);
    add(hash, &count, sizeof count);
    if (ids.count > 0) add(hash, ids.id, (size_t)ids.count * sizeof *ids.id);
    mr_ids_free(&ids);
    mr_tokenizer_close(t);
    return status;
}

static mr_status read_chat(const unsigned char *data, size_t size, uint64_t *hash, mr_err *err) {
    static const char *const versions[] = {"v1", "v2", "v3", "v7", "v11", "v13", NULL, NULL};
    mr_text text = {0};
    mr_ids ids = {0};
    if (size == 0) return mr_fail(err, MR_BAD, "no version");
    const mr_tokenizer *t = fuzz_tokenizer(data[0] & 8 ? "golden/chat/tekken.json"
                                                       : "golden/chat/small.model");
    const mr_status status = mr_chat_encode(t, versions[data[0] & 7], (const char *)data + 1,
                                            (idx)size - 1, &text, &ids, err);
    if (status == MR_OK) add(hash, ids.id, (size_t)ids.count * sizeof *ids.id);
    mr_text_free(&text);
    mr_ids_free(&ids);
    return status;
}

static mr_status read_npy(const unsigned char *data, size_t size, uint64_t *hash, mr_err *err) {
    mr_tensor t = {0};
    idx length;
    if (size < MR_NPY_FIRST) return mr_fail(err, MR_BAD, "too short");
    mr_status status = mr_npy_length(data, "input", &length, err);
    if (status == MR_OK && length > (idx)size) return mr_fail(err, MR_BAD, "cut short");
    if (status == MR_OK) status = mr_npy_parse(data, length, "input", &t, err);
    if (status == MR_OK) add_tensor(hash, &t, NULL);
    return status;
}

static mr_status read_npz(const unsigned char *data, size_t size, uint64_t *hash, mr_err *err) {
    mr_npz *npz;
    mr_status status = mr_npz_open(fuzz_file("input.npz", data, size), &npz, err);
    if (status != MR_OK) return status;
    for (idx i = 0; i < mr_npz_count(npz) && status == MR_OK; i++) {
        const mr_tensor *t = mr_npz_tensor(npz, i);
        void *out = mr_alloc(mr_count(t->rank, t->dim), mr_dtype_size(t->dtype), err);
        status = out != NULL ? mr_npz_read(npz, i, out, err) : MR_BAD;
        if (status == MR_OK) add_tensor(hash, t, out);
        mr_free(out);
    }
    mr_npz_close(npz);
    return status;
}

static mr_status read_jsonl(const unsigned char *data, size_t size, uint64_t *hash, mr_err *err) {
    mr_jsonl lines;
    json_t *object = NULL;
    FUZZ_OK(mr_jsonl_open(&lines, fuzz_file("input.jsonl", data, size), err), err);
    mr_status status;
    while ((status = mr_jsonl_next(&lines, &object, err)) == MR_OK && object != NULL) {
        char *text = json_dumps(object, JSON_COMPACT);
        add(hash, text, strlen(text));
        free(text);   /* jansson's allocator */
        json_decref(object);
    }
    mr_jsonl_close(&lines);
    return status;
}

static mr_status read_meta(const unsigned char *data, size_t size, uint64_t *hash, mr_err *err) {
    mr_meta meta;
    char *text = mr_alloc((idx)size + 1, 1, err);
    FUZZ(text != NULL);
    memcpy(text, data, size);
    const mr_status status = mr_meta_read("meta", text, &meta, err);
    if (status == MR_OK) {
        add(hash, meta.length, (size_t)meta.n_seqs * sizeof *meta.length);
        add(hash, meta.tokens, (size_t)meta.count * sizeof *meta.tokens);
        mr_meta_free(&meta);
    }
    mr_free(text);
    return status;
}

/* The model of the samples. */
static mr_status read_training(const unsigned char *data, size_t size, uint64_t *hash,
                               mr_err *err) {
    static const mr_config c = {.dim = 2, .n_layers = 1, .head_dim = 2, .hidden_dim = 1,
                                .n_heads = 1, .n_kv_heads = 1, .vocab_size = 2, .norm_eps = 1e-5,
                                .rope_theta = 1e4, .bos_id = -1, .eos_id = -1};
    static mr_checkpoint part[3];
    for (int i = 0; i < 3 && part[i].model.layers == NULL; i++)
        FUZZ_OK(mr_checkpoint_init(&c, (uint64_t)i, MR_F32, &part[i], err), err);
    json_t *settings = json_pack("{s:i}", "seed", 7);
    mr_training state = {.part = {&part[0].model, &part[1].model, &part[2].model}, .columns = 3,
                         .settings = settings};
    const mr_status status = mr_training_load(fuzz_file("input.state", data, size), &state, err);
    if (status == MR_OK) {
        add(hash, state.counter, sizeof state.counter);
        add(hash, &state.best, sizeof state.best);
        add(hash, state.log, (size_t)(state.rows * state.columns) * sizeof *state.log);
    }
    mr_free(state.log);
    json_decref(settings);
    return status;
}

const mr_abuse_format mr_abuse_formats[] = {
    {"safetensors", "golden/cases/dense_gqa/model.safetensors", read_safetensors, ABUSE_HEADED, 0,
     true},
    {"training", NULL, read_training, ABUSE_HEADED, 0, true},
    {"shards", NULL, read_shards, ABUSE_TEXT, 0, true},
    {"config", "golden/cases/mixtral_e5k2/config.json", read_config, ABUSE_TEXT, 0, true},
    {"params", NULL, read_params, ABUSE_TEXT, 0, true},
    {"sentencepiece", "golden/chat/small.model", read_tokenizer, ABUSE_BINARY, 0, false},
    {"tekken", "golden/chat/tekken.json", read_tokenizer, ABUSE_TEXT, 0, true},
    {"hf", "golden/tokenizers/hf_nfkc.json", read_tokenizer, ABUSE_TEXT, 0, true},
    {"chat", NULL, read_chat, ABUSE_TEXT, 1, true},
    {"npy", NULL, read_npy, ABUSE_BINARY, 0, false},
    {"npz", "golden/cases/dense_gqa/t1.f32.npz", read_npz, ABUSE_BINARY, 0, true},
    {"jsonl", NULL, read_jsonl, ABUSE_TEXT, 0, false},
    {"meta", NULL, read_meta, ABUSE_TEXT, 0, true},
};
const size_t mr_abuse_count = sizeof mr_abuse_formats / sizeof *mr_abuse_formats;
