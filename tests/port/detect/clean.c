/* Correct runs: random tokens, lengths, layouts and paths, none of which may be called wrong. */
#include "tests/port/detect/detect.h"

#include <string.h>

#define OPERATIONS 32
#define WAYS 5

static const char *const models[] = {"dense_gqa", "dense_gqa_w5", "dense_mha", "dense_mqa_tied",
                                     "mixtral_e3k3", "mixtral_e4k1", "mixtral_e5k2",
                                     "mixtral_e7k2_w5", "made/square", "made/mixed", "made/tie"};
static const char *const ways[WAYS][2] = {{"f32", "f32"}, {"f32", "tf32"}, {"bf16", "f32"},
                                          {"bf16", "tf32"}, {"f16", "f32"}};

/* Largest error / bound of one operation, and the same by the statistical bound; alarms apart. */
typedef struct {
    char   name[32];
    double ratio[WAYS], likely[WAYS];
} sharpness;

static uint64_t state = 1;

static long draw(long below) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (long)((state >> 33) % (uint64_t)below);
}

static void keep(sharpness *table, const mr_finding *f, int way) {
    const char *last = strrchr(f->name, '.');
    const char *name = last == NULL ? f->name : last + 1;
    if (strstr(f->name, ".experts.") != NULL) name = "experts.out";
    if (strcmp(name, "router_experts") == 0) return;
    for (int i = 0; i < OPERATIONS; i++) {
        if (table[i].name[0] == '\0') snprintf(table[i].name, sizeof table[i].name, "%.31s", name);
        if (strcmp(table[i].name, name) != 0) continue;
        if (f->ratio > table[i].ratio[way]) table[i].ratio[way] = f->ratio;
        if (f->likely > table[i].likely[way]) table[i].likely[way] = f->likely;
        return;
    }
}

/* One to three sequences, sometimes packed or padded, in chunks, with decode steps. */
static void choose_run(char *args, size_t size) {
    static const char *const layouts[] = {"alone", "right", "left", "packed"};
    static const char *const records[] = {"all", "fused", "sparse", "'layers.*.h'",
                                          "'*probs,*attention'"};
    const long sequences = draw(3) == 0 ? 2 + draw(2) : 1;
    size_t at = (size_t)snprintf(args, size, "--tokens '");
    for (long b = 0; b < sequences; b++) {
        const long kind = draw(40), length = 1 + draw(kind == 0 ? 300 : kind < 10 ? 60 : 14);
        for (long t = 0; t < length; t++)
            at += (size_t)snprintf(args + at, size - at, "%s%ld", t ? "," : b ? ";" : "",
                                   draw(37));
    }
    at += (size_t)snprintf(args + at, size - at, "' --layout %s --record %s --rope-layout %s",
                           layouts[draw(4)], records[draw(5)], draw(2) ? "half" : "interleaved");
    if (draw(3) == 0) at += (size_t)snprintf(args + at, size - at, " --chunk %ld", 1 + draw(9));
    if (draw(3) == 0) at += (size_t)snprintf(args + at, size - at, " --decode %ld", 1 + draw(6));
    if (draw(6) == 0)
        snprintf(args + at, size - at, " --first %ld", draw(2) ? draw(100) : draw(40000));
}

int detect_clean(const detect_place *place, long count, FILE *out) {
    sharpness table[OPERATIONS] = {{{0}, {0}, {0}}};
    long alarms = 0, explained = 0, broken = 0;
    char args[4096];
    for (long n = 0; n < count; n++) {
        const int way = (int)(n % WAYS);
        const char *model = models[draw((long)(sizeof models / sizeof *models))];
        detect_run r;
        choose_run(args, sizeof args);
        detect_verify(&r, place, model, args, ways[way][0], ways[way][1], false);
        for (idx i = 0; i < r.found.count; i++)
            if (r.found.list[i].verdict == MR_AGREES) keep(table, &r.found.list[i], way);
        explained += r.found.explained > 0;
        broken += r.status == MR_BAD;
        if (r.status == MR_DISAGREE && ++alarms <= 10)
            fprintf(stderr, "detect: false alarm in %s (%g): %s %s --dtype %s --acc %s\n",
                    r.found.list[r.found.first].name, r.found.list[r.found.first].ratio, model,
                    args, ways[way][0], ways[way][1]);
        detect_close(&r);
    }
    fprintf(out, "\n## Correct runs\n\n%ld runs (random models of golden/cases, tokens, lengths 1 "
                 "to 300, layouts, chunks, decoding, positions, recordings): %ld false alarms, "
                 "%ld with an explained choice, %ld that did not run.\n\n"
                 "Largest error / bound by operation (storage, accumulator); in brackets against "
                 "the statistical bound, which decides nothing:\n\n| operation |",
            count, alarms, explained, broken);
    for (int w = 0; w < WAYS; w++) fprintf(out, " %s, %s |", ways[w][0], ways[w][1]);
    fputs("\n|---|---|---|---|---|---|\n", out);
    for (int i = 0; i < OPERATIONS && table[i].name[0] != '\0'; i++) {
        fprintf(out, "| %s |", table[i].name);
        for (int w = 0; w < WAYS; w++)
            fprintf(out, " %.2g (%.2g) |", table[i].ratio[w], table[i].likely[w]);
        fputs("\n", out);
    }
    return alarms > 0 || broken > 0;
}
