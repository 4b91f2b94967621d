/* config.json and params.json: what each dialect means, absent against null, and every refusal with its message. */
#include "tests/scratch.h"

#include "weights/checkpoint.h"

/* JSON with ' for ", into a file of that name; then read. */
static mr_status read_text(const char *name, const char *json, mr_config *c, char *warning, mr_err *err) {
    char text[4096];
    const size_t n = strlen(json);
    assert_true(n < sizeof text);
    for (size_t i = 0; i < n; i++) text[i] = json[i] == '\'' ? '"' : json[i];
    *err = (mr_err){0};
    return mr_config_read(scratch_write(name, text, n), c, warning, 1024, err);
}

#define SIZES "'hidden_size':24,'num_hidden_layers':4,'intermediate_size':20,'num_attention_heads':6," \
              "'vocab_size':40,"
#define HEADS SIZES "'num_key_value_heads':2,'head_dim':8,"
#define REST "'rms_norm_eps':1e-5,'rope_theta':1e4,"
#define MISTRAL "{'model_type':'mistral'," HEADS REST
#define MIXTRAL "{'model_type':'mixtral','num_local_experts':5,'num_experts_per_tok':3," HEADS REST
#define NATIVE_SIZES "{'dim':24,'n_layers':4,'hidden_dim':20,'n_heads':6,'vocab_size':40,'norm_eps':1e-5,"
#define NATIVE NATIVE_SIZES "'n_kv_heads':2,'head_dim':8,"
#define THETA "'rope_theta':1e4,"

/* What a file says and what it means. windows: up to four; -1 ends the list. */
typedef struct {
    const char *name, *json;
    idx         kv_heads, head_dim, experts, per_token;
    double      theta, eps;
    idx         windows[5];
    bool        tied;
    int32_t     bos, eos;
    const char *warning;     /* a part of it; "" for none at all */
} meaning;

