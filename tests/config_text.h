/* Configuration files of four layers, six heads, d 24, F 20, V 40, in pieces for tests to join. */
#ifndef MR_TESTS_CONFIG_TEXT_H
#define MR_TESTS_CONFIG_TEXT_H

#include "tests/scratch.h"

#include "weights/checkpoint.h"

#define SIZES "'hidden_size':24,'num_hidden_layers':4,'intermediate_size':20," \
              "'num_attention_heads':6,'vocab_size':40,"
#define HEADS SIZES "'num_key_value_heads':2,'head_dim':8,"
#define REST "'rms_norm_eps':1e-5,'rope_theta':1e4,"
#define MISTRAL "{'model_type':'mistral'," HEADS REST
#define MIXTRAL "{'model_type':'mixtral','num_local_experts':5,'num_experts_per_tok':3," HEADS REST
#define NATIVE_SIZES "{'dim':24,'n_layers':4,'hidden_dim':20,'n_heads':6,'vocab_size':40," \
                     "'norm_eps':1e-5,"
#define NATIVE NATIVE_SIZES "'n_kv_heads':2,'head_dim':8,"
#define THETA "'rope_theta':1e4,"

/* JSON with ' for ", into a file of that name; then read. */
static inline mr_status read_text(const char *name, const char *json, mr_config *c, char *warning,
                                  mr_err *e) {
    char text[1 << 14];
    const size_t n = strlen(json);
    assert_true(n < sizeof text);
    for (size_t i = 0; i < n; i++) text[i] = json[i] == '\'' ? '"' : json[i];
    *e = (mr_err){0};
    return mr_config_read(scratch_write(name, text, n), c, warning, 1024, e);
}

#endif
