/* Option values: strict, locale-independent, one message each. */
#include "cli/cli.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer/lists.h"
#include "weights/input.h"

mr_status mr_value_int(const char *option, const char *text, int64_t least, int64_t most,
                       int64_t *out, mr_err *err) {
    char *end;
    if (text == NULL) return MR_OK;
    errno = 0;
    const long long value = strtoll(text, &end, 10);
    if (*text == '\0' || *end != '\0' || errno != 0 || value < least || value > most)
        return mr_fail(err, MR_USAGE, "%s: expected an integer from %lld to %lld, found \"%s\"",
                       option, (long long)least, (long long)most, text);
    *out = value;
    return MR_OK;
}

mr_status mr_value_number(const char *option, const char *text, double *out, mr_err *err) {
    char *end;
    if (text == NULL) return MR_OK;
    /* the program never calls setlocale, so "." is the point */
    const double value = strtod(text, &end);
    if (*text == '\0' || *end != '\0' || !isfinite(value))
        return mr_fail(err, MR_USAGE, "%s: expected a finite number, found \"%s\"", option, text);
    *out = value;
    return MR_OK;
}

mr_status mr_value_ids(const char *option, const char *text, mr_ids *out, mr_err *err) {
    while (*text != '\0') {
        char *end;
        errno = 0;
        const long value = strtol(text, &end, 10);
        if (end == text || errno != 0 || value < INT32_MIN || value > INT32_MAX ||
            (*end != '\0' && *end != ',') || (*end == ',' && end[1] == '\0'))
            return mr_fail(err, MR_USAGE,
                           "%s: expected token ids such as 1,22557,3304, found \"%s\"", option,
                           text);
        if (mr_ids_push(out, (int32_t)value, err)) return MR_BAD;
        text = *end == ',' ? end + 1 : end;
    }
    return out->count > 0 ? MR_OK
                          : mr_fail(err, MR_USAGE, "%s: expected at least one token id", option);
}

mr_status mr_value_word(const char *option, const char *text, const char *words, int *out,
                        mr_err *err) {
    if (text == NULL) return MR_OK;
    const size_t length = strlen(text);
    int n = 0;
    for (const char *word = words; word != NULL; n++) {
        const char *bar = strchr(word, '|');
        const size_t size = bar != NULL ? (size_t)(bar - word) : strlen(word);
        if (size == length && memcmp(word, text, size) == 0) {
            *out = n;
            return MR_OK;
        }
        word = bar != NULL ? bar + 1 : NULL;
    }
    return mr_fail(err, MR_USAGE, "%s: expected %s, found \"%s\"", option, words, text);
}

static mr_status read_all(FILE *in, const char *path, mr_text *out, mr_err *err) {
    size_t got;
    do {
        if (mr_text_reserve(out, 65536, err)) return MR_BAD;
        got = mr_input_read(out->byte + out->count, 65535, in);
        out->count += (idx)got;
    } while (got > 0);
    out->byte[out->count] = '\0';
    return ferror(in) ? mr_fail(err, MR_BAD, "%s: reading failed: %s", path, strerror(errno))
                      : MR_OK;
}

mr_status mr_value_file(const char *path, mr_text *out, mr_err *err) {
    if (strcmp(path, "-") == 0) return read_all(stdin, "standard input", out, err);
    FILE *in = mr_input_open(path);
    if (in == NULL) return mr_fail(err, MR_BAD, "%s: cannot be opened: %s", path, strerror(errno));
    const mr_status status = read_all(in, path, out, err);
    fclose(in);
    return status;
}

mr_status mr_value_sampling(const mr_args *args, mr_sampling *how, mr_rng *rng, mr_err *err) {
    int64_t seed = 0, top_k = 0;
    *how = (mr_sampling){.top_p = 1};
    if (mr_value_int("--seed", args->seed, 0, INT64_MAX, &seed, err) ||
        mr_value_int("--top-k", args->top_k, 0, INT32_MAX, &top_k, err) ||
        mr_value_number("--temp", args->temperature, &how->temperature, err) ||
        mr_value_number("--top-p", args->top_p, &how->top_p, err)) return MR_USAGE;
    if (how->temperature < 0 || how->top_p <= 0)
        return mr_fail(err, MR_USAGE, "--temp must be 0 or more and --top-p above 0");
    how->top_k = (idx)top_k;
    *rng = mr_rng_seed((uint64_t)seed);
    return MR_OK;
}
