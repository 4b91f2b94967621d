/* `info` on the real configurations of the family: every figure against the published ones. */
#define _POSIX_C_SOURCE 200809L
#include "tests/check.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* Parameters and FLOPs as published; they follow from the papers' tables and were cross-checked
 * with parameter counts that
 * other programs print (Nemo 12,247,782,400). cache: elements of the cache at `context` tokens,
 * windows included. */
static const struct {
    const char *config;
    json_int_t  total, active, attention, ffn, flops, per_key, cache_bytes, context, cache;
} models[] = {
    {"mistral-7b-v0.1.json", 7241732096, 7241732096, 41943040, 176160768, 14220787712, 524288,
     131072, 32768, 4096LL * 65536},
    {"mistral-7b-v0.2.json", 7241732096, 7241732096, 41943040, 176160768, 14220787712, 524288,
     131072, 32768, 32768LL * 65536},
    {"mistral-7b-v0.3.json", 7248023552, 7248023552, 41943040, 176160768, 14227079168, 524288,
     131072, 131072, 131072LL * 65536},
    {"mathstral-7b-v0.1.json", 7248023552, 7248023552, 41943040, 176160768, 14227079168, 524288,
     131072, 32768, 4096LL * 65536},
    {"mathstral-native", 7248023552, 7248023552, 41943040, 176160768, 14227079168, 524288, 131072,
     32768, 32768LL * 65536},
    {"mixtral-8x7b-v0.1.json", 46702792704, 12879925248, 41943040, 176160768, 25497174016, 524288,
     131072, 32768, 32768LL * 65536},
    {"mixtral-8x22b-v0.1.json", 140620634112, 39152031744, 88080384, 301989888, 77909458944,
     1376256, 229376, 32768, 32768LL * 114688},
    {"mixtral-8x22b-v0.3.json", 140630071296, 39161468928, 88080384, 301989888, 77918896128,
     1376256, 229376, 65536, 65536LL * 114688},
    {"mistral-nemo-2407.json", 12247782400, 12247782400, 52428800, 220200960, 23152558080, 655360,
     163840, 131072, 131072LL * 81920},
    {"mistral-large-2407.json", 122610069504, 122610069504, 327155712, 1056964608, 244410482688,
     4325376, 360448, 131072, 131072LL * 180224},
};

/* NULL: refused, since sizes of this build (make m32) cannot count the parameters. */
static json_t *info(const char *config, json_int_t context) {
    char command[512];
    snprintf(command, sizeof command,
             "./mistral-ref info tests/configs/%s --context %lld --json 2>&1", config,
             (long long)context);
    FILE *in = popen(command, "r");
    char text[4096];
    text[fread(text, 1, sizeof text - 1, in)] = '\0';
    const int status = pclose(in);
    if (!WIDE_SIZES && status == 0x300 && strstr(text, "sizes overflow") != NULL) return NULL;
    json_error_t reason;
    json_t *result = json_loads(text, 0, &reason);
    assert_int_equal(status, 0);
    assert_non_null(result);
    return result;
}

static void check(const json_t *result, const char *config, const char *key, json_int_t want) {
    const json_int_t got = json_integer_value(json_object_get(result, key));
    if (got != want)
        fail_msg("%s: %s is %lld, want %lld", config, key, (long long)got, (long long)want);
}

static void test_published_figures(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        const char *config = models[i].config;
        json_t *r = info(config, models[i].context);
        if (r == NULL) continue;
        check(r, config, "parameters", models[i].total);
        check(r, config, "active_parameters", models[i].active);
        check(r, config, "attention_parameters_per_layer", models[i].attention);
        check(r, config, "ffn_parameters", models[i].ffn);
        check(r, config, "flops_per_token", models[i].flops);
        check(r, config, "flops_per_attended_key", models[i].per_key);
        check(r, config, "cache_bytes_per_token_16bit", models[i].cache_bytes);
        check(r, config, "cache_elements", models[i].cache);
        check(json_object_get(r, "weight_bytes"), config, "bf16", 2 * models[i].total);
        json_decref(r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_published_figures)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
