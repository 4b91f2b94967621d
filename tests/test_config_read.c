/* config.json and params.json: what each dialect means, absent against null. */
#include "tests/config_text.h"

/* What was read, in short: G heads, head_dim D, E experts, K of them; windows, 0 for none. */
static void describe(const mr_config *c, char *text, size_t size) {
    size_t n = (size_t)snprintf(text, size, "G%td D%td E%td/%td theta %.17g eps %.17g ids %d %d"
                                "%s W", c->n_kv_heads, c->head_dim, c->n_experts,
                                c->n_experts_per_tok, c->rope_theta, c->norm_eps,
                                (int)c->bos_id, (int)c->eos_id, c->tied_embeddings ? " tied" : "");
    for (idx i = 0; i < c->n_windows && n < size; i++)
        n += (size_t)snprintf(text + n, size - n, " %td", c->windows[i]);
    assert_true(c->dim == 24 && c->n_layers == 4 && c->hidden_dim == 20 && c->n_heads == 6 &&
                c->vocab_size == 40);
}

#define EPS "eps 1.0000000000000001e-05"
#define COMMON "theta 10000 " EPS " ids 1 2"     /* what most rows below have */
#define DENSE "G2 D8 E0/0 " COMMON " W"
#define LAYER_TYPES(a, b, c, d) "'layer_types':['" a "','" b "','" c "','" d "']}"
#define FULL "full_attention"
#define SLIDES "sliding_attention"

