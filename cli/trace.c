/* trace: every intermediate tensor of a run, in one file. */
#define _POSIX_C_SOURCE 200809L
#include "cli/cli.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "golden/replay_grad.h"
#include "golden/trace.h"
#include "tokenizer/lists.h"

typedef struct {
    mr_trace_writer *writer;
    const char      *only;   /* NULL: everything */
    mr_err          *err;
} recorder;

static bool tap(void *user, const mr_tensor *tensor) {
    recorder *r = user;
    if (r->err->code != MR_OK || (r->only != NULL && fnmatch(r->only, tensor->name, 0) != 0))
        return false;
    if (tensor->data != NULL) mr_trace_add(r->writer, tensor, r->err);
    return true;
}

/* CRC-32 over name, dtype, shape and the first and last 4 KiB of every tensor: tells models apart
 * without reading them whole. */
static uint32_t fingerprint(const mr_tensors *set) {
    uLong crc = crc32(0, NULL, 0);
    for (idx i = 0; i < set->count; i++) {
        const mr_tensor *t = &set->tensor[i];
        const idx bytes = mr_count(t->rank, t->dim) * mr_dtype_size(t->dtype),
                  part = bytes < 4096 ? bytes : 4096;
        const unsigned char *data = t->data;
        crc = crc32(crc, (const unsigned char *)t->name, (uInt)strlen(t->name));
        crc = crc32(crc, (const unsigned char *)mr_dtype_name(t->dtype),
                    (uInt)strlen(mr_dtype_name(t->dtype)));
        for (int d = 0; d < t->rank; d++)
            crc = crc32(crc, (const unsigned char *)&t->dim[d], sizeof t->dim[d]);
        crc = crc32(crc, data, (uInt)part);
        crc = crc32(crc, data + (bytes - part), (uInt)part);
    }
    return (uint32_t)crc;
}

static char *meta(const mr_args *args, const mr_session *s, idx chunk) {
    char crc[16];
    snprintf(crc, sizeof crc, "%08lx", (unsigned long)fingerprint(&s->checkpoint.tensors));
    const mr_config *c = &s->checkpoint.model.config;
    json_t *m = json_pack("{s:s,s:[o],s:[i],s:s,s:s,s:s,s:s,s:s,s:I,s:n,s:s,s:s,s:o}", "format",
                          "mistral-ref trace 1", "tokens", mr_json_ids(s->ids.id, s->ids.count),
                          "first_position", 0, "precision",
                          args->precision != NULL ? args->precision : "f32", "convention",
                          c->convention == MR_HF ? "hf" : "native", "rope_angles",
                          c->rope_angles == MR_ANGLES_EXACT ? "exact" : "f32", "rope_layout",
                          c->rope_layout == MR_HALF_SPLIT ? "half" : "interleaved", "engine",
                          s->options.engine == MR_BLAS_ENGINE ? "blas" : "plain", "chunk",
                          (json_int_t)chunk, "seed", "model_fingerprint", crc, "program",
                          "mistral-ref " MR_VERSION, "config", mr_config_json(c));
    char *text = m != NULL ? json_dumps(m, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(m);
    return text;
}

/* Feeds the prompt, then `steps` greedy tokens, each computed and traced as one more call. */
static mr_status feed(mr_session *s, idx chunk, int64_t steps, double *logits, mr_err *err) {
    if (mr_session_feed(s, 0, chunk, NULL, NULL, err)) return err->code;
    for (int64_t n = 0; n < steps; n++) {
        mr_run_logits(s->run, mr_run_rows(s->run) - 1, logits);
        if (mr_ids_push(&s->ids, mr_argmax(logits, s->checkpoint.model.config.vocab_size), err) ||
            mr_session_feed(s, s->ids.count - 1, 1, NULL, NULL, err)) return err->code;
    }
    mr_run_show_cache(s->run);
    return MR_OK;
}

/* A gradient is that of one call on the whole prompt. */
static mr_status check_gradient(const mr_args *args, const mr_session *s, mr_err *err) {
    if (!args->grad) return MR_OK;
    if (args->chunk != NULL || args->decode != NULL)
        return mr_fail(err, MR_USAGE, "trace: --grad takes the prompt in one call; drop "
                       "--chunk and --decode");
    if (s->ids.count < 2 && s->checkpoint.model.config.n_labels == 0)
        return mr_fail(err, MR_USAGE, "trace: --grad needs at least two tokens, found %td",
                       s->ids.count);
    return MR_OK;
}

static mr_status gradient(const mr_args *args, mr_session *s, recorder *r, mr_err *err) {
    const mr_dtype dtype = s->options.precision == MR_F64_RUN ? MR_F64 : MR_F32;
    const idx n = s->ids.count;
    if (!args->grad) return MR_OK;
    return mr_replay_grad(s->run, &s->checkpoint.model, dtype, s->ids.id, &n, 1, false, tap, r,
                          err);
}

static mr_status record(const mr_args *args, mr_session *s, mr_err *err) {
    int64_t chunk = s->ids.count, steps = 0;
    if (mr_value_int("--chunk", args->chunk, 1, INT32_MAX, &chunk, err) ||
        mr_value_int("--decode", args->decode, 0, INT32_MAX, &steps, err) ||
        check_gradient(args, s, err)) return MR_USAGE;
    if (steps > 0 && mr_session_language(s, err)) return MR_BAD;
    if (chunk > s->ids.count) chunk = s->ids.count;
    const idx calls = (s->ids.count + (idx)chunk - 1) / (idx)chunk + (idx)steps;
    double *logits = mr_alloc(s->checkpoint.model.config.vocab_size, sizeof *logits, err);
    recorder r = {NULL, args->only, err};
    char *text = NULL;
    s->options.train = args->grad;
    if (logits != NULL && mr_trace_create(args->output, calls, &r.writer, err) == MR_OK &&
        mr_session_run(s, (idx)steps, (idx)chunk, false, tap, &r, err) == MR_OK &&
        feed(s, (idx)chunk, steps, logits, err) == MR_OK &&
        gradient(args, s, &r, err) == MR_OK && err->code == MR_OK) {
        text = meta(args, s, (idx)chunk);
        if (text == NULL) mr_fail(err, MR_BAD, "out of memory while forming meta");
        else {
            mr_trace_finish(r.writer, text, err);
            r.writer = NULL;
        }
    }
    mr_trace_abandon(r.writer);
    mr_free(logits);
    free(text);   /* jansson's allocator */
    return err->code;
}

mr_status mr_cmd_trace(const mr_args *args, mr_err *err) {
    mr_session s = {0};
    if (args->output == NULL)
        return mr_fail(err, MR_USAGE, "trace: -o OUT.npz or -o OUT.safetensors is needed");
    if (mr_session_open(args, NULL, &s, err)) return err->code;
    record(args, &s, err);
    if (err->code == MR_OK && args->json)
        mr_print_json(json_pack("{s:s,s:o}", "output", args->output, "tokens",
                                mr_json_ids(s.ids.id, s.ids.count)),
                      err);
    mr_session_close(&s);
    return err->code;
}
