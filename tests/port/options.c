/* Reading the command line of the port program. */
#include "tests/port/options.h"

#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "port MODEL --tokens I,I,..[;I,I..] -o OUT.npz|.safetensors\n"
    "     [--dtype f32|bf16|f16] [--acc f32|tf32|f16|bf16] [--chunk N] [--decode N] [--first P,P]\n"
    "     [--layout alone|right|left|packed] [--rope-layout half|interleaved] [--reuse N]\n"
    "     [--record all|sparse|fused|GLOB,GLOB] [--bug ID]\n"
    "port --list-bugs";

/* Place of `text` among `count` words, -1 when it is none. */
static int among(const char *text, const char *const *words, int count) {
    for (int i = 0; i < count; i++)
        if (strcmp(text, words[i]) == 0) return i;
    return -1;
}

static bool whole(const char *text, int64_t low, int64_t high, int64_t *out) {
    char *end;
    *out = strtoll(text, &end, 10);
    return end != text && *end == '\0' && *out >= low && *out <= high;
}

/* Ids split by commas, sequences by semicolons. */
static bool read_tokens(const char *text, port_options *o) {
    const size_t length = strlen(text);
    idx start = 0;
    o->ids      = port_zeros((idx)length + 1, sizeof *o->ids);
    o->sequence = port_zeros((idx)length + 1, sizeof *o->sequence);
    for (;;) {
        char *end;
        const long long id = strtoll(text, &end, 10);
        if (end == text || id < 0 || id > INT32_MAX) return false;
        o->ids[o->total++] = (int32_t)id;
        if (*end != ',') {
            o->sequence[o->sequences++] =
                (port_sequence){.length = o->total - start, .record = start,
                                .tokens = o->ids + start};
            start = o->total;
        }
        if (*end == '\0') return true;
        if (*end != ',' && *end != ';') return false;
        text = end + 1;
    }
}

/* One position for all sequences, or one for each. */
static bool read_first(const char *text, port_options *o) {
    for (idx i = 0; i < o->sequences; i++) {
        char *end;
        const long long p = strtoll(text, &end, 10);
        if (end == text || p < 0 || p > 1 << 24 || (*end != ',' && *end != '\0')) return false;
        o->sequence[i].first = p;
        if (*end == ',') text = end + 1;
    }
    return true;
}

typedef struct {
    const char *tokens, *first;
} texts;

static bool set_words(port_options *o, const char *name, const char *value) {
    static const char *const dtypes[] = {"f32", "bf16", "f16"},
                      *const accs[] = {"f32", "tf32", "f16", "bf16"},
                      *const layouts[] = {"alone", "right", "left", "packed"},
                      *const ropes[] = {"interleaved", "half"};
    int at = -1;
    if (strcmp(name, "--dtype") == 0) {
        at = among(value, dtypes, 3);
        port_store = (port_storage)at;
        o->dtype   = value;
    } else if (strcmp(name, "--acc") == 0) {
        at = among(value, accs, 4);
        port_acc = (port_accumulator)at;
        o->acc   = value;
    } else if (strcmp(name, "--layout") == 0) {
        at = among(value, layouts, 4);
        o->layout      = (port_layout)at;
        o->layout_name = value;
    } else if (strcmp(name, "--rope-layout") == 0) {
        at = among(value, ropes, 2);
        o->half = at == 1;
    }
    return at >= 0;
}

static bool set(port_options *o, texts *t, const char *name, const char *value) {
    int64_t n = 0;
    if (strcmp(name, "--tokens") == 0) t->tokens = value;
    else if (strcmp(name, "--first") == 0) t->first = value;
    else if (strcmp(name, "-o") == 0) o->output = value;
    else if (strcmp(name, "--record") == 0) o->record = value;
    else if (strcmp(name, "--bug") == 0) return port_bug_parse(value);
    else if (strcmp(name, "--chunk") == 0 || strcmp(name, "--decode") == 0 ||
             strcmp(name, "--reuse") == 0) {
        if (!whole(value, 0, 1 << 24, &n)) return false;
        *(name[2] == 'c' ? &o->chunk : name[2] == 'd' ? &o->decode : &o->reuse) = (idx)n;
    } else return set_words(o, name, value);
    return true;
}

mr_status port_options_read(int argc, char **argv, port_options *out, mr_err *err) {
    texts t = {NULL, "0"};
    *out = (port_options){.record = "all", .dtype = "f32", .acc = "f32", .layout_name = "alone",
                          .half = true};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--list-bugs") == 0) {
            out->list = true;
            return MR_OK;
        }
        if (argv[i][0] != '-' && out->model == NULL) out->model = argv[i];
        else if (i + 1 == argc || !set(out, &t, argv[i], argv[i + 1]))
            return mr_fail(err, MR_USAGE, "port: %s: not understood\n%s", argv[i], usage);
        else i++;
    }
    if (out->model == NULL || out->output == NULL || t.tokens == NULL)
        return mr_fail(err, MR_USAGE, "%s", usage);
    if (!read_tokens(t.tokens, out) || !read_first(t.first, out))
        return mr_fail(err, MR_USAGE, "port: --tokens or --first: no list of numbers\n%s", usage);
    for (idx i = 0; i < out->sequences; i++) {
        port_sequence *s = &out->sequence[i];
        s->prompt = s->length - (out->decode < s->length ? out->decode : s->length - 1);
    }
    return MR_OK;
}

void port_options_free(port_options *options) {
    free(options->sequence);
    free(options->ids);
}
