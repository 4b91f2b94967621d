/* Checkpoints: every layout binds to the same numbers, and every way in which a checkpoint can be
 * wrong has its message. */
#include "tests/models.h"

#include "weights/safetensors.h"

#define MOST 64   /* tensors of the models here */

/* After every test. */
static int drop_all(void **state) {
    static const char *const folders[] = {"native", "hf", "back", "stacked", "bad", "tied"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) drop(scratch(folders[i]));
    return scratch_clean(state);
}

/* The feed-forward numbers of a sparse model in the other two layouts, placed here by their
 * description and not by the code under test. */
enum { L = 2, E = 3, F = 7, d = 10 };
typedef struct {
    double up[L][E][2 * F][d], down[L][E][d][F];   /* Transformers 5: w1 above w3, and w2 */
    double stack[L][3][E * F][d];                  /* first release: w1, transposed w2, w3 */
    char   name[5 * L][64];
} experts;

static void fill_experts(experts *x, const mr_model *m) {
    for (idx l = 0; l < L; l++)
        for (idx e = 0; e < E; e++) {
            const mr_ffn *f = &m->layers[l].ffn[e];
            for (idx r = 0; r < F; r++)
                for (idx c = 0; c < d; c++) {
                    const double w1 = mr_matrix_get(&f->w1, r, c), w3 = mr_matrix_get(&f->w3, r, c);
                    const double w2 = mr_matrix_get(&f->w2, c, r);
                    x->up[l][e][r][c]     = x->stack[l][0][e * F + r][c] = w1;
                    x->down[l][e][c][r]   = x->stack[l][1][e * F + r][c] = w2;
                    x->up[l][e][F + r][c] = x->stack[l][2][e * F + r][c] = w3;
                }
        }
}

/* All tensors whose name lacks `without`. */
static idx copy_without(const mr_tensors *set, const char *without, mr_tensor *list) {
    idx n = 0;
    for (idx i = 0; i < set->count; i++)
        if (strstr(set->tensor[i].name, without) == NULL) list[n++] = set->tensor[i];
    return n;
}

static idx add_fused(experts *x, const mr_model *m, mr_tensor *list, idx n) {
    for (int l = 0; l < L; l++) {
        char (*name)[64] = &x->name[5 * l];
        snprintf(name[0], 64, "model.layers.%d.mlp.gate.weight", l);
        snprintf(name[1], 64, "model.layers.%d.mlp.experts.gate_up_proj", l);
        snprintf(name[2], 64, "model.layers.%d.mlp.experts.down_proj", l);
        list[n++] = (mr_tensor){name[0], MR_F64, 2, {E, d}, m->layers[l].gate.data};
        list[n++] = (mr_tensor){name[1], MR_F64, 3, {E, 2 * F, d}, x->up[l]};
        list[n++] = (mr_tensor){name[2], MR_F64, 3, {E, d, F}, x->down[l]};
    }
    return n;
}

static idx add_stacked(experts *x, const mr_model *m, mr_tensor *list, idx n) {
    for (int l = 0; l < L; l++) {
        char (*name)[64] = &x->name[5 * l];
        snprintf(name[0], 64, "layers.%d.block_sparse_moe.gate.weight", l);
        list[n++] = (mr_tensor){name[0], MR_F64, 2, {E, d}, m->layers[l].gate.data};
        for (int w = 1; w <= 3; w++) {
            snprintf(name[w], 64, "layers.%d.block_sparse_moe.w%d", l, w);
            list[n++] = (mr_tensor){name[w], MR_F64, 2, {E * F, d}, x->stack[l][w - 1]};
        }
    }
    return n;
}

/* Opens a folder, compares, saves it natively: per expert again, the bytes are the source's. */
static void check_layout(mr_checkpoint *made, const char *folder) {
    mr_checkpoint read;
    mr_err        err = {0};
    must(mr_checkpoint_open(scratch(folder), &read, &err), &err);
    check_same(&made->model, &read.model);
    must(mr_checkpoint_save(&read.model, scratch("back"), MR_LAYOUT_NATIVE, true, MR_F32, &err),
         &err);
    check_equal_files("native/consolidated.safetensors", "back/consolidated.safetensors");
    mr_checkpoint_close(&read);
}

