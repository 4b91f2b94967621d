/* info: what a configuration means in parameters, FLOPs and bytes. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

/* Keys that one more token attends to, averaged over layers: windows bound it. */
static double attended(const mr_config *c, idx context) {
    return (double)mr_config_cache(c, context) /
           (2.0 * (double)(c->n_layers * c->n_kv_heads * c->head_dim));
}

/* Private bytes of `run` for `context` tokens, in f32. */
static idx run_bytes(const mr_config *c, idx context) {
    const mr_model model = {.config = *c};
    const mr_run_options o = {.n_seqs = 1,
                              .capacity = &context,
                              .max_tokens = context < MR_CHUNK ? context : MR_CHUNK,
                              .last_only = c->n_labels == 0};
    return mr_run_size(&model, &o);
}

static json_t *document(const mr_config *c, const char *warning, idx context) {
    const mr_sizes s = mr_config_sizes(c);
    const int64_t cache = mr_config_cache(c, context);
    json_t *d = json_pack(
        "{s:o,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:f}", "config", mr_config_json(c),
        "parameters", (json_int_t)s.total, "active_parameters", (json_int_t)s.active,
        "attention_parameters_per_layer", (json_int_t)s.attention, "ffn_parameters",
        (json_int_t)s.ffn, "flops_per_token", (json_int_t)s.flops_token, "flops_per_attended_key",
        (json_int_t)s.flops_key, "cache_elements_per_token", (json_int_t)s.cache_token,
        "cache_bytes_per_token_16bit", 2 * (json_int_t)s.cache_token, "context",
        (json_int_t)context, "cache_elements", (json_int_t)cache, "flops_per_token_at_context",
        (double)s.flops_token + (double)s.flops_key * attended(c, context));
    json_object_set_new(d, "weight_bytes",
                        json_pack("{s:I,s:I,s:I,s:I}", "f64", 8 * (json_int_t)s.total, "f32",
                                  4 * (json_int_t)s.total, "bf16", 2 * (json_int_t)s.total,
                                  "f16", 2 * (json_int_t)s.total));
    json_object_set_new(
        d, "cache_bytes",
        json_pack("{s:I,s:I}", "f32", 4 * (json_int_t)cache, "bf16", 2 * (json_int_t)cache));
    json_object_set_new(d, "run_bytes", json_integer((json_int_t)run_bytes(c, context)));
    if (warning[0] != '\0') json_object_set_new(d, "note", json_string(warning));
    return d;
}

/* A byte count in the unit that fits it. */
static const char *human(char text[32], double bytes) {
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    int unit = 0;
    for (; bytes >= 1000 && unit < 4; unit++) bytes /= 1000;
    snprintf(text, 32, "%.*f %s", unit > 0 ? 2 : 0, bytes, units[unit]);
    return text;
}

static void print_text(const mr_config *c, const char *warning, idx context) {
    const mr_sizes s = mr_config_sizes(c);
    const double cache = (double)mr_config_cache(c, context);
    char half[32], full[32];
    printf("dim %td, %td layers, %td query and %td KV heads of %td, hidden %td, vocabulary %td\n",
           c->dim, c->n_layers, c->n_heads, c->n_kv_heads, c->head_dim, c->hidden_dim,
           c->vocab_size);
    if (c->n_labels > 0) printf("a score head of %td labels, no next tokens\n", c->n_labels);
    if (c->n_experts > 0)
        printf("%td experts, %td per token\n", c->n_experts, c->n_experts_per_tok);
    printf("rope_theta %g, norm_eps %g, ", c->rope_theta, c->norm_eps);
    if (c->n_windows == 0) printf("no sliding window\n");
    for (idx i = 0; i < c->n_windows; i++)
        printf("%s%td%s", i ? "," : "sliding window ", c->windows[i],
               i + 1 == c->n_windows ? "\n" : "");
    printf("parameters          %lld\nactive per token    %lld\n", (long long)s.total,
           (long long)s.active);
    printf("  attention, a layer %lld\n  FFN or one expert %lld\n", (long long)s.attention,
           (long long)s.ffn);
    printf("FLOPs per token     %lld + %lld per attended key\n", (long long)s.flops_token,
           (long long)s.flops_key);
    printf("cache per token     %lld elements, %lld bytes in 16 bits\n", (long long)s.cache_token,
           2 * (long long)s.cache_token);
    printf("cache at %td tokens  %s in 16 bits, %s in f32\n", context, human(half, 2 * cache),
           human(full, 4 * cache));
    printf("run of %td tokens  %s of its own in f32, beside the file\n", context,
           human(half, (double)run_bytes(c, context)));
    printf("FLOPs at %td tokens  %.6g for the next token\n", context,
           (double)s.flops_token + (double)s.flops_key * attended(c, context));
    printf("weights             %s in 16 bits, %s in f32\n", human(half, (double)s.total * 2),
           human(full, (double)s.total * 4));
    if (warning[0] != '\0') printf("note: %s\n", warning);
}

static bool ends_with(const char *text, const char *ending) {
    const size_t n = strlen(text), m = strlen(ending);
    return n >= m && strcmp(text + n - m, ending) == 0;
}

/* The folder's tokenizer, if it has one: kind, version, size, and the Unicode tables it splits by.
 * */
static void describe_tokenizer(const char *folder, json_t *into) {
    mr_tokenizer *t = NULL;
    if (mr_tokenizer_open(folder, &t, NULL)) return;
    const char *kind = mr_tokenizer_kind(t), *version = mr_tokenizer_version(t);
    const char *unicode = mr_tokenizer_unicode(t);
    const idx size = mr_tokenizer_size(t);
    const int32_t bos = mr_tokenizer_bos(t), eos = mr_tokenizer_eos(t);
    if (into != NULL)
        json_object_set_new(into, "tokenizer",
                            json_pack("{s:s,s:s,s:I,s:I,s:I,s:s}", "kind", kind, "version", version,
                                      "size", (json_int_t)size, "bos", (json_int_t)bos, "eos",
                                      (json_int_t)eos, "unicode", unicode));
    else
        printf("tokenizer           %s %s, %td ids, BOS %ld, EOS %ld%s%s\n", kind, version, size,
               (long)bos, (long)eos, *unicode != '\0' ? ", Unicode " : "", unicode);
    mr_tokenizer_close(t);
}

mr_status mr_cmd_info(const mr_args *args, mr_err *err) {
    if (ends_with(args->model, ".npz") || ends_with(args->model, ".safetensors"))
        return mr_info_trace(args, err);
    mr_config c;
    char warning[1024] = "";
    if (mr_config_read(args->model, &c, warning, sizeof warning, err) || mr_override(args, &c, err))
        return err->code;
    int64_t context = c.max_positions > 0 ? c.max_positions : 32768;
    if (mr_value_int("--context", args->context, 1, INT32_MAX, &context, err)) return err->code;
    json_t *result = args->json ? document(&c, warning, (idx)context) : NULL;
    if (result == NULL) print_text(&c, warning, (idx)context);
    describe_tokenizer(args->model, result);
    return result != NULL ? mr_print_json(result, err) : MR_OK;
}