static const meaning meanings[] = {
    {"config.json", MISTRAL "'sliding_window':7}", 2, 8, 0, 0, 1e4, 1e-5, {7, -1}, false, 1, 2, ""},
    {"config.json", MISTRAL "'sliding_window':null}", 2, 8, 0, 0, 1e4, 1e-5, {-1}, false, 1, 2, ""},
    {"config.json", MISTRAL "'use_cache':true}", 2, 8, 0, 0, 1e4, 1e-5, {4096, -1}, false, 1, 2,
     "sliding_window is absent: 4096"},
    {"config.json", MIXTRAL "'sliding_window':null}", 2, 8, 5, 3, 1e4, 1e-5, {-1}, false, 1, 2, ""},
    {"config.json", MIXTRAL "'dtype':'bfloat16'}", 2, 8, 5, 3, 1e4, 1e-5, {-1}, false, 1, 2, ""},
    {"any.json", MIXTRAL "'sliding_window':7}", 2, 8, 5, 3, 1e4, 1e-5, {7, -1}, false, 1, 2, ""},
    {"config.json", "{'model_type':'mistral'," HEADS "'sliding_window':null}", 2, 8, 0, 0, 1e4, 1e-6, {-1}, false, 1, 2,
     "rope_theta is absent: 10000"},
    {"config.json", "{'model_type':'mistral'," HEADS "'sliding_window':null,'rope_theta':1}", 2, 8, 0, 0, 1, 1e-6,
     {-1}, false, 1, 2, "rms_norm_eps is absent: 1e-06"},
    {"config.json", "{'model_type':'mixtral'," HEADS "'rope_theta':1}", 2, 8, 8, 2, 1, 1e-5,
     {-1}, false, 1, 2, "num_local_experts is absent: 8"},
    {"config.json", "{'model_type':'mixtral'," HEADS "'rms_norm_eps':0.5}", 2, 8, 8, 2, 1e6, 0.5,
     {-1}, false, 1, 2, "rope_theta is absent: 1e+06"},
    {"config.json", "{'model_type':'mistral'," SIZES REST "'num_key_value_heads':null,'head_dim':null,"
     "'sliding_window':null}", 6, 4, 0, 0, 1e4, 1e-5, {-1}, false, 1, 2, "head_dim is null: taken as"},
    {"config.json", "{'model_type':'mistral'," SIZES REST "'num_key_value_heads':3,'sliding_window':null}", 3, 4,
     0, 0, 1e4, 1e-5, {-1}, false, 1, 2, "head_dim is absent: taken as hidden_size / num_attention_heads = 4"},
    {"config.json", "{'model_type':'mistral'," HEADS "'rms_norm_eps':1e-5,'sliding_window':null,"
     "'rope_parameters':{'rope_theta':5000.0,'rope_type':'default'}}", 2, 8, 0, 0, 5000, 1e-5, {-1}, false, 1, 2, ""},
    {"config.json", MISTRAL "'sliding_window':null,'rope_parameters':{'rope_theta':5000}}", 2, 8, 0, 0, 5000, 1e-5,
     {-1}, false, 1, 2, "inside rope_parameters"},
    {"config.json", MISTRAL "'sliding_window':null,'rope_scaling':null,'rope_parameters':null}", 2, 8, 0, 0, 1e4, 1e-5,
     {-1}, false, 1, 2, ""},
    {"config.json", MISTRAL "'sliding_window':null,'tie_word_embeddings':true,'bos_token_id':5,"
     "'eos_token_id':[7,8]}", 2, 8, 0, 0, 1e4, 1e-5, {-1}, true, 5, 7, "eos_token_id lists 2 ids"},
    {"config.json", MISTRAL "'sliding_window':null,'bos_token_id':null,'eos_token_id':null}", 2, 8, 0, 0, 1e4, 1e-5,
     {-1}, false, -1, -1, ""},
    {"config.json", MISTRAL "'sliding_window':7,'layer_types':['full_attention','sliding_attention',"
     "'sliding_attention','full_attention']}", 2, 8, 0, 0, 1e4, 1e-5, {0, 7, 7, 0, -1}, false, 1, 2, "layer_types followed"},
    {"config.json", MISTRAL "'sliding_window':7,'layer_types':['sliding_attention','sliding_attention',"
     "'sliding_attention','sliding_attention']}", 2, 8, 0, 0, 1e4, 1e-5, {7, -1}, false, 1, 2, ""},
    {"config.json", MISTRAL "'sliding_window':null,'mystery':3,'off':false,'none':null}", 2, 8, 0, 0, 1e4, 1e-5,
     {-1}, false, 1, 2, "unknown keys ignored: mystery"},
    {"params.json", NATIVE "'rope_theta':1e4}", 2, 8, 0, 0, 1e4, 1e-5, {-1}, false, 1, 2, ""},
    {"any.json", NATIVE THETA "'sliding_window':7,'max_batch_size':3,'model_type':'transformer'}", 2, 8, 0, 0, 1e4,
     1e-5, {7, -1}, false, 1, 2, ""},
    {"params.json", NATIVE THETA "'sliding_window':'7'}", 2, 8, 0, 0, 1e4, 1e-5, {7, -1}, false, 1, 2, ""},
    {"params.json", NATIVE THETA "'_sliding_window':[7,null]}", 2, 8, 0, 0, 1e4, 1e-5, {7, 0, -1}, false, 1, 2, ""},
    {"params.json", NATIVE THETA "'sliding_window':[null,'7',8,9]}", 2, 8, 0, 0, 1e4, 1e-5, {0, 7, 8, 9, -1}, false, 1, 2,
     ""},
    {"params.json", NATIVE THETA "'sliding_window':[null,null],'_sliding_window':null}", 2, 8, 0, 0, 1e4, 1e-5, {-1},
     false, 1, 2, ""},
    {"params.json", NATIVE "'sliding_window':7}", 2, 8, 0, 0, 1e4, 1e-5, {7, -1}, false, 1, 2, "rope_theta is absent: 1e4"},
    {"params.json", NATIVE "'sliding_window':null}", 2, 8, 0, 0, 1e6, 1e-5, {-1}, false, 1, 2, "rope_theta is absent: 1e6"},
    {"params.json", NATIVE_SIZES "'rope_theta':1e4}", 6, 4, 0, 0, 1e4, 1e-5, {-1}, false, 1, 2,
     "head_dim is absent: taken as dim / n_heads = 4"},
    {"params.json", NATIVE THETA "'moe':{'num_experts':5,'num_experts_per_tok':3},'tied_embeddings':true}", 2, 8, 5,
     3, 1e4, 1e-5, {-1}, true, 1, 2, ""},
    {"params.json", NATIVE THETA "'moe':null,'lora':null,'vision_encoder':null}", 2, 8, 0, 0, 1e4, 1e-5, {-1}, false, 1,
     2, ""},
    {"params.json", NATIVE THETA "'lora':{'rank':8}}", 2, 8, 0, 0, 1e4, 1e-5, {-1}, false, 1, 2, "lora is ignored"},
    {"params.json", "{" HEADS REST "'num_local_experts':5}", 2, 8, 5, 2, 1e4, 1e-5, {-1}, false, 1, 2,
     "num_experts_per_tok is absent: 2"},
    {"params.json", "{" SIZES "'rms_norm_eps':1e-5,'num_local_experts':5,'num_experts_per_tok':2,'sliding_window':'7'}",
     6, 4, 5, 2, 1e4, 1e-5, {7, -1}, false, 1, 2, "rope_theta is absent: 1e4"},
};

