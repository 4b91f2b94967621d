/* Configurations that must not be read, each with its reason: one line per bad file. */
#include "tests/config_text.h"

/* File, its text, part of the message. (The class default of 8 KV heads does not divide 6.) */
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
    {"config.json", "{'model_type':'llama'," HEADS REST "'x':1}",
     "\"llama\" is an unknown architecture"},
    {"config.json", "{'model_type':'mamba2','hidden_size':4}", "Mamba"},
    {"config.json", "{'model_type':'pixtral','hidden_size':4}", "vision model"},
    {"config.json", "{'model_type':'mistral3','text_config':{},'vision_config':{}}",
     "vision model"},
    {"config.json", MISTRAL "'vision_config':{}}", "vision model"},
    {"config.json", MISTRAL "'quantization_config':{}}", "quantised"},
    {"config.json", "{'model_type':'mistral','hidden_size':4}",
     "num_hidden_layers: expected an integer"},
    {"config.json", "{'model_type':'mistral'," SIZES REST "'x':1}",
     "not a multiple of n_kv_heads 8"},
    {"config.json",
     "{'model_type':'mistral'," SIZES REST "'num_key_value_heads':4,'sliding_window':1}",
     "n_heads 6 is not a multiple of n_kv_heads 4"},
    {"config.json",
     "{'model_type':'mistral','hidden_size':25,'num_hidden_layers':1,'intermediate_size':4,"
     "'num_attention_heads':6,'num_key_value_heads':2,'vocab_size':4}",
     "head_dim is absent and hidden_size 25 is not a multiple of num_attention_heads 6"},
    {"config.json", "{'model_type':'mistral','hidden_size':24.0}",
     "hidden_size: expected an integer"},
    {"config.json", "{'model_type':'mistral','hidden_size':'24'}",
     "hidden_size: expected an integer, found a string"},
    {"config.json", "{'model_type':'mistral','hidden_size':99999999999999999999}", "column"},
    {"config.json", MISTRAL "'sliding_window':0}",
     "sliding_window is 0; expected 1 or more keys, or null"},
    {"config.json", MISTRAL "'sliding_window':-1}", "sliding_window is -1"},
    {"config.json", MISTRAL "'sliding_window':'7'}",
     "expected an integer or null, found a string"},
    {"config.json", MISTRAL "'sliding_window':[7]}",
     "expected an integer or null, found a list"},
    {"config.json", MISTRAL "'sliding_window':true}", "found true"},
    {"config.json", MISTRAL "'sliding_window':false}", "found false"},
    {"config.json", MISTRAL "'layer_types':['full_attention']}",
     "layer_types lists 1 layers; expected 4"},
    {"config.json", MISTRAL "'layer_types':['full_attention',1,2,3]}", "for layer 1"},
    {"config.json",
     MISTRAL "'sliding_window':null,'layer_types':['sliding_attention','full_attention',"
     "'full_attention','full_attention']}", "sliding_window is null"},
    {"config.json", MISTRAL "'hidden_act':'gelu'}",
     "hidden_act is \"gelu\"; expected \"silu\""},
    {"config.json", MISTRAL "'hidden_act':null}", "hidden_act is \"null\""},
    {"config.json", MISTRAL "'rope_parameters':{'rope_type':'yarn','factor':4}}",
     "rope_type \"yarn\""},
    {"config.json", MISTRAL "'rope_scaling':{'type':'linear','factor':4}}",
     "rope_type \"linear\""},
    {"config.json", MISTRAL "'rope_parameters':{'rope_theta':'x'}}",
     "rope_parameters.rope_theta: expected a number"},
    {"config.json", MISTRAL "'rope_parameters':{'full_attention':{}}}",
     "differs between kinds of layers"},
    {"config.json", MISTRAL "'rope_parameters':{'partial_rotary_factor':0.5}}",
     "partial_rotary_factor 0.5"},
    {"config.json", MISTRAL "'rope_parameters':{'partial_rotary_factor':2}}",
     "partial_rotary_factor 2"},
    {"config.json", MISTRAL "'rope_parameters':7}", "rope_parameters: expected an object"},
    {"config.json", MISTRAL "'tie_word_embeddings':1}",
     "tie_word_embeddings: expected true or false"},
    {"config.json", MISTRAL "'eos_token_id':-1}", "eos_token_id: expected a token id"},
    {"config.json", MISTRAL "'eos_token_id':[]}", "eos_token_id: expected a token id"},
    {"config.json", MISTRAL "'max_position_embeddings':-1}", "max_position_embeddings"},
    {"config.json", "{'model_type':'mistral'," HEADS "'rms_norm_eps':null}",
     "rms_norm_eps: expected a number, found null"},
    {"config.json", "{'model_type':'mistral'," HEADS "'rope_theta':0}", "rope_theta above 0"},
    {"config.json", "{'model_type':'mixtral','num_local_experts':0," HEADS REST "'x':1}",
     "num_local_experts is 0"},
    {"config.json", "{'model_type':'mixtral','num_local_experts':null," HEADS REST "'x':1}",
     "found null"},
    {"config.json", "{'model_type':'mixtral','num_experts_per_tok':9," HEADS REST "'x':1}",
     "1 to 8 experts per token"},
    {"params.json", "{}", "dim: expected an integer, found nothing"},
    {"params.json",
     "{'dim':0,'n_layers':4,'hidden_dim':20,'n_heads':6,'vocab_size':40,'norm_eps':1e-5}",
     "dim"},
    {"params.json", "{'dim':24,'n_layers':4,'hidden_dim':20,'n_heads':6,'vocab_size':40}",
     "norm_eps: expected a number"},
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
    {"params.json", NATIVE "'sliding_window':[7,7,7]}",
     "lists 3 entries, which do not divide the 4 layers"},
    {"params.json", NATIVE "'sliding_window':[]}", "lists 0 entries"},
    {"params.json", NATIVE "'sliding_window':[7,0]}", "sliding_window is 0"},
    {"params.json", NATIVE "'sliding_window':{}}", "found an object"},
    {"params.json", NATIVE "'sliding_window':7,'_sliding_window':7}", "both set"},
    {"params.json", NATIVE "'moe':{'num_experts':5}}",
     "moe.num_experts_per_tok: expected an integer, found nothing"},
    {"params.json", NATIVE "'moe':{'num_experts':0,'num_experts_per_tok':0}}",
     "moe.num_experts is 0"},
    {"params.json", NATIVE "'moe':{'num_experts':2,'num_experts_per_tok':3}}",
     "1 to 2 experts per token"},
    {"params.json", NATIVE "'moe':7}", "moe: expected an object"},
};

