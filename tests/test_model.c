/* The whole model against numbers that were computed elsewhere: in NumPy, in double, from the
 * equations alone. */
#include "tests/tiny.h"

enum { V = 11, T = 7 };

/* ---- printed numbers ------------------------------------------------------------------------- */

typedef struct {
    const char *name;
    double      loss, logits[V];   /* of six next tokens, of the last position */
} printed;

/* What was printed must come out to its last digit: 12 decimals of the loss, 10 of the logits. */
static void check_printed(const printed *want, const mr_config *c, const mr_run_options *o) {
    tiny t;
    tiny_open(&t, c);
    mr_run_options options = *o;
    const idx length = T;
    options.n_seqs = 1, options.capacity = &length, options.max_tokens = T;
    mr_run *run = tiny_run(&t, &options);
    tiny_forward(run, tiny_tokens, &length);
    int32_t targets[T] = {5, 3, 7, 2, 9, 4, -1};
    double logits[V], sum = 0;
    mr_run_logits(run, T - 1, logits);
    for (idx row = 0; row + 1 < T; row++) sum -= mr_run_log_probability(run, row, targets[row]);
    const double loss = mr_run_cross_entropy(run, targets), mean = sum / 6;
    check_close(want->name, &want->loss, &loss, 1, 1e-12, 1, 0.51);
    check_close(want->name, &want->loss, &mean, 1, 1e-12, 1, 0.51);
    check_close(want->name, want->logits, logits, V, 1e-10, 1, 0.51);
    mr_run_close(run);
    tiny_close(&t);
}

static const mr_run_options wide = {.precision = MR_F64_RUN};

static void dense_and_sparse(void **state) {
    (void)state;
    const printed dense = {"dense",
                           2.133565641957,
                           {-0.2451404288, -0.6952736191, 0.0399311468, 0.4120083845, 0.0479974344,
                            -0.0853850639, 0.0006251490, -0.2261702269, -0.1801470173, 0.4661961103,
                            0.4607269955}};
    const printed sparse = {"MoE",
                            2.092481299208,
                            {-0.4177747519, -0.8450042326, 0.1402910058, 0.5529144618, 0.0379485573,
                             -0.1961850684, -0.0892802668, -0.1714426614, 0.0073087828,
                             0.4929382784, 0.1911837429}};
    mr_config c = tiny_config(), e = tiny_sparse(2);
    check_printed(&dense, &c, &wide);
    check_printed(&sparse, &e, &wide);
    const mr_run_options naive = {.precision = MR_F64_RUN, .dispatch = MR_DISPATCH_NAIVE};
    check_printed(&sparse, &e, &naive);
    e.router_order = MR_SOFTMAX_TOPK, e.expert_order = MR_EXPERTS_SLOTS;
    check_printed(&sparse, &e, &wide);
}

static void windows(void **state) {
    (void)state;
    const printed swa = {"swa 3",
                         2.202581329527,
                         {-0.3047817696, -0.6276731005, 0.1274055416, 0.4579163703, -0.0070134232,
                          -0.2243007027, -0.0292097942, -0.0449068679, -0.0366736882, 0.3118749785,
                          0.2084176992}};
    const printed inclusive = {"inclusive 3",
                               2.215423774536,
                               {-0.3148730638, -0.6561840033, 0.1305447250, 0.5065629064,
                                0.0091238179, -0.2889215142, -0.0776037679, 0.0249324890,
                                0.0547851906, 0.2539275917, 0.0682610673}};
    const printed longformer = {"longformer 4",
                                2.227500849350,
                                {-0.3172332355, -0.6301070899, 0.1365883948, 0.4641474248,
                                 -0.0089904125, -0.2320914153, -0.0375660157, -0.0394953717,
                                 -0.0166081490, 0.3136933651, 0.1775759239}};
    const printed mixed = {"3, none",
                           2.187259420059,
                           {-0.3092310041, -0.7325835710, 0.1005599673, 0.5357620114, 0.0397589612,
                            -0.2715862341, -0.0844614687, -0.0260704264, 0.0183387344, 0.3156241129,
                            0.1579108043}};
    mr_config c = tiny_config();
    c.n_windows = 1, c.windows[0] = 3;
    check_printed(&swa, &c, &wide);
    c.window_rule = MR_WINDOW_INCLUSIVE;
    check_printed(&inclusive, &c, &wide);
    c.window_rule = MR_WINDOW_LONGFORMER, c.windows[0] = 4;
    check_printed(&longformer, &c, &wide);
    c.window_rule = MR_WINDOW_SWA, c.n_windows = 2, c.windows[0] = 3;
    c.windows[1] = 0;
    check_printed(&mixed, &c, &wide);
}

/* Groups of three heads (six on two); one KV head for all; another theta and a large eps; the head
 * tied to the embedding. */