/* One model in all layouts: per expert with both kinds of names, fused, and stacked. */
static void test_expert_layouts(void **state) {
    const mr_config config = small(true);
    static experts x;
    mr_checkpoint  made, hf;
    mr_tensor      list[MOST];
    mr_err         err = {0};
    (void)state;
    must(mr_checkpoint_formula(&config, &made, &err), &err);
    fill_experts(&x, &made.model);
    must(mr_checkpoint_save(&made.model, scratch("native"), MR_LAYOUT_NATIVE, true, MR_F32, &err),
         &err);
    must(mr_checkpoint_save(&made.model, scratch("hf"), MR_LAYOUT_HF, true, MR_F32, &err), &err);
    check_layout(&made, "native");
    check_layout(&made, "hf");

    must(mr_checkpoint_open(scratch("hf"), &hf, &err), &err);
    idx n = add_fused(&x, &made.model, list, copy_without(&hf.tensors, "block_sparse_moe", list));
    must(mr_safetensors_save(scratch("hf/model.safetensors"), list, n, NULL, &err), &err);
    check_layout(&made, "hf");

    assert_int_equal(mkdir(scratch("stacked"), 0777), 0);
    write_text("stacked/params.json",
               "{\"hidden_size\":10,\"num_hidden_layers\":2,\"head_dim\":4,"
               "\"intermediate_size\":7,\"num_attention_heads\":6,\"num_key_value_heads\":2,"
               "\"vocab_size\":11,\"num_local_experts\":3,\"num_experts_per_tok\":2,"
               "\"rms_norm_eps\":1e-5,\"rope_theta\":1e4}");
    n = add_stacked(&x, &made.model, list, copy_without(&made.tensors, "feed_forward", list));
    must(mr_safetensors_save(scratch("stacked/any.safetensors"), list, n, NULL, &err), &err);
    check_layout(&made, "stacked");
    mr_checkpoint_close(&made);
    mr_checkpoint_close(&hf);
}

/* One change to a good native set, and what is said. */
typedef struct {
    const char *name;         /* tensor to change; NULL: none */
    enum { REMOVE, RENAME, RETYPE, RESHAPE, ADD } what;
    const char *to;           /* new name */
    const char *text;         /* part of the message; NULL: it is fine */
} change;

static const change changes[] = {
    {NULL, REMOVE, NULL, NULL},
    {"x.rotary_emb.inv_freq", ADD, NULL, NULL},
    {"layers.1.attention.wk.weight", REMOVE, NULL,
     "tensor 'layers.1.attention.wk.weight' is missing"},
    {"output.weight", REMOVE, NULL, "tensor 'output.weight' is missing"},
    {"tok_embeddings.weight", REMOVE, NULL,
     "'tok_embeddings.weight' (or 'model.embed_tokens.weight') is missing"},
    {"layers.0.feed_forward.w2.weight", RENAME, "layers.0.mlp.down_proj.weight",
     "'layers.0.feed_forward.w2.weight' is missing"},
    {"score.weight", ADD, NULL,
     "surplus tensor 'score.weight': the configuration has no place for 1 of the tensors; that is "
     "the head of a sequence classifier"},
    {"layers.2.attention.wq.weight", ADD, NULL, "surplus tensor 'layers.2.attention.wq.weight'"},
    {"inv_freq", ADD, NULL, "surplus tensor 'inv_freq'"},
    {"model.embed_tokens.weight", ADD, NULL,
     "(native names) and model.embed_tokens.weight (Hugging Face names)"},
    {"layers.0.attention.wq.weight", RETYPE, NULL,
     "'layers.0.attention.wq.weight' has dtype I64; expected F64"},
    {"layers.0.attention.wq.weight", RESHAPE, NULL,
     "'layers.0.attention.wq.weight': expected [24, 10] found [10, 24]"},
    {"layers.0.feed_forward.w2.weight", RESHAPE, NULL,
     "'layers.0.feed_forward.w2.weight': expected [10, 7] found [7, 10]"},
    {"norm.weight", RESHAPE, NULL, "'norm.weight': expected [10] found [1, 10]"},
};

static idx apply(const change *c, const mr_tensors *from, mr_tensor *list) {
    idx n = 0;
    for (idx i = 0; i < from->count; i++) {
        list[n] = from->tensor[i];
        mr_tensor *t = &list[n++];
        if (c->name == NULL || c->what == ADD || strcmp(t->name, c->name) != 0) continue;
        if (c->what == REMOVE) n--;
        if (c->what == RENAME) t->name = c->to;
        if (c->what == RETYPE) t->dtype = MR_I64;
        if (c->what == RESHAPE) {
            const idx first = t->rank == 1 ? 1 : t->dim[1];
            t->dim[1] = t->dim[0];
            t->dim[0] = first;
            t->rank = 2;
        }
    }
    if (c->what == ADD) list[n++] = (mr_tensor){c->name, MR_F32, 1, {1}, from->tensor[0].data};
    return n;
}

