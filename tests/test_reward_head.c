/* Models with a score in place of next tokens: Hugging Face's ...ForSequenceClassification, read,
 * saved, sized and run. */
#include "tests/command.h"

#include "tests/config_text.h"
#include "weights/names.h"

#define CLASS "'architectures':['MistralForSequenceClassification']"
#define NO_WINDOW MISTRAL "'sliding_window':null,"

/* What transformers makes of these keys: 2 labels unless their names or their number are there. */
static void read_labels(void **state) {
    static const struct { const char *json; idx labels; const char *warning; } cases[] = {
        {NO_WINDOW "'architectures':['MistralForCausalLM']}", 0, ""},
        {NO_WINDOW "'architectures':[]}", 0, ""},
        {NO_WINDOW "'architectures':null,'num_labels':3}", 0, ""},
        {NO_WINDOW CLASS "}", 2, ""},
        {NO_WINDOW CLASS ",'num_labels':3}", 3, ""},
        {NO_WINDOW CLASS ",'id2label':{'0':'good'},'num_labels':3}", 1, ""},
        {NO_WINDOW CLASS ",'id2label':null,'num_labels':40}", 40, ""},
        {NO_WINDOW CLASS ",'tie_word_embeddings':true}", 2, "a score head is not tied"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mr_config c;
        mr_err e;
        char warning[1024] = "";
        if (read_text("config.json", cases[i].json, &c, warning, &e)) fail_msg("%s", e.text);
        assert_int_equal(c.n_labels, cases[i].labels);
        assert_false(c.tied_embeddings);
        if (strstr(warning, cases[i].warning) == NULL) fail_msg("warning: %s", warning);
    }
}

static void refused_labels(void **state) {
    static const struct { const char *name, *json, *message; } cases[] = {
        {"config.json", NO_WINDOW CLASS ",'id2label':{}}", "0 labels"},
        {"config.json", NO_WINDOW CLASS ",'num_labels':-1}", "-1 labels"},
        {"config.json", NO_WINDOW CLASS ",'num_labels':41}", "to vocab_size, found 41"},
        {"config.json", NO_WINDOW CLASS ",'id2label':3}", "id2label"},
        {"params.json", NATIVE THETA "'n_labels':-2}", "labels"},
        {"params.json", NATIVE THETA "'n_labels':1,'tied_embeddings':true}", "head of its own"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mr_config c;
        mr_err e;
        char warning[1024];
        check_refused(read_text(cases[i].name, cases[i].json, &c, warning, &e), MR_BAD, &e,
                      cases[i].message);
    }
}

/* PyTorch's model through both layouts and back: every element, the name of the head, its place. */
static void saved_and_read(void **state) {
    static const char *const models[] = {"golden/cases/grad_reward",
                                         "golden/cases/grad_reward_moe"};
    (void)state;
    for (int n = 0; n < 2; n++) {
        mr_checkpoint a, b, c;
        mr_err e = {0};
        must(mr_checkpoint_open(models[n], &a, &e), &e);
        must(mr_checkpoint_save(&a.model, scratch("native"), MR_LAYOUT_NATIVE, true, MR_F64, &e),
             &e);
        must(mr_checkpoint_open(scratch("native"), &b, &e), &e);
        must(mr_checkpoint_save(&b.model, scratch("hf"), MR_LAYOUT_HF, true, MR_F64, &e), &e);
        must(mr_checkpoint_open(scratch("hf"), &c, &e), &e);
        assert_int_equal(b.model.config.n_labels, 1);
        assert_int_equal(c.model.config.n_labels, 1);
        assert_true(mr_tensors_find(&b.tensors, "score.weight") != NULL);
        assert_true(mr_tensors_find(&b.tensors, "output.weight") == NULL);
        assert_int_equal(a.tensors.count, c.tensors.count);
        for (idx i = 0; i < a.tensors.count; i++) {
            const mr_tensor *t = &a.tensors.tensor[i];
            const mr_tensor *u = mr_tensors_find(&c.tensors, t->name);
            if (u == NULL) fail_msg("%s is missing", t->name);
            check_bits(t->name, t->data, u->data, mr_count(t->rank, t->dim), 2);
        }
        assert_int_equal(a.model.output.rows, 1);
        assert_ptr_equal(a.model.output.data,
                         mr_tensors_find(&a.tensors, "score.weight")->data);
        mr_checkpoint_close(&a);
        mr_checkpoint_close(&b);
        mr_checkpoint_close(&c);
    }
}

/* By hand: V 13, d 10, L 2, H 4, G 2, D 4, F 12: 13*10 + 10 + 1*10 + 2 (480 + 20 + 360). */
static void commands(void **state) {
    static const expectation all[] = {
        {"info golden/cases/grad_reward", 0, "parameters          1870", ""},
        {"info golden/cases/grad_reward", 0, "a score head of 1 labels", ""},
        {"info golden/cases/grad_reward --json", 0, "\"n_labels\":1", ""},
        {"logits golden/cases/grad_reward --tokens 1,2", 0, "1 (2):  0 ", ""},
        {"run golden/cases/grad_reward --tokens 1,2", 3, "", "no next tokens"},
        {"score golden/cases/grad_reward --tokens 1,2", 3, "", "no next tokens"},
        {"convert golden/cases/grad_reward_moe -o @/n --to native", 0, "", ""},
        {"info @/n", 0, "a score head", ""},
    };
    (void)state;
    CHECK_ALL(all);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_labels), cmocka_unit_test(refused_labels),
        cmocka_unit_test(saved_and_read), cmocka_unit_test(commands)};
    return cmocka_run_group_tests(tests, scratch_open, remove_scratch);
}