static void shapes(void **state) {
    (void)state;
    const printed six = {"H = 6",
                         2.187514183554,
                         {-0.1055713698, -0.7084000746, -0.0542125930, 0.4678621933, 0.0934789774,
                          -0.1945005839, -0.0009852718, -0.0570078883, -0.2095854099, 0.2384903116,
                          0.5031049897}};
    const printed one = {"G = 1",
                         2.048532305811,
                         {-0.3043331747, -0.7636498814, 0.0742853024, 0.4896378329, 0.0511013196,
                          -0.1588238603, -0.0480083065, -0.1762064192, -0.0859350727, 0.4613638891,
                          0.3308034803}};
    const printed other = {"theta, eps",
                           2.082175800672,
                           {-0.1242849518, -0.9147029270, -0.0662994612, 0.8256295886, 0.1983434579,
                            -0.6976331633, -0.2606495387, 0.5591847171, 0.2546638133, -0.4371892730,
                            -0.1934045634}};
    const printed tied = {"tied",
                          2.405177383058,
                          {0.7511073633, -0.2462620135, -0.5475218938, 0.0498668191, 0.2550586680,
                           0.0258906915, 0.0749786070, 0.0358237902, -0.3836901104, -0.2267456363,
                           0.6152329794}};
    mr_config c = tiny_config();
    c.n_heads = 6;
    check_printed(&six, &c, &wide);
    c = tiny_config();
    c.n_kv_heads = 1;
    check_printed(&one, &c, &wide);
    c = tiny_config();
    c.rope_theta = 1e6, c.norm_eps = 0.1;
    check_printed(&other, &c, &wide);
    c = tiny_config();
    c.tied_embeddings = true;
    check_printed(&tied, &c, &wide);
}

/* One and three experts per token; a capacity of floor(1 * 2 * 7 / 4) = 3 copies per expert, given
 * out in both orders. */
static void expert_choices(void **state) {
    (void)state;
    const printed three = {"K = 3",
                           2.090546958419,
                           {-0.4244786390, -0.8597183866, 0.1423121065, 0.5747643399, 0.0450636804,
                            -0.2221231905, -0.1087410855, -0.1463682451, 0.0399770010, 0.4744299661,
                            0.1473056232}};
    const printed one = {"K = 1",
                         2.098630661632,
                         {-0.5045552556, -1.0084912620, 0.1960679784, 0.7532920266, 0.0302831248,
                          -0.4224298091, -0.1431010810, 0.0628042796, 0.1285236380, 0.2719069955,
                          0.0060858115}};
    const printed tokens = {"token-major",
                            2.091690180518,
                            {-0.4056755420, -0.9985802272, 0.1255675911, 0.7108044535, 0.0392567091,
                             -0.3660706004, -0.0657282749, 0.0245218767, -0.0438876681,
                             0.2547407316, 0.2623374044}};
    const printed slots = {"slot-major",
                           2.093397011792,
                           {-0.4322410076, -0.9546942423, 0.1501154687, 0.6754609359, 0.0287489750,
                            -0.3333597136, -0.0782044105, -0.0164127621, -0.0055214302,
                            0.3166457290, 0.2025673589}};
    const mr_run_options naive = {.precision = MR_F64_RUN, .dispatch = MR_DISPATCH_NAIVE};
    mr_config c = tiny_sparse(3);
    check_printed(&three, &c, &wide);
    c = tiny_sparse(1);
    check_printed(&one, &c, &wide);
    c = tiny_sparse(2);
    c.capacity_factor = 1;
    check_printed(&tokens, &c, &wide);
    check_printed(&tokens, &c, &naive);
    c.capacity_rank = MR_CAPACITY_SLOTS;
    check_printed(&slots, &c, &wide);
    check_printed(&slots, &c, &naive);
}

/* First and second expert and the weight of the first, as printed with six digits. */
static void router_picks(void **state) {
    (void)state;
    static const struct { int32_t first, second; double weight; } want[2][T] = {
        {{1, 0, .701998},
         {1, 0, .616897},
         {3, 2, .686418},
         {3, 2, .620887},
         {2, 3, .681157},
         {1, 0, .539743},
         {0, 3, .743380}},
        {{0, 1, .575160},
         {0, 1, .644817},
         {2, 3, .624666},
         {2, 3, .670870},
         {2, 1, .563164},
         {0, 1, .778819},
         {3, 0, .544882}},
    };
    const mr_config c = tiny_sparse(2);
    tiny t;
    tiny_open(&t, &c);
    const char *experts[] = {"layers.0.router_experts", "layers.1.router_experts"};
    const char *weights[] = {"layers.0.router_weights", "layers.1.router_weights"};
    for (int l = 0; l < 2; l++) {
        tiny_trace picked = {.name = experts[l]}, weight = {.name = weights[l]};
        tiny_logits(&t, wide, tiny_tokens, T, NULL, &picked);
        tiny_logits(&t, wide, tiny_tokens, T, NULL, &weight);
        assert_true(picked.n == 2 * T && weight.n == 2 * T);
        for (int i = 0; i < T; i++) {
            assert_true(picked.values[2 * i] == want[l][i].first &&
                        picked.values[2 * i + 1] == want[l][i].second);
            check_close("weight", &want[l][i].weight, &weight.values[2 * i], 1, 1e-6, 1, 0.51);
        }
    }
    tiny_close(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense_and_sparse), cmocka_unit_test(windows), cmocka_unit_test(shapes),
        cmocka_unit_test(expert_choices), cmocka_unit_test(router_picks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
