/* The order of the examples and the seeds of everything random: functions of the seed and a
 * number, so that a checkpoint needs no generator's state.
 *
 *   stream(seed, purpose, n): r = splitmix64 of `seed`, its first number xor (purpose 2^56 + n);
 *                             splitmix64 seeded with that is the stream
 *   order of pass p: Fisher & Yates' shuffle (Durstenfeld 1964) of 0..n-1 with stream(seed, 1, p):
 *                             for i = n-1 down to 1, swap i with (next mod (i + 1)) */
#include "cli/train.h"

mr_rng mr_train_stream(uint64_t seed, uint64_t purpose, uint64_t number) {
    mr_rng first = mr_rng_seed(seed);
    return mr_rng_seed(mr_rng_next(&first) ^ ((purpose << 56) + number));
}

mr_status mr_train_order_open(mr_train_order *o, idx n, const mr_train_settings *settings,
                              mr_err *err) {
    *o = (mr_train_order){.n = n, .pass = -1, .seed = settings->seed,
                          .shuffle = settings->shuffle};
    o->place = mr_alloc(n, sizeof *o->place, err);
    return o->place != NULL ? MR_OK : MR_BAD;
}

static void shuffle(mr_train_order *o) {
    mr_rng rng = mr_train_stream(o->seed, MR_STREAM_ORDER, (uint64_t)o->pass);
    for (idx i = 0; i < o->n; i++) o->place[i] = i;
    for (idx i = o->n - 1; i > 0 && o->shuffle; i--) {
        const idx j = (idx)(mr_rng_next(&rng) % (uint64_t)(i + 1)), moved = o->place[i];
        o->place[i] = o->place[j];
        o->place[j] = moved;
    }
}

idx mr_train_order_at(mr_train_order *o, int64_t position) {
    const int64_t pass = position / o->n;
    if (pass != o->pass) {
        o->pass = pass;
        shuffle(o);
    }
    return o->place[position % o->n];
}