/* Every message opens with the file's name. */
static void test_refusals(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mr_config c;
        mr_err    err;
        char      warning[1024];
        check_refused(read_text(cases[i].name, cases[i].json, &c, warning, &err), MR_BAD, &err,
                      cases[i].text);
        if (strncmp(err.text, scratch_folder, strlen(scratch_folder)) != 0)
            fail_msg("no file name: %s", err.text);
    }
}

/* Windows that differ from layer to layer are kept for 256 layers. */
static void test_many_layers(void **state) {
    (void)state;
    for (int layers = 256; layers <= 257; layers++) {
        static char json[1 << 14];
        mr_config c;
        mr_err    err;
        char      warning[1024];
        char *at = json + sprintf(json, "{'model_type':'mistral','hidden_size':24,"
                                  "'num_hidden_layers':%d,'intermediate_size':4,"
                                  "'num_attention_heads':6,'num_key_value_heads':2,'vocab_size':4,"
                                  "'sliding_window':7,'layer_types':[", layers);
        for (int l = 0; l < layers; l++)
            at += sprintf(at, "%s'%s_attention'", l > 0 ? "," : "", l > 0 ? "full" : "sliding");
        sprintf(at, "]}");
        const mr_status status = read_text("config.json", json, &c, warning, &err);
        if (layers > 256)
            check_refused(status, MR_BAD, &err, "layer_types varies over more than 256 layers");
        else if (status != MR_OK) fail_msg("%s", err.text);
        else assert_int_equal(mr_config_window(&c, 0) * 1000 + mr_config_window(&c, 255), 7000);
    }
}

/* A list of one window is the shortest and of 256 the longest; the last one is kept. */
static void test_many_windows(void **state) {
    (void)state;
    for (int n = 0; n < 3; n++) {
        const int layers = n == 0 ? 1 : 255 + n;
        static char json[1 << 14];
        mr_config c;
        mr_err    err;
        char      warning[1024];
        char *at = json + sprintf(json, "{'dim':24,'n_layers':%d,'hidden_dim':20,'n_heads':6,"
                                  "'n_kv_heads':2,'head_dim':8,'vocab_size':40,'norm_eps':1e-5,"
                                  "'rope_theta':1e4,'sliding_window':[", layers);
        for (int l = 1; l < layers; l++) at += sprintf(at, "null,");
        sprintf(at, "5]}");
        const mr_status status = read_text("params.json", json, &c, warning, &err);
        if (layers > 256)
            check_refused(status, MR_BAD, &err, "sliding_window lists 257 entries; expected 1 to "
                          "256");
        else if (status != MR_OK) fail_msg("%s", err.text);
        else assert_true(c.n_windows == layers && mr_config_window(&c, layers - 1) == 5);
    }
}

/* What is next to the digits in ASCII is none of them; 11 of them are too many. */
static void test_windows_in_strings(void **state) {
    static const char *const bad[] = {"", "4:", "4/", ":4", "/4", "00000000007", "4 "};
    (void)state;
    for (size_t i = 0; i <= sizeof bad / sizeof *bad; i++) {
        char json[1024];
        mr_config c;
        mr_err    err;
        char      warning[1024];
        const bool good = i == sizeof bad / sizeof *bad;
        snprintf(json, sizeof json, NATIVE THETA "'sliding_window':'%s'}",
                 good ? "0000000007" : bad[i]);
        const mr_status status = read_text("params.json", json, &c, warning, &err);
        if (!good)
            check_refused(status, MR_BAD, &err, "sliding_window is a string that is no number");
        else if (status != MR_OK) fail_msg("%s", err.text);
        else assert_int_equal(c.windows[0], 7);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_refusals),
                                       cmocka_unit_test(test_many_layers),
                                       cmocka_unit_test(test_many_windows),
                                       cmocka_unit_test(test_windows_in_strings)};
    return cmocka_run_group_tests_name("config_refused", tests, scratch_open, scratch_close);
}
