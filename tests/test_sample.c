/* Choosing the next token: the random stream, argmax, temperature, top-k and top-p. */
#include "tests/check.h"

#include <math.h>

#include "ref/sample.h"

enum { MOST = 300 };

static double probs[MOST];
static int32_t order[MOST];

static int32_t draw(const double *logits, idx V, double temperature, idx top_k, double top_p,
                    mr_rng *rng) {
    const mr_sampling how = {temperature, top_k, top_p};
    const int32_t id = mr_sample(logits, V, &how, rng, probs, order);
    assert_true(id >= 0 && id < V);
    return id;
}

/* Which of V <= 64 ids 2000 draws can produce, as a set of bits. */
static uint64_t reachable(const double *logits, idx V, double temperature, idx top_k,
                          double top_p) {
    mr_rng rng = mr_rng_seed(5);
    uint64_t set = 0;
    for (int i = 0; i < 2000; i++)
        set |= (uint64_t)1 << draw(logits, V, temperature, top_k, top_p, &rng);
    return set;
}

/* ---- the stream ------------------------------------------------------------------------------ */

static void splitmix64(void **state) {
    (void)state;
    const uint64_t want[] = {6457827717110365317U, 3203168211198807973U, 9817491932198370423U,
                             4593380528125082431U, 16408922859458223821U};
    mr_rng rng = mr_rng_seed(1234567);
    for (int i = 0; i < 5; i++) assert_true(mr_rng_next(&rng) == want[i]);
    mr_rng zero = mr_rng_seed(0);
    assert_true(mr_rng_next(&zero) == 16294208416658607535U);
    mr_rng answer = mr_rng_seed(42);
    check_number("uniform", 0.7415648787718233, mr_rng_uniform(&answer), 0);
    check_number("uniform", 0.1599103928769201, mr_rng_uniform(&answer), 0);
}

/* 1e5 numbers: all in [0,1), mean 1/2 within 5 sigma (sigma of the mean = 1/sqrt(12 n)), no bit
 * stuck. */
static void uniform(void **state) {
    (void)state;
    mr_rng rng = mr_rng_seed(1);
    double sum = 0;
    uint64_t ones = 0, zeros = 0;
    for (int i = 0; i < 100000; i++) {
        const double u = mr_rng_uniform(&rng);
        assert_true(u >= 0 && u < 1);
        sum += u;
        const uint64_t z = mr_rng_next(&rng);
        ones |= z, zeros |= ~z;
    }
    assert_true(fabs(sum / 1e5 - 0.5) <= 5 / sqrt(12e5));
    assert_true(ones == UINT64_MAX && zeros == UINT64_MAX);
}

/* ---- greedy ---------------------------------------------------------------------------------- */

