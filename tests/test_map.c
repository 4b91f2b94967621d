/* Names of ports: module paths, map files with steps, messages that help. */
#include "tests/layouts.h"

#define T13 CASES "dense_gqa_w5/t13.f64.npz"

/* A port of a few tensors, numbered 0, 1, 2, ... */
static void write_numbers(const char *const *names, int rank, const idx *dim) {
    mr_err err = {0};
    mr_trace_writer *w;
    double x[4096];
    const idx n = mr_count(rank, dim);
    for (idx i = 0; i < n; i++) x[i] = (double)i;
    assert_int_equal(mr_trace_create(scratch("names.npz"), 1, &w, &err), MR_OK);
    for (; *names != NULL; names++) put(w, *names, rank, dim, x);
    assert_int_equal(mr_trace_finish(w, NULL, &err), MR_OK);
}

static mr_status open_map(const char *how, mr_trace **golden, mr_trace **port, mr_mapping *map,
                          mr_err *err) {
    assert_int_equal(mr_trace_open(T13, golden, err), MR_OK);
    assert_int_equal(mr_trace_open(scratch("names.npz"), port, err), MR_OK);
    return mr_mapping_open(how, *golden, *port, map, err);
}

static void close_map(mr_trace *golden, mr_trace *port, mr_mapping *map) {
    mr_mapping_close(map);
    mr_trace_close(port);
    mr_trace_close(golden);
}

static void check_names(const char *how, const char *const *theirs, const char *const *ours) {
    mr_err err = {0};
    mr_trace *golden, *port;
    mr_mapping map;
    write_numbers(theirs, 1, (const idx[]){3});
    if (open_map(how, &golden, &port, &map, &err) != MR_OK) fail_msg("%s", err.text);
    for (idx i = 0; ours[i] != NULL; i++) {
        assert_string_equal(map.entry[i].name, ours[i]);
        assert_int_equal(map.entry[i].known, strcmp(ours[i], theirs[i]) != 0);
    }
    close_map(golden, port, &map);
}

static void test_module_paths(void **state) {
    (void)state;
    const char *const theirs[] = {
        "model.embed_tokens", "model.layers.0.self_attn.q_proj", "model.layers.11.mlp.down_proj",
        "model.layers.11.mlp.down_proj.input", "module.model.layers.3.self_attn.o_proj.input.0",
        "model.layers.1.post_attention_layernorm.output", "model.layers.1", "model.norm",
        "lm_head.output", "hidden_states.0", "model.layers.2.block_sparse_moe.experts.5",
        "model.layers.2.block_sparse_moe.gate", "model.layers.2.self_attn.q_norm",
        "model.rotary_emb", NULL};
    const char *const ours[] = {
        "tok_embeddings", "layers.0.q", "layers.11.ffn_out", "layers.11.act",
        "layers.3.attention", "layers.1.ffn_norm", "layers.1.h", "norm", "logits",
        "hidden_states.0", "layers.2.experts.5.out", "layers.2.router_logits",
        "model.layers.2.self_attn.q_norm", "model.rotary_emb", NULL};
    check_names("hf", theirs, ours);
    const char *const states[] = {"hidden_states.0", "hidden_states.1", "hidden_states.2",
                                  "attentions.1", NULL};
    const char *const meant[] = {"tok_embeddings", "layers.0.h", "norm", "layers.1.probs", NULL};
    check_names("hf", states, meant);
    const char *const native[] = {"layers.0.attention.wq", "layers.0.attention.wo.input",
                                  "layers.1.feed_forward.w2", "layers.1.feed_forward.w2.input",
                                  "layers.1", "output", NULL};
    const char *const named[] = {"layers.0.q", "layers.0.attention", "layers.1.ffn_out",
                                 "layers.1.act", "layers.1.h", "logits", NULL};
    check_names("native", native, named);
}

/* The k-th of Hugging Face's hidden states is the output of block k - 1, the last one is normed;
 * losses and gradients are ours whatever follows. */
