/* A real checkpoint trained by somebody else: greedy tokens against those of an independent
 * program on the same weights. */
#include "tests/check.h"

#include <jansson.h>
#include <string.h>

#include "ref/mr.h"
#include "tokenizer/tokenizer.h"
#include "weights/checkpoint.h"

#define MODEL "dreams-260k"

/* Feeds `prompt`, then compares greedy tokens with the list at `key` of expected.json. */
static void check_greedy(const json_t *expected, const char *key, const mr_ids *prompt,
                         mr_precision precision, mr_engine engine) {
    mr_err err = {0};
    mr_checkpoint model;
    const json_t *want = json_object_get(expected, key);
    const idx steps = (idx)json_array_size(want), capacity = prompt->count + steps;
    const mr_run_options options = {.precision = precision,
                                    .engine = engine,
                                    .n_seqs = 1,
                                    .capacity = &capacity,
                                    .max_tokens = prompt->count,
                                    .last_only = true};
    double logits[512];
    mr_run *run = NULL;
    assert_true(steps > 50);
    if (mr_checkpoint_open(test_data_file(MODEL), &model, &err) ||
        mr_run_open(&model.model, &options, &run, &err) ||
        mr_run_forward(run, prompt->id, &prompt->count, &err))
        fail_msg("%s", err.text);
    for (idx n = 0, one = 1; n < steps; n++) {
        mr_run_logits(run, 0, logits);
        const int32_t next = mr_argmax(logits, 512);
        assert_int_equal(next, json_integer_value(json_array_get(want, (size_t)n)));
        assert_int_equal(mr_run_forward(run, &next, &one, &err), MR_OK);
    }
    mr_run_close(run);
    mr_checkpoint_close(&model);
}

static void test_greedy(void **state) {
    (void)state;
    json_error_t reason;
    mr_err err = {0};
    mr_tokenizer *tokenizer;
    int32_t bos = 1;
    json_t *expected = json_load_file(test_data_file(MODEL "/expected.json"), 0, &reason);
    assert_non_null(expected);
    const mr_ids from_bos = {&bos, 1, 1};
    mr_ids prompt = {0};
    const char *text = json_string_value(json_object_get(expected, "prompt"));
    if (mr_tokenizer_open(test_data_file(MODEL), &tokenizer, &err)) fail_msg("%s", err.text);
    assert_int_equal(mr_tokenizer_encode(tokenizer, text, (idx)strlen(text), &prompt, &err), MR_OK);
    const json_t *ids = json_object_get(expected, "prompt_ids_without_bos");
    assert_int_equal(prompt.count, json_array_size(ids));
    int32_t with_bos[64] = {1};
    for (idx i = 0; i < prompt.count; i++) {
        assert_int_equal(prompt.id[i], json_integer_value(json_array_get(ids, (size_t)i)));
        with_bos[i + 1] = prompt.id[i];
    }
    const mr_ids after = {with_bos, prompt.count + 1, 64};
    for (int precision = 0; precision < 2; precision++)
        for (int engine = 0; engine < 2; engine++) {
            if (!mr_engine_built((mr_engine)engine)) continue;
            check_greedy(expected, "greedy_from_bos", &from_bos, (mr_precision)precision,
                         (mr_engine)engine);
            check_greedy(expected, "greedy_after_prompt", &after, (mr_precision)precision,
                         (mr_engine)engine);
        }
    mr_ids_free(&prompt);
    mr_tokenizer_close(tokenizer);
    json_decref(expected);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_greedy)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