static void argmax(void **state) {
    (void)state;
    const double n = (double)NAN, inf = (double)INFINITY;
    const struct { double z[4]; int32_t want; } cases[] = {
        {{1, 3, 3, 2}, 1},    {{5, 5, 5, 5}, 0},      {{-4, -3, -2, -1}, 3},
        {{n, 1, n, 2}, 3},    {{n, n, -9, n}, 2},     {{n, n, n, n}, 0},
        {{7, n, n, n}, 0},    {{-inf, 0, inf, n}, 2}, {{-inf, -inf, n, n}, 0},
        {{0, -0.0, 0, 0}, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(mr_argmax(cases[i].z, 4), cases[i].want);
    assert_int_equal(mr_argmax(cases[0].z, 1), 0);
}

/* "NaN counts as -inf, the first largest": NaN before -inf is the first of two equals. */
static void argmax_of_nan_and_minus_infinity(void **state) {
    (void)state;
    const double z[] = {(double)NAN, -(double)INFINITY};
    assert_int_equal(mr_argmax(z, 2), 0);
}

/* Temperature 0 is argmax and leaves the stream alone; otherwise one number is drawn. */
static void greedy(void **state) {
    (void)state;
    const double z[] = {0, 2, 2, 1};
    mr_rng rng = mr_rng_seed(1), other = mr_rng_seed(1);
    assert_int_equal(draw(z, 4, 0, 0, 1, &rng), 1);
    assert_int_equal(draw(z, 4, -1, 2, 0.5, &rng), 1);
    assert_int_equal(draw(z, 4, (double)NAN, 0, 1, &rng), 1);
    assert_true(rng.state == other.state);
    draw(z, 4, 1, 0, 1, &rng);
    draw(z, 4, 1, 1, 1, &rng);
    mr_rng_next(&other);
    mr_rng_next(&other);
    assert_true(rng.state == other.state);
    assert_true(reachable(z, 4, 1e-3, 0, 1) == 6);        /* nearly cold: only the two largest */
    assert_true(reachable(z, 4, 1e-320, 0, 1) == 6);
}

/* ---- sampling -------------------------------------------------------------------------------- */

/* Every draw against the inverse of the distribution function, written with a plain selection of
 * the next most probable. */
static void inverse_distribution(void **state) {
    (void)state;
    enum { V = 200 };
    double z[V];
    fill_f64(z, V, 11);
    for (int v = 0; v < V; v++) z[v] = rint(z[v] * 30) / 10;         /* with many exact ties */
    mr_rng rng = mr_rng_seed(2), copy = rng;
    for (int i = 0; i < 300; i++) {
        const double temperature = 0.3 + 0.01 * i, u = mr_rng_uniform(&copy);
        const int32_t got = draw(z, V, temperature, 0, 1, &rng);
        double sum = 0, below = 0;
        bool used[V] = {false};
        for (int v = 0; v < V; v++) sum += exp(z[v] / temperature);
        int32_t want = -1;
        while (below <= u * sum) {
            want = -1;
            for (int32_t v = 0; v < V; v++)
                if (!used[v] && (want < 0 || z[v] > z[want])) want = v;
            used[want] = true;
            below += exp(z[want] / temperature);
        }
        assert_int_equal(got, want);
    }
}

/* Two equal tokens share [0,1) as [0,1/2) and [1/2,1): states whose next numbers are 0, 1/2 -
 * 2^-53, 1/2 and 1 - 2^-53, found by running splitmix64 backwards. */
static void boundaries(void **state) {
    (void)state;
    const double z[] = {3, 3};
    const struct { uint64_t state; double u; int32_t want; } cases[] = {
        {7046029254386353131U, 0, 0}, {959135552437182909U, 0.5 - 0x1p-53, 0},
        {3453682501520545093U, 0.5, 1}, {3558559446808474027U, 1 - 0x1p-53, 1}};
    for (int i = 0; i < 4; i++) {
        mr_rng rng = mr_rng_seed(cases[i].state), same = rng;
        check_number("u", cases[i].u, mr_rng_uniform(&same), 0);
        assert_int_equal(draw(z, 2, 1, 0, 1, &rng), cases[i].want);
    }
}

/* 1e5 draws: each count within 5 sigma of n p, p = softmax(z / 0.7). */
static void distribution(void **state) {
    (void)state;
    enum { V = 5, N = 100000 };
    const double z[V] = {0.3, -1, 1.2, 0.3, 0};
    double p[V], sum = 0;
    int count[V] = {0};
    mr_rng rng = mr_rng_seed(3);
    for (int v = 0; v < V; v++) sum += p[v] = exp(z[v] / 0.7);
    for (int i = 0; i < N; i++) count[draw(z, V, 0.7, 0, 1, &rng)]++;
    for (int v = 0; v < V; v++) {
        const double q = p[v] / sum;
        if (!(fabs(count[v] - N * q) <= 5 * sqrt(N * q * (1 - q))))
            fail_msg("id %d: %d of %g", v, count[v], N * q);
    }
}

static void same_seed_same_tokens(void **state) {
    (void)state;
    double z[50];
    fill_f64(z, 50, 1);
    mr_rng a = mr_rng_seed(9), b = mr_rng_seed(9), c = mr_rng_seed(10);
    int different = 0;
    for (int i = 0; i < 200; i++) {
        const int32_t id = draw(z, 50, 1, 0, 1, &a);
        assert_int_equal(id, draw(z, 50, 1, 0, 1, &b));
        different += id != draw(z, 50, 1, 0, 1, &c);
    }
    assert_true(different > 100);
}

static void top_k(void **state) {
    (void)state;
    const double z[] = {1, 3, 2, 3, 0}, flat[] = {4, 4, 4, 4};
    assert_true(reachable(z, 5, 1, 1, 1) == 1 << 1);               /* of two equals the lower id */
    assert_true(reachable(z, 5, 1, 2, 1) == (1 << 1 | 1 << 3));
    assert_true(reachable(z, 5, 1, 3, 1) == (1 << 1 | 1 << 3 | 1 << 2));
    assert_true(reachable(z, 5, 1, 0, 1) == 31 && reachable(z, 5, 1, 5, 1) == 31 &&
                reachable(z, 5, 1, 99, 1) == 31);
    assert_true(reachable(flat, 4, 1, 2, 1) == 3);
}

/* (S2) an entry is dropped when the sum *before* it exceeds top_p. Four times 1/4: sums before are
 * 0, 1/4, 1/2, 3/4. */
static void top_p(void **state) {
    (void)state;
    const double flat[] = {4, 4, 4, 4}, steep[] = {0, 9, 0, 0};
    assert_true(reachable(flat, 4, 1, 0, 0) == 1);                 /* the first always stays */
    assert_true(reachable(flat, 4, 1, 0, 0.2) == 1);
    assert_true(reachable(flat, 4, 1, 0, 0.25) == 3);
    assert_true(reachable(flat, 4, 1, 0, 0.49) == 3);
    assert_true(reachable(flat, 4, 1, 0, 0.5) == 7);
    assert_true(reachable(flat, 4, 1, 0, 0.8) == 15 && reachable(flat, 4, 1, 0, 1) == 15);
    assert_true(reachable(flat, 4, 1, 2, 0.8) == 3);               /* whichever is narrower */
    assert_true(reachable(flat, 4, 1, 3, 0.25) == 3);
    assert_true(reachable(steep, 4, 1, 0, 0.9) == 2);
    assert_true(reachable(flat, 4, 1, 0, -1) == 1 && reachable(steep, 4, 1, 0, -1) == 2);
}

/* What is kept is renormalised: of 1/2, 1/4, 1/4 with top_k 2, the first comes in 2/3 of the
 * draws. */
static void renormalised(void **state) {
    (void)state;
    const double z[] = {log(2), 0, 0};
    int first = 0;
    mr_rng rng = mr_rng_seed(6);
    for (int i = 0; i < 30000; i++) first += draw(z, 3, 1, 2, 1, &rng) == 0;
    assert_true(fabs(first - 20000.0) <= 5 * sqrt(30000 * 2.0 / 9));
}

/* NaN and -inf have probability 0; logits of 1e4 do not overflow; one token is always that one. */
static void odd_logits(void **state) {
    (void)state;
    const double n = (double)NAN, z[] = {n, 1e4, -(double)INFINITY, 1e4, n}, one[] = {-3},
                 lost[] = {n, n, n};
    assert_true(reachable(z, 5, 1, 0, 1) == (1 << 1 | 1 << 3));
    assert_true(reachable(one, 1, 1, 0, 1) == 1);
    /* no distribution, but still an id */
    assert_true(reachable(lost, 3, 1, 0, 1) < 8);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splitmix64), cmocka_unit_test(uniform), cmocka_unit_test(argmax),
        cmocka_unit_test(argmax_of_nan_and_minus_infinity), cmocka_unit_test(greedy),
        cmocka_unit_test(inverse_distribution), cmocka_unit_test(boundaries),
        cmocka_unit_test(distribution), cmocka_unit_test(same_seed_same_tokens),
        cmocka_unit_test(top_k), cmocka_unit_test(top_p), cmocka_unit_test(renormalised),
        cmocka_unit_test(odd_logits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