/* file, its text, what it means, a part of the warning ("": there is none) */
static const struct { const char *name, *json, *means, *warning; } cases[] = {
    {"config.json", MISTRAL "'sliding_window':7}", DENSE " 7", ""},
    {"config.json", MISTRAL "'sliding_window':null}", DENSE, ""},
    {"config.json", MISTRAL "'use_cache':true}", DENSE " 4096",
     "sliding_window is absent: 4096"},
    {"config.json", MIXTRAL "'sliding_window':null}", "G2 D8 E5/3 " COMMON " W", ""},
    {"config.json", MIXTRAL "'dtype':'bfloat16'}", "G2 D8 E5/3 " COMMON " W", ""},
    {"any.json", MIXTRAL "'sliding_window':7}", "G2 D8 E5/3 " COMMON " W 7", ""},
    {"config.json",
     "{'model_type':'mistral'," HEADS "'rms_norm_eps':0.5,'sliding_window':null}",
     "G2 D8 E0/0 theta 10000 eps 0.5 ids 1 2 W", "rope_theta is absent: 10000"},
    {"config.json", "{'model_type':'mistral'," HEADS "'rope_theta':1,'sliding_window':null}",
     "G2 D8 E0/0 theta 1 eps 9.9999999999999995e-07 ids 1 2 W",
     "rms_norm_eps is absent: 1e-06"},
    {"config.json", "{'model_type':'mixtral'," HEADS "'rope_theta':1}",
     "G2 D8 E8/2 theta 1 " EPS " ids 1 2 W", "rms_norm_eps is absent: 1e-05"},
    {"config.json", "{'model_type':'mixtral'," HEADS "'rope_theta':1}",
     "G2 D8 E8/2 theta 1 " EPS " ids 1 2 W", "num_local_experts is absent: 8"},
    {"config.json", "{'model_type':'mixtral'," HEADS "'rms_norm_eps':0.5}",
     "G2 D8 E8/2 theta 1000000 eps 0.5 ids 1 2 W", "rope_theta is absent: 1e+06"},
    {"config.json",
     "{'model_type':'mistral'," SIZES REST "'num_key_value_heads':null,'head_dim':null,"
     "'sliding_window':null}", "G6 D4 E0/0 " COMMON " W", "head_dim is null: taken as"},
    {"config.json",
     "{'model_type':'mistral'," SIZES REST "'num_key_value_heads':3,'sliding_window':null}",
     "G3 D4 E0/0 " COMMON " W",
     "head_dim is absent: taken as hidden_size / num_attention_heads = 4"},
    {"config.json",
     "{'model_type':'mistral'," HEADS "'rms_norm_eps':1e-5,'sliding_window':null,"
     "'rope_parameters':{'rope_theta':5000.0,'rope_type':'default'}}",
     "G2 D8 E0/0 theta 5000 " EPS " ids 1 2 W", ""},
    {"config.json", MISTRAL "'sliding_window':null,'rope_parameters':{'rope_theta':5000}}",
     "G2 D8 E0/0 theta 5000 " EPS " ids 1 2 W", "inside rope_parameters"},
    {"config.json", MISTRAL "'sliding_window':null,'rope_scaling':null,'rope_parameters':null}",
     DENSE, ""},
    {"config.json",
     MISTRAL "'sliding_window':null,'tie_word_embeddings':true,'bos_token_id':5,"
     "'eos_token_id':[7,8]}", "G2 D8 E0/0 theta 10000 " EPS " ids 5 7 tied W",
     "eos_token_id lists 2 ids"},
    {"config.json", MISTRAL "'sliding_window':null,'bos_token_id':null,'eos_token_id':null}",
     "G2 D8 E0/0 theta 10000 " EPS " ids -1 -1 W", ""},
    {"config.json", MISTRAL "'sliding_window':7," LAYER_TYPES(FULL, SLIDES, SLIDES, FULL),
     DENSE " 0 7 7 0", "layer_types followed"},
    {"config.json", MISTRAL "'sliding_window':7," LAYER_TYPES(SLIDES, SLIDES, SLIDES, SLIDES),
     DENSE " 7", ""},
    {"config.json", MISTRAL "'sliding_window':7," LAYER_TYPES(FULL, FULL, FULL, FULL), DENSE,
     "layer_types followed"},
    {"config.json", MISTRAL "'sliding_window':null,'mystery':3,'off':false,'none':null}", DENSE,
     "unknown keys ignored: mystery"},
    {"params.json", NATIVE "'rope_theta':1e4}", DENSE, ""},
    {"any.json",
     NATIVE THETA "'sliding_window':7,'max_batch_size':3,'model_type':'transformer'}",
     DENSE " 7", ""},
    {"params.json", NATIVE THETA "'sliding_window':'7'}", DENSE " 7", ""},
    {"params.json", NATIVE THETA "'_sliding_window':[7,null]}", DENSE " 7 0", ""},
    {"params.json", NATIVE THETA "'sliding_window':[9]}", DENSE " 9", ""},
    {"params.json", NATIVE THETA "'sliding_window':[null,'7',8,9]}", DENSE " 0 7 8 9", ""},
    {"params.json", NATIVE THETA "'sliding_window':[null,null],'_sliding_window':null}", DENSE,
     ""},
    {"params.json", NATIVE "'sliding_window':7}", DENSE " 7", "rope_theta is absent: 1e4"},
    {"params.json", NATIVE "'sliding_window':null}",
     "G2 D8 E0/0 theta 1000000 " EPS " ids 1 2 W", "rope_theta is absent: 1e6"},
    {"params.json", NATIVE_SIZES "'rope_theta':1e4}", "G6 D4 E0/0 " COMMON " W",
     "head_dim is absent: taken as dim / n_heads = 4"},
    {"params.json",
     NATIVE THETA "'moe':{'num_experts':5,'num_experts_per_tok':3},'tied_embeddings':true}",
     "G2 D8 E5/3 " COMMON " tied W", ""},
    {"params.json", NATIVE THETA "'moe':null,'lora':null,'vision_encoder':null}", DENSE, ""},
    {"params.json", NATIVE THETA "'lora':{'rank':8}}", DENSE, "lora is ignored"},
    {"params.json", "{" HEADS REST "'num_local_experts':5}", "G2 D8 E5/2 " COMMON " W",
     "num_experts_per_tok is absent: 2"},
    {"params.json",
     "{" SIZES "'rms_norm_eps':1e-5,'num_local_experts':5,'num_experts_per_tok':2,"
     "'sliding_window':'7'}", "G6 D4 E5/2 " COMMON " W 7", "rope_theta is absent: 1e4"},
};