static void check_meaning(const meaning *m) {
    mr_config c;
    mr_err    err;
    char      warning[1024];
    idx       n = 0;
    if (read_text(m->name, m->json, &c, warning, &err)) fail_msg("%s: %s", m->json, err.text);
    while (m->windows[n] >= 0) n++;
    bool same = c.dim == 24 && c.n_layers == 4 && c.hidden_dim == 20 && c.n_heads == 6 && c.vocab_size == 40 &&
                c.n_kv_heads == m->kv_heads && c.head_dim == m->head_dim && c.n_experts == m->experts &&
                c.n_experts_per_tok == m->per_token && c.tied_embeddings == m->tied && c.bos_id == m->bos &&
                c.eos_id == m->eos && c.n_windows == n &&
                memcmp(&c.rope_theta, &m->theta, sizeof m->theta) == 0 &&
                memcmp(&c.norm_eps, &m->eps, sizeof m->eps) == 0;
    for (idx i = 0; i < n && same; i++) same = c.windows[i] == m->windows[i];
    if (!same) fail_msg("%s: read wrongly", m->json);
    if (m->warning[0] == '\0' ? warning[0] != '\0' : strstr(warning, m->warning) == NULL)
        fail_msg("%s: warning \"%s\", want \"%s\"", m->json, warning, m->warning);
}

static void test_meanings(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
        check_meaning(&meanings[i]);
}