static void test_numbers(void **state) {
    char name[MR_NAME_LIMIT];
    (void)state;
    assert_true(mr_name_of_hf("hidden_states.25", 40, name));
    assert_string_equal(name, "layers.24.h");
    assert_true(mr_name_of_hf("hidden_states.40", 40, name));
    assert_string_equal(name, "norm");
    assert_false(mr_name_of_hf("hidden_states.41", 40, name));
    assert_true(mr_name_is_ours("loss.router") && mr_name_is_ours("grad.layers.1.h"));
    assert_true(mr_name_is_ours("layers.31.experts.7.out") && mr_name_is_ours("mask"));
    assert_false(mr_name_is_ours("loss") || mr_name_is_ours("layers.1.hh"));
}

static void test_no_such_names(void **state) {
    (void)state;
    mr_err err = {0};
    mr_trace *golden, *port;
    mr_mapping map;
    char text[400];
    const char *const theirs[] = {"layers.0.q_roped", "layers.1.self_attn.v_proj", NULL};
    write_numbers(theirs, 1, (const idx[]){3});
    assert_int_equal(open_map("native", &golden, &port, &map, &err), MR_MISSING);
    assert_non_null(strstr(err.text, "the first is \"layers.0.q_roped\""));
    close_map(golden, port, &map);
    err = (mr_err){0};
    assert_int_equal(open_map(NULL, &golden, &port, &map, &err), MR_OK);
    mr_mapping_hint(&map, text, sizeof text);
    assert_string_equal(text,
                        "\"layers.1.self_attn.v_proj\" would be layers.1.v under --map hf");
    close_map(golden, port, &map);
    const char *const near[] = {"layers.1.q_roped", NULL};
    write_numbers(near, 1, (const idx[]){3});
    assert_int_equal(open_map(NULL, &golden, &port, &map, &err), MR_OK);
    mr_mapping_hint(&map, text, sizeof text);
    assert_non_null(strstr(text, "none of our names (nearest: layers.1.q_rope"));
    close_map(golden, port, &map);
}

static void test_distance(void **state) {
    (void)state;
    assert_int_equal(mr_name_distance("kitten", "sitting", 9), 3);
    assert_int_equal(mr_name_distance("q", "q", 3), 0);
    assert_int_equal(mr_name_distance("", "abc", 3), 3);
    assert_int_equal(mr_name_distance("abcdef", "uvwxyz", 3), 4);
}

/* ---- files ----------------------------------------------------------------------------------- */

/* Elements of the mapped tensor, in order, against a list. */
static void check_file(const char *json, int rank, const idx *dim, const char *ours,
                       const double *want, idx n) {
    mr_err err = {0};
    mr_trace *golden, *port, *mapped = NULL;
    mr_mapping map;
    const char *const names[] = {"blk.0.x", "blk.1.x", NULL};
    idx count;
    write_numbers(names, rank, dim);
    scratch_write("map.json", json, strlen(json));
    if (open_map(scratch("map.json"), &golden, &port, &map, &err) != MR_OK ||
        mr_mapping_trace(&map, &mapped, &err) != MR_OK) fail_msg("%s: %s", json, err.text);
    double *got = load(mapped, ours, &count);
    assert_int_equal(count, n);
    for (idx i = 0; i < n; i++)
        if (got[i] != want[i]) fail_msg("%s: [%td] is %g, want %g", json, i, got[i], want[i]);
    free(got);
    close_map(golden, port, &map);
}

#define STEPS(list) "{\"tensors\":{\"blk.{N}.x\":{\"name\":\"layers.{N}.q\",\"steps\":" list "}}}"