static void test_meanings(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mr_config c;
        mr_err    err;
        char      warning[1024], means[512];
        if (read_text(cases[i].name, cases[i].json, &c, warning, &err))
            fail_msg("%s: %s", cases[i].json, err.text);
        describe(&c, means, sizeof means);
        if (strcmp(means, cases[i].means) != 0)
            fail_msg("%s: read as %s, want %s", cases[i].json, means, cases[i].means);
        const bool told = strstr(warning, cases[i].warning) != NULL;
        if (cases[i].warning[0] == '\0' ? warning[0] != '\0' : !told)
            fail_msg("%s: warning \"%s\", want \"%s\"", cases[i].json, warning, cases[i].warning);
    }
}

/* Conventions come from nobody's file. */
static void test_defaults(void **state) {
    mr_config c;
    mr_err    err;
    char      warning[1024];
    (void)state;
    assert_int_equal(read_text("config.json", MISTRAL "'max_position_embeddings':77}", &c, warning,
                               &err), MR_OK);
    assert_true(c.window_rule == MR_WINDOW_SWA && c.rope_layout == MR_INTERLEAVED &&
                c.rope_angles == MR_ANGLES_F32);
    assert_true(c.storage == MR_STORE_WIDE && c.convention == MR_NATIVE && !c.router_weights_wide);
    assert_true(c.attention_rounding == MR_ATTENTION_EAGER && c.router_order == MR_TOPK_SOFTMAX);
    assert_true(c.expert_order == MR_EXPERTS_ASCENDING && !(c.capacity_factor > 0) &&
                c.max_positions == 77);
    assert_int_equal(mr_config_read(scratch("config.json"), &c, NULL, 0, NULL), MR_OK);
}

/* A folder: config.json before params.json, told; neither, refused. Long lists of unknown keys are
 * cut. */
static void test_folder(void **state) {
    mr_config c;
    mr_err    err;
    char      warning[1024], keys[3000] = MISTRAL "'sliding_window':null";
    (void)state;
    scratch_clean(state);
    err = (mr_err){0};
    check_refused(mr_config_read(scratch_folder, &c, warning, 1024, &err), MR_BAD, &err,
                  "neither config.json");
    err = (mr_err){0};
    check_refused(mr_config_read(scratch("absent.json"), &c, warning, 1024, &err), MR_BAD, &err,
                  "cannot open");
    assert_int_equal(read_text("params.json", NATIVE "'rope_theta':1}", &c, warning, &err), MR_OK);
    assert_int_equal(mr_config_read(scratch_folder, &c, warning, 1024, &err), MR_OK);
    assert_string_equal(warning, "");
    for (int i = 0; i < 100; i++) snprintf(keys + strlen(keys), 32, ",'unknown_key_%d':1", i);
    strcat(keys, "}");
    assert_int_equal(read_text("config.json", keys, &c, warning, &err), MR_OK);
    assert_non_null(strstr(warning, "unknown keys ignored: unknown_key_0, "));
    assert_non_null(strstr(warning, " more"));
    assert_int_equal(mr_config_read(scratch_folder, &c, warning, 1024, &err), MR_OK);
    assert_non_null(strstr(warning, "are both there: config.json taken"));
    char *large = calloc(1000002, 1);
    assert_non_null(large);
    memset(large, ' ', 1000001);
    const char *path = scratch_write("big.json", large, 1000001);
    check_refused(mr_config_read(path, &c, warning, 1024, &err), MR_BAD, &err, "more than 1000000");
    memcpy(large, "{\"dim\":1}", 9);
    err = (mr_err){0};
    scratch_write("big.json", large, 1000000);
    check_refused(mr_config_read(path, &c, warning, 1024, &err), MR_BAD, &err, "n_layers: ");
    free(large);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_meanings), cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_folder)};
    return cmocka_run_group_tests_name("config_read", tests, scratch_open, scratch_close);
}