static void test_bad_sets(void **state) {
    const mr_config config = small(false);
    mr_checkpoint   made, read;
    mr_err          err = {0};
    (void)state;
    must(mr_checkpoint_formula(&config, &made, &err), &err);
    must(mr_checkpoint_save(&made.model, scratch("bad"), MR_LAYOUT_NATIVE, true, MR_F32, &err),
         &err);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        mr_tensor list[MOST];
        const idx n = apply(&changes[i], &made.tensors, list);
        const char *path = scratch("bad/consolidated.safetensors");
        err = (mr_err){0};
        must(mr_safetensors_save(path, list, n, NULL, &err), &err);
        const mr_status status = mr_checkpoint_open(scratch("bad"), &read, &err);
        if (changes[i].text == NULL) must(status, &err);
        else check_refused(status, MR_BAD, &err, changes[i].text);
        if (changes[i].text != NULL && strstr(err.text, "consolidated.safetensors") == NULL)
            fail_msg("no file name: %s", err.text);
        mr_checkpoint_close(&read);
    }
    /* A configuration that asks for 2^31-1 layers costs nothing: the first missing tensor ends
     * it. */
    err = (mr_err){0};
    must(mr_safetensors_save(scratch("bad/consolidated.safetensors"), made.tensors.tensor,
                             made.tensors.count, NULL, &err),
         &err);
    write_text("bad/params.json",
               "{\"dim\":10,\"n_layers\":2147483647,\"head_dim\":4,\"hidden_dim\":7,"
               "\"n_heads\":6,\"n_kv_heads\":2,\"vocab_size\":11,\"norm_eps\":1e-5,"
               "\"rope_theta\":1e4,\"moe\":{\"num_experts\":65536,\"num_experts_per_tok\":2}}");
    check_refused(mr_checkpoint_open(scratch("bad"), &read, &err), MR_BAD, &err,
                  WIDE_SIZES ? "is missing" : "sizes overflow");
    mr_checkpoint_close(&made);
}

/* A tied head is a view of the embedding; in the file it may be absent or equal, but not
 * different. */
static void test_tied(void **state) {
    mr_config config = small(false);
    mr_checkpoint made, read;
    mr_tensor     list[MOST];
    mr_err        err = {0};
    (void)state;
    config.tied_embeddings = true;
    must(mr_checkpoint_formula(&config, &made, &err), &err);
    assert_int_equal(made.tensors.count, 2 + 2 * 9);
    for (int layout = 0; layout < 2; layout++) {
        const bool  native = layout == 0;
        const char *file = native ? "tied/consolidated.safetensors" : "tied/model.safetensors";
        must(mr_checkpoint_save(&made.model, scratch("tied"), native ? MR_LAYOUT_NATIVE
                                : MR_LAYOUT_HF, true, MR_F32,
                                &err), &err);
        must(mr_checkpoint_open(scratch("tied"), &read, &err), &err);
        assert_true(read.model.config.tied_embeddings);
        assert_ptr_equal(read.model.output.data, read.model.tok_embeddings.data);
        check_same(&made.model, &read.model);
        idx n = 0;
        for (; n < read.tensors.count; n++) list[n] = read.tensors.tensor[n];
        list[n] = *mr_tensors_find(&read.tensors, native ? "tok_embeddings.weight"
                                   : "model.embed_tokens.weight");
        list[n].name = native ? "output.weight" : "lm_head.weight";
        mr_checkpoint equal, different;
        must(mr_safetensors_save(scratch(file), list, n + 1, NULL, &err), &err);
        must(mr_checkpoint_open(scratch("tied"), &equal, &err), &err);
        assert_ptr_equal(equal.model.output.data, equal.model.tok_embeddings.data);
        list[n].data = (const char *)list[n].data - 8;
        must(mr_safetensors_save(scratch(file), list, n + 1, NULL, &err), &err);
        check_refused(mr_checkpoint_open(scratch("tied"), &different, &err), MR_BAD, &err,
                      "differs from it");
        err = (mr_err){0};
        mr_checkpoint_close(&read);
        mr_checkpoint_close(&equal);
        drop(scratch("tied"));
    }
    mr_checkpoint_close(&made);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_expert_layouts, drop_all),
        cmocka_unit_test_teardown(test_bad_sets, drop_all),
        cmocka_unit_test_teardown(test_tied, drop_all)};
    return cmocka_run_group_tests_name("checkpoint", tests, scratch_open, scratch_close);
}