static void test_file_steps(void **state) {
    (void)state;
    const idx six[] = {2, 3}, twelve[] = {2, 6};
    const double as_is[] = {0, 1, 2, 3, 4, 5}, turned[] = {0, 3, 1, 4, 2, 5},
                 middle[] = {1, 4}, scaled[] = {0, 0.5, 1, 1.5, 2, 2.5},
                 halves[] = {0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11},
                 odd[] = {1, 3, 5, 7, 9, 11}, second[] = {3, 4, 5, 9, 10, 11};
    check_file("{\"tensors\":{\"blk.{N}.x\":\"layers.{N}.h\"}}", 2, six, "layers.1.h", as_is, 6);
    check_file(STEPS("[{\"permute\":[1,0]}]"), 2, six, "layers.0.q", turned, 6);
    check_file(STEPS("[{\"slice\":[1,1,2]}]"), 2, six, "layers.0.q", middle, 2);
    check_file(STEPS("[{\"take\":[0,[1,0]]},{\"scale\":1}]"), 2, six, "layers.0.q",
               (const double[]){3, 4, 5, 0, 1, 2}, 6);
    check_file(STEPS("[{\"permute\":[1,0]},{\"take\":[0,[2,0]]}]"), 2, six, "layers.0.q",
               (const double[]){2, 5, 0, 3}, 4);
    check_file(STEPS("[{\"slice\":[1,0,3,2]},{\"take\":[0,[1,0]]}]"), 2, six, "layers.0.q",
               (const double[]){3, 5, 0, 2}, 4);
    check_file(STEPS("[{\"scale\":0.5}]"), 2, six, "layers.0.q", scaled, 6);
    check_file(STEPS("[{\"rotary\":\"half\"}]"), 2, twelve, "layers.0.q", halves, 12);
    check_file(STEPS("[{\"slice\":[1,1,\"H\",2]}]"), 2, twelve, "layers.0.q", odd, 6);
    check_file(STEPS("[{\"reshape\":[2,\"G\",-1]},{\"slice\":[1,1,2]},{\"reshape\":[2,3]}]"), 2,
               twelve, "layers.1.q", second, 6);
    check_file("{\"tensors\":{\"blk.{N}.x\":[{\"name\":\"layers.{N}.q\"},"
               "{\"name\":\"layers.{N}.k\",\"steps\":[{\"permute\":[1,0]}]}]}}",
               2, six, "layers.1.k", turned, 6);
}

static void refuse(const char *json, mr_status status, const char *text) {
    mr_err err = {0};
    mr_trace *golden, *port;
    mr_mapping map;
    const char *const names[] = {"blk.0.attn_q", "blk.1.attn_q", NULL};
    write_numbers(names, 2, (const idx[]){4, 6});
    scratch_write("map.json", json, strlen(json));
    check_refused(open_map(scratch("map.json"), &golden, &port, &map, &err), status, &err, text);
    close_map(golden, port, &map);
}

#define ONE(list)                                                                      \
    "{\"tensors\":{\"blk.{N}.attn_q\":{\"name\":\"layers.{N}.q\",\"steps\":" list "}}}"

static void test_file_refused(void **state) {
    char name[MR_NAME_LIMIT + 1];
    const char *const names[] = {name, NULL};
    mr_err err = {0};
    mr_trace *golden, *port;
    mr_mapping map;
    (void)state;
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    write_numbers(names, 1, (const idx[]){3});
    check_refused(open_map("hf", &golden, &port, &map, &err), MR_BAD, &err, "at most 95 letters");
    close_map(golden, port, &map);
    refuse("[1]", MR_BAD, "expected an object of names");
    refuse("{\"tensors\":{\"blk.{N}.attn_k\":\"layers.{N}.k\"}}", MR_MISSING,
           "\"blk.{N}.attn_k\" fits no tensor of the port (nearest: blk.0.attn_q, blk.1.attn_q)");
    refuse("{\"tensors\":{\"blk.{N}.attn_q\":\"layers.{N}.qq\"}}", MR_BAD,
           "\"layers.0.qq\" is none of our names (nearest: layers.0.q,");
    refuse("{\"tensors\":{\"blk.{N}.attn_q\":\"layers.0.q\"}}", MR_BAD,
           "layers.0.q is given a second time, by \"blk.1.attn_q\"");
    refuse("{\"tensors\":{\"blk.{N}.attn_q\":7}}", MR_BAD, "expected a name");
    refuse(ONE("[{\"reshape\":[5,5]}]"), MR_BAD, "fit the shape [4,6], found reshape");
    refuse(ONE("[{\"permute\":[0,0]}]"), MR_BAD, "found permute");
    refuse(ONE("[{\"slice\":[1,3,9]}]"), MR_BAD, "found slice");
    refuse(ONE("[{\"take\":[1,[6]]}]"), MR_BAD, "found take");
    refuse(ONE("[{\"rotary\":\"pairs\"}]"), MR_BAD, "found rotary");
    refuse(ONE("[{\"reshape\":[4,\"Q\"]}]"), MR_BAD, "found reshape");
    refuse(ONE("[{\"reshape\":[\"24*2000000000000\"]}]"), MR_BAD, "found reshape");
    refuse(ONE("[{\"reshape\":[3,2,\"-1\"]}]"), MR_BAD, "found reshape");
    refuse(ONE("[{\"permute\":[1,0]},{\"reshape\":[4,6]}]"), MR_BAD,
           "step 2 must be one of reshape, permute, slice, take, rotary, scale and fit the shape "
           "[6,4]");
    refuse(ONE("[{\"turn\":[1,0]}]"), MR_BAD, "found turn");
    refuse(ONE("[{\"scale\":0}]"), MR_BAD, "found scale");
    refuse(ONE("{}"), MR_BAD, "\"steps\" must be a list");
    refuse("{\"tensors\":", MR_BAD, "map.json");
}