/* Each with the file's name in front. (The class default of 8 KV heads does not divide 6 heads.) */
static void test_refusals(void **state) {
    static const struct { const char *name, *json, *text; } cases[] = {
        {"config.json", "", "line 1, column 0"},
        {"config.json", "{'model_type':}", "line 1, column"},
        {"config.json", "{'model_type':'mistral','model_type':'mistral'}", "duplicate"},
        {"config.json", "[]", "expected an object, found a list"},
        {"config.json", "{'a':1}", "neither hidden_size (config.json) nor dim (params.json)"},
        {"config.json", "{'dim':1,'hidden_size':1}", "has both dim and hidden_size"},
        {"config.json", "{" HEADS REST "'x':1}", "model_type is absent"},
        {"config.json", "{'architectures':[]," HEADS REST "'x':1}", "model_type is absent"},
        {"config.json", "{'model_type':null," HEADS REST "'x':1}", "model_type is null"},
        {"config.json", "{'model_type':'llama'," HEADS REST "'x':1}", "\"llama\" is an unknown architecture"},
        {"config.json", "{'model_type':'mamba2','hidden_size':4}", "Mamba"},
        {"config.json", "{'model_type':'pixtral','hidden_size':4}", "vision model"},
        {"config.json", "{'model_type':'mistral3','text_config':{},'vision_config':{}}", "vision model"},
        {"config.json", MISTRAL "'vision_config':{}}", "vision model"},
        {"config.json", MISTRAL "'quantization_config':{}}", "quantised"},
        {"config.json", "{'model_type':'mistral','hidden_size':4}", "num_hidden_layers: expected an integer"},
        {"config.json", "{'model_type':'mistral'," SIZES REST "'x':1}", "not a multiple of n_kv_heads 8"},
        {"config.json", "{'model_type':'mistral'," SIZES REST "'num_key_value_heads':4,'sliding_window':1}",
         "n_heads 6 is not a multiple of n_kv_heads 4"},
        {"config.json", "{'model_type':'mistral','hidden_size':25,'num_hidden_layers':1,'intermediate_size':4,"
         "'num_attention_heads':6,'num_key_value_heads':2,'vocab_size':4}", "25 is not a multiple of num_attention_heads 6"},
        {"config.json", "{'model_type':'mistral','hidden_size':24.0}", "hidden_size: expected an integer"},
        {"config.json", "{'model_type':'mistral','hidden_size':'24'}", "hidden_size: expected an integer, found a string"},
        {"config.json", "{'model_type':'mistral','hidden_size':99999999999999999999}", "column"},
        {"config.json", MISTRAL "'sliding_window':0}", "sliding_window is 0; expected 1 or more keys, or null"},
        {"config.json", MISTRAL "'sliding_window':-1}", "sliding_window is -1"},
        {"config.json", MISTRAL "'sliding_window':'7'}", "expected an integer or null, found a string"},
        {"config.json", MISTRAL "'sliding_window':[7]}", "expected an integer or null, found a list"},
        {"config.json", MISTRAL "'sliding_window':true}", "found true"},
        {"config.json", MISTRAL "'layer_types':['full_attention']}", "layer_types lists 1 layers; expected 4"},
        {"config.json", MISTRAL "'layer_types':['full_attention',1,2,3]}", "for layer 1"},
        {"config.json", MISTRAL "'sliding_window':null,'layer_types':['sliding_attention','full_attention',"
         "'full_attention','full_attention']}", "sliding_window is null"},
        {"config.json", MISTRAL "'hidden_act':'gelu'}", "hidden_act is \"gelu\"; expected \"silu\""},
        {"config.json", MISTRAL "'hidden_act':null}", "hidden_act is \"null\""},
        {"config.json", MISTRAL "'rope_parameters':{'rope_type':'yarn','factor':4}}", "rope_type \"yarn\""},
        {"config.json", MISTRAL "'rope_scaling':{'type':'linear','factor':4}}", "rope_type \"linear\""},
        {"config.json", MISTRAL "'rope_parameters':{'rope_theta':'x'}}", "rope_parameters.rope_theta: expected a number"},
        {"config.json", MISTRAL "'rope_parameters':{'full_attention':{}}}", "differs between kinds of layers"},
        {"config.json", MISTRAL "'rope_parameters':{'partial_rotary_factor':0.5}}", "partial_rotary_factor 0.5"},
        {"config.json", MISTRAL "'rope_parameters':7}", "rope_parameters: expected an object"},
        {"config.json", MISTRAL "'tie_word_embeddings':1}", "tie_word_embeddings: expected true or false"},
        {"config.json", MISTRAL "'eos_token_id':-1}", "eos_token_id: expected a token id"},
        {"config.json", MISTRAL "'eos_token_id':[]}", "eos_token_id: expected a token id"},
        {"config.json", MISTRAL "'max_position_embeddings':-1}", "max_position_embeddings"},
        {"config.json", "{'model_type':'mistral'," HEADS "'rms_norm_eps':null}", "rms_norm_eps: expected a number, found null"},
        {"config.json", "{'model_type':'mistral'," HEADS "'rope_theta':0}", "rope_theta above 0"},
        {"config.json", "{'model_type':'mixtral','num_local_experts':0," HEADS REST "'x':1}", "num_local_experts is 0"},
        {"config.json", "{'model_type':'mixtral','num_local_experts':null," HEADS REST "'x':1}", "found null"},
        {"config.json", "{'model_type':'mixtral','num_experts_per_tok':9," HEADS REST "'x':1}", "1 to 8 experts per token"},
        {"params.json", "{}", "dim: expected an integer, found nothing"},
        {"params.json", "{'dim':0,'n_layers':4,'hidden_dim':20,'n_heads':6,'vocab_size':40,'norm_eps':1e-5}", "dim"},
        {"params.json", "{'dim':24,'n_layers':4,'hidden_dim':20,'n_heads':6,'vocab_size':40}", "norm_eps: expected a number"},
        {"params.json", NATIVE "'model_type':'mamba'}", "Mamba"},
        {"params.json", NATIVE "'model_type':'other'}", "unknown architecture"},
        {"params.json", NATIVE "'vision_encoder':{}}", "vision model"},
        {"params.json", NATIVE "'quantization':{}}", "quantised"},
        {"params.json", NATIVE "'yarn':{}}", "YaRN"},
        {"params.json", NATIVE "'sliding_window':0}", "sliding_window is 0"},
        {"params.json", NATIVE "'sliding_window':'0'}", "sliding_window is 0"},
        {"params.json", NATIVE "'sliding_window':'x'}", "no number of keys"},
        {"params.json", NATIVE "'sliding_window':''}", "no number of keys"},
        {"params.json", NATIVE "'sliding_window':'99999999999'}", "no number of keys"},
        {"params.json", NATIVE "'sliding_window':4294967296}", "sliding_window is 4294967296"},
        {"params.json", NATIVE "'sliding_window':[7,7,7]}", "lists 3 entries, which do not divide the 4 layers"},
        {"params.json", NATIVE "'sliding_window':[]}", "lists 0 entries"},
        {"params.json", NATIVE "'sliding_window':[7,0]}", "sliding_window is 0"},
        {"params.json", NATIVE "'sliding_window':{}}", "found an object"},
        {"params.json", NATIVE "'sliding_window':7,'_sliding_window':7}", "both set"},
        {"params.json", NATIVE "'moe':{'num_experts':5}}", "moe.num_experts_per_tok: expected an integer, found nothing"},
        {"params.json", NATIVE "'moe':{'num_experts':0,'num_experts_per_tok':0}}", "moe.num_experts is 0"},
        {"params.json", NATIVE "'moe':{'num_experts':2,'num_experts_per_tok':3}}", "1 to 2 experts per token"},
        {"params.json", NATIVE "'moe':7}", "moe: expected an object"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mr_config c;
        mr_err    err;
        char      warning[1024];
        check_refused(read_text(cases[i].name, cases[i].json, &c, warning, &err), MR_BAD, &err, cases[i].text);
        if (strncmp(err.text, scratch_folder, strlen(scratch_folder)) != 0) fail_msg("no file name: %s", err.text);
    }
}

/* Conventions come from nobody's file. */
static void test_defaults(void **state) {
    mr_config c;
    mr_err    err;
    char      warning[1024];
    (void)state;
    assert_int_equal(read_text("config.json", MISTRAL "'max_position_embeddings':77}", &c, warning, &err), MR_OK);
    assert_true(c.window_rule == MR_WINDOW_SWA && c.rope_layout == MR_INTERLEAVED && c.rope_angles == MR_ANGLES_F32);
    assert_true(c.storage == MR_STORE_WIDE && c.convention == MR_NATIVE && !c.router_weights_wide);
    assert_true(c.attention_rounding == MR_ATTENTION_EAGER && c.router_order == MR_TOPK_SOFTMAX);
    assert_true(c.expert_order == MR_EXPERTS_ASCENDING && !(c.capacity_factor > 0) && c.max_positions == 77);
    assert_int_equal(mr_config_read(scratch("config.json"), &c, NULL, 0, NULL), MR_OK);
}

/* A folder: config.json before params.json, told; neither, refused. Long lists of unknown keys are cut. */
static void test_folder(void **state) {
    mr_config c;
    mr_err    err;
    char      warning[1024], keys[3000] = MISTRAL "'sliding_window':null";
    (void)state;
    scratch_clean(state);
    err = (mr_err){0};
    check_refused(mr_config_read(scratch_folder, &c, warning, 1024, &err), MR_BAD, &err, "neither config.json");
    err = (mr_err){0};
    check_refused(mr_config_read(scratch("absent.json"), &c, warning, 1024, &err), MR_BAD, &err, "cannot open");
    assert_int_equal(read_text("params.json", NATIVE "'rope_theta':1}", &c, warning, &err), MR_OK);
    assert_int_equal(mr_config_read(scratch_folder, &c, warning, 1024, &err), MR_OK);
    assert_string_equal(warning, "");
    for (int i = 0; i < 100; i++) snprintf(keys + strlen(keys), 32, ",'unknown_key_%d':1", i);
    strcat(keys, "}");
    assert_int_equal(read_text("config.json", keys, &c, warning, &err), MR_OK);
    assert_non_null(strstr(warning, "unknown keys ignored: unknown_key_0, "));
    assert_non_null(strstr(warning, " more"));
    assert_int_equal(mr_config_read(scratch_folder, &c, warning, 1024, &err), MR_OK);
    assert_non_null(strstr(warning, "config.json and params.json are both there: config.json taken"));
    char *large = calloc(1000002, 1);
    assert_non_null(large);
    memset(large, ' ', 1000001);
    check_refused(mr_config_read(scratch_write("big.json", large, 1000001), &c, warning, 1024, &err), MR_BAD, &err,
                  "more than 1000000 bytes");
    memcpy(large, "{\"dim\":1}", 9);
    err = (mr_err){0};
    check_refused(mr_config_read(scratch_write("big.json", large, 1000000), &c, warning, 1024, &err), MR_BAD, &err,
                  "n_layers: expected");
    free(large);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_meanings), cmocka_unit_test(test_refusals),
                                       cmocka_unit_test(test_defaults), cmocka_unit_test(test_folder)};
    return cmocka_run_group_tests_name("config_read", tests, scratch_open, scratch_close);
}
