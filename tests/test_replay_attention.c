/* (V11) by hand: one token at position 0, so that nothing turns, normalised to (1, 1); q is
 * (1 + 2^-9, 1/2) when kept and (1, 1/2) when stored in bf16, whose unit roundoff is u = 2^-8. Only
 * the rotated queries are recorded, rounded once more. */
#include "tests/bounds.h"

#include <string.h>

#include "golden/replay_state.h"

enum { D = 2, ROOM = 16 };

typedef struct {
    double v[ROOM], e[ROOM], s[ROOM];
} part;

static mr_bounded of_part(part *p) { return (mr_bounded){p->v, p->e, p->s}; }

static double q_rope;   /* the recorded one's first element */

static mr_status read_recorded(void *user, idx i, double *out, mr_err *err) {
    const mr_tensor *list = user;
    (void)err;
    out[0] = strcmp(list[i].name, "layers.0.q_rope") == 0 ? q_rope : 1;
    out[1] = strcmp(list[i].name, "layers.0.attention_norm") == 0 ? 1 : 0.5;
    return MR_OK;
}

/* What is found of the recorded queries, of which `count` tensors of the list are the port. */
static mr_finding judge(mr_tensor *list, idx count, double found) {
    static const double wq[] = {1, 0x1p-9, 0, 0.5}, other[] = {1, 0, 0, 1}, gain[] = {1, 1};
    static part parts[10];
    static double recorded[ROOM], room[ROOM];
    const mr_matrix query = {wq, MR_F64, 2, 2, 2, 1}, one = {other, MR_F64, 2, 2, 2, 1},
                    norm = {gain, MR_F64, 1, 2, 2, 1};
    mr_layer layer = {.attention_norm = norm, .ffn_norm = norm, .wq = query, .wk = one, .wv = one,
                      .wo = one};
    mr_model model = {.config = {.dim = D, .n_layers = 1, .n_heads = 1, .n_kv_heads = 1,
                                 .head_dim = D, .eos_id = -1, .rope_theta = 1e4},
                      .layers = &layer};
    mr_fault fault = {.config = model.config};
    mr_arithmetic a = *UNITS(.store = 0x1p-8, .held = 0x1p-8);
    mr_verification out = {.first = -1};
    mr_err err = {0};
    mr_trace *port;
    a.storage = MR_STORE_BF16;
    q_rope = found;
    assert_int_equal(mr_trace_made(list, count, "", read_recorded, list, &port, &err), MR_OK);
    const mr_meta meta = {.n_seqs = 1, .count = 1, .length = (idx[]){1}, .first = (int64_t[]){0},
                          .tokens = (int32_t[]){0}};
    mr_walk w = {.model = &model, .c = &fault.config, .fault = &fault, .meta = &meta, .port = port,
                 .a = &a, .out = &out, .err = &err, .T = 1, .S = 1,
                 .position_q = (int64_t[]){0}, .position_k = (int64_t[]){0}, .column = (idx[]){0},
                 .place = (idx[]){0}, .call = (idx[]){0}, .call_end = (idx[]){1},
                 .kind = (unsigned[]){1}, .keys = (idx[]){0}, .recorded = recorded, .room = room,
                 .x = of_part(&parts[0]), .normed = of_part(&parts[1]), .q = of_part(&parts[2]),
                 .k = of_part(&parts[3]), .v = of_part(&parts[4]), .scores = of_part(&parts[5]),
                 .attention = of_part(&parts[6]), .out_row = of_part(&parts[7])};
    memset(parts, 0, sizeof parts);
    parts[0].v[0] = parts[0].v[1] = 1;
    mr_walk_attention(&w, 0);
    if (err.code != MR_OK) fail_msg("%s", err.text);
    mr_finding f = {.verdict = MR_TELLS_NOTHING, .ratio = -1};
    for (idx i = 0; i < out.count; i++)
        if (strcmp(out.list[i].name, "layers.0.q_rope") == 0) f = out.list[i];
    mr_verification_free(&out);
    mr_trace_close(port);
    return f;
}

/* Within one rounding of either is right; within two, as if both roundings could add up, is not. */
static void test_kept_or_stored(void **state) {
    static const struct { double found, ratio; } list[] = {
        {1 + 0x1p-9, 0}, {1, 0}, {1 - 0.9 * 0x1p-8, 0.9}, {1 - 1.5 * 0x1p-8, 1.5},
        {(1 + 0x1p-9) * (1 + 0.9 * 0x1p-8), 0.9}, {(1 + 0x1p-9) * (1 + 1.5 * 0x1p-8), 1.5}};
    mr_tensor port[] = {{"layers.0.q_rope", MR_F32, 3, {1, 1, D}, NULL},
                        {"layers.0.attention_norm", MR_F32, 2, {1, D}, NULL}};
    (void)state;
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        const mr_finding f = judge(port, 2, list[i].found);
        assert_int_equal(f.verdict, list[i].ratio > 1 ? MR_FAULT : MR_AGREES);
        assert_true(fabs(f.ratio - list[i].ratio) < 1e-3);
    }
}

/* With the product recorded there is nothing to choose: the queries are its own, rounded once. */
static void test_recorded_before(void **state) {
    mr_tensor port[] = {{"layers.0.q", MR_F32, 3, {1, 1, D}, NULL},
                        {"layers.0.q_rope", MR_F32, 3, {1, 1, D}, NULL},
                        {"layers.0.attention_norm", MR_F32, 2, {1, D}, NULL}};
    (void)state;
    assert_true(fabs(judge(port, 3, 1 + 0x1p-9).ratio - 0.5) < 1e-3);
    assert_int_equal(judge(port + 2, 1, 0).verdict, MR_TELLS_NOTHING);   /* none recorded */
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kept_or_stored),
                                       cmocka_unit_test(test_recorded_before)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