/* A port whose file is cut while it is read through a map. */
static void test_file_cut(void **state) {
    static const char json[] = "{\"tensors\":{\"blk.{N}.x\":{\"name\":\"layers.{N}.q\","
                               "\"steps\":[{\"permute\":[1,0]}]}}}";
    const char *const names[] = {"blk.0.x", NULL};
    double out[24];
    mr_err err = {0};
    mr_trace *golden, *port;
    mr_mapping map;
    (void)state;
    write_numbers(names, 2, (const idx[]){4, 6});
    scratch_write("map.json", json, sizeof json - 1);
    if (open_map(scratch("map.json"), &golden, &port, &map, &err)) fail_msg("%s", err.text);
    assert_int_equal(truncate(scratch("names.npz"), 0), 0);
    check_refused(mr_mapping_read(&map, &map.entry[0].view, out, &err), MR_BAD, &err, "names.npz");
    close_map(golden, port, &map);
}

/* ---- the program ----------------------------------------------------------------------------- */

static idx same(idx i) { return i; }
static idx half(idx i) { return i / D * D + i % D % 4 * 2 + i % D / 4; }
static idx heads_first(idx i) { return (i / D % T * H + i / D / T) * D + i % D; }

static int program(const char *args) {
    char command[2000];
    snprintf(command, sizeof command, "./mistral-ref compare " T13 " %s %s >%s 2>&1",
             scratch("port.npz"), args, scratch("out.txt"));
    const int status = system(command);
    return status >= 0 && status % 256 == 0 ? status / 256 : -1;
}

static bool printed(const char *text) {
    size_t n;
    char *all = (char *)scratch_read(scratch("out.txt"), &n);
    all[n] = '\0';
    const bool found = strstr(all, text) != NULL;
    if (!found) print_message("%s", all);
    free(all);
    return found;
}

/* Module paths, the rotary order of Hugging Face's weights, heads before tokens: right all the
 * same. */
static void test_program(void **state) {
    (void)state;
    const change list[] = {{"q", half, 3, {1, T, H * D}, "self_attn.q_proj"},
                           {"k", half, 3, {1, T, G * D}, "self_attn.k_proj"},
                           {"v", same, 3, {1, T, G * D}, "self_attn.v_proj"},
                           {"attention", heads_first, 4, {1, H, T, D}, NULL},
                           {"h", same, 3, {1, T, 22}, "output.0"}};
    mr_err err = {0};
    mr_trace *golden;
    assert_int_equal(mr_trace_open(CASES "dense_gqa_w5/t13.f32.npz", &golden, &err), MR_OK);
    write_port(golden, list, 5);
    mr_trace_close(golden);
    assert_int_equal(program("--map hf --model " CASES "dense_gqa_w5 --dtype f32"), 0);
    assert_true(printed("half-split rotary order"));
    assert_true(printed("heads before tokens"));
    assert_int_equal(program("--map hf --model " CASES "dense_gqa_w5 --dtype f32 --json"), 0);
    assert_true(printed("\"kind\":\"layout\""));
    assert_int_equal(program("--map no-such-file.json"), 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_module_paths), cmocka_unit_test(test_no_such_names),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_distance),     cmocka_unit_test(test_file_steps),
        cmocka_unit_test(test_file_refused), cmocka_unit_test(test_file_cut),
        cmocka_unit_test(test_program),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
