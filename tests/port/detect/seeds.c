/* Seeds: is each one caught, at the tensor that shows it first, and by its right name? */
#include "tests/port/detect/detect.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *id, *name, *what, *first, *needs, *example, *cause;
} seeds[] = {
#define BUG(id, name, what, first, needs, example, cause) \
    {#id, name, what, first, needs, example, cause},
#include "tests/port/bugs.def"
};

/* What a proved cause must say to be the seed's: any of the words, which | separates. */
static const struct {
    const char *cause, *words;
} right[] = {
    {"window-inclusive", "window of 6"}, {"window-lost", "no sliding window"},
    {"window-null", "window of 1 key"}, {"window-stale", "window of 5"},
    {"window-layers", "every layer"}, {"ring-eviction", "ring"},
    {"ring-length", "window of 4|ring"},
    {"rows-without-keys", "without keys|padding"},
    {"causal-alignment", "counted from the first key"},
    {"not-causal", "later keys"}, {"packing", "other sequences"},
    {"stale-cache", "other sequences"},
    {"padding-mask", "end tokens"}, {"cache-scale", "cached"}, {"theta", "rope_theta"},
    {"rope-layout", "rotates"}, {"rope-permutation", "permuted"}, {"rope-precision", "bf16"},
    {"rope-table", "table"}, {"position-query", "queries"},
    {"position-shift", "position -1|another sequence"},
    {"position-restart", "start again"}, {"position-padding", "padding"},
    {"heads-tiled", "tiled"}, {"heads-tile", "tile"}, {"heads-shards", "shards"},
    {"scale", "(dim/heads)"}, {"attention-reshape", "rows of dim"},
    {"heads-first", "heads before tokens"}, {"attention-half", "bf16|f16"},
    {"epsilon", "epsilon"}, {"layer-norm", "LayerNorm"}, {"norm-twice", "twice"},
    {"residual", "residual"}, {"index-overflow", "index"}, {"gate-up-swapped", "swapped"},
    {"no-renormalisation", "renormalised"}, {"experts-unweighted", "without gate"},
    {"router-precision", "bf16"}, {"router-dtype", "read as"}, {"expert-offset", "rank"},
    {"expert-bins", "bins"}, {"expert-tile", "tile"}, {"router-softmax-twice", "twice"},
    {"logits-half", "bf16"}, {"head", "head"}, {"weight-dtype", "read as"},
};

static const char *const stores[] = {"f32", "bf16"}, *const records[] = {"all", "fused", "sparse"};

/* Why some seeds pass, or pass without a cause. */
static const struct {
    const char *id, *why;
} reasons[] = {
    {"N04, bf16", "one rounding instead of two: both orders are legal, as in F01 to F09"},
    {"A09, bf16, fused", "scores off by 2^-12 of themselves move an output by about a hundredth "
     "of the distance between two bf16 numbers: in this run every number is one that a correct "
     "engine may give ((V10) of docs/NUMERICS.md tries them all); with "
     "`mixtral_e7k2_w5 --tokens 5,17,3,29,11` it is caught and explained"},
    {"sparse", "a whole layer is one step: its bound covers all roundings in it; in bf16 little "
     "is left to see (`all` or `fused` is the remedy)"},
    {"no cause: M14, M21, R07, N08, L02, L04, E14", "what a port reads there is junk that no "
     "reference can reproduce"},
    {"no cause: K03, K05", "the second turn of a conversation is not in `meta`"},
    {"no cause: A08, A10", "half-precision sums depend on an order that nobody recorded"},
};

typedef struct {
    long run, caught, located, named, alone, wrong, silent, mutants, alarms;
} totals;

/* "layers.N.experts.X.out" fits "layers.1.experts.3.out". */
static bool fits(const char *pattern, const char *name) {
    while (*pattern != '\0' && *name != '\0') {
        if (*pattern == 'N' || *pattern == 'X') {
            const size_t digits = strspn(name, "0123456789");
            if (digits == 0) return false;
            pattern++;
            name += digits;
        } else if (*pattern++ != *name++) return false;
    }
    return *pattern == *name;
}

static const char *ending(const char *name) {
    for (; strncmp(name, "layers.", 7) == 0 || strncmp(name, "experts.", 8) == 0; ) {
        name = strchr(name, '.') + 1;
        name = strchr(name, '.') + 1;
    }
    return name;
}

/* Place of an operation in its layer, for recordings that lack it. */
static int order(const char *name) {
    static const char *const all[] = {
        "tok_embeddings", "attention_norm", "q", "k", "v", "q_rope", "k_rope", "scores", "probs",
        "attention", "attention_out", "h_mid", "ffn_norm", "w1", "w3", "act", "router_logits",
        "router_experts", "router_weights", "out", "ffn_out", "h", "norm", "logits"};
    for (int i = 0; i < (int)(sizeof all / sizeof *all); i++)
        if (strcmp(ending(name), all[i]) == 0) return i;
    return -1;
}

/* The first recorded tensor of this kind, or of what comes after it in the layer. */
static bool located(const char *first, const mr_verification *v) {
    const char *name = v->list[v->first].name;
    const int at = order(first), found = order(name);
    bool exact = false;
    if (fits(first, name)) return true;
    for (idx i = 0; i < v->count; i++) exact = exact || fits(first, v->list[i].name);
    if (exact || found < at) return false;
    for (idx i = 0; i < v->first; i++)      /* none between, in the same layer */
        if (order(v->list[i].name) >= at && order(v->list[i].name) < found &&
            !(at <= 3 && at >= 2 && order(v->list[i].name) <= 3 + 2 * (at == 3)) &&
            strncmp(v->list[i].name, name, 9) == 0 && strncmp(name, "layers.", 7) == 0)
            return false;
    return true;
}

static bool says(const char *name, const char *words) {
    char one[64];
    while (*words != '\0') {
        const size_t n = strcspn(words, "|");
        snprintf(one, sizeof one, "%.*s", (int)n, words);
        if (strstr(name, one) != NULL) return true;
        words += n + (words[n] == '|');
    }
    return false;
}

/* 1: one of the causes is right; -1: there are some, none right; 0: there is none. */
static int judged(const char *cause, const mr_causes *c) {
    for (size_t i = 0; i < sizeof right / sizeof *right; i++)
        for (idx n = 0; strcmp(right[i].cause, cause) == 0 && n < c->count; n++)
            if (says(c->proved[n].name, right[i].words)) return 1;
    return c->count > 0 ? -1 : 0;
}

/* Does the seed change any recorded bit here? */
static bool silent(const detect_place *p, const char *model, const char *args, const char *bug,
                   const char *store) {
    char command[2048];
    snprintf(command, sizeof command,
             "%s %s%s%s %s --dtype %s -o %s/a.npz && %s %s%s%s %s --dtype %s --bug %s -o %s/b.npz "
             "&& cmp -s %s/a.npz %s/b.npz",
             p->port, strncmp(model, "made/", 5) ? "golden/cases/" : p->work,
             strncmp(model, "made/", 5) ? "" : "/", model, args, store, p->work, p->port,
             strncmp(model, "made/", 5) ? "golden/cases/" : p->work,
             strncmp(model, "made/", 5) ? "" : "/", model, args, store, bug, p->work, p->work,
             p->work);
    return system(command) == 0;
}

static void report_seed(size_t i, const char *record, const detect_run *r, totals *t, FILE *out) {
    const mr_verification *v = &r->found;
    const bool caught = r->status == MR_DISAGREE, here = caught && located(seeds[i].first, v);
    const int judgement = caught ? judged(seeds[i].cause, &r->causes) : 0;
    t->run++;
    t->caught += caught;
    t->located += here;
    t->named += judgement > 0;
    t->alone += judgement > 0 && r->causes.count == 1;
    t->wrong += judgement < 0;
    fprintf(out, "| %s | %s | %s | %s | %s%s | ", seeds[i].id, seeds[i].name, record,
            caught ? "yes" : "**no**", caught ? v->list[v->first].name : "",
            caught && !here ? " (**elsewhere**)" : "");
    if (judgement < 0) fputs("**wrong:** ", out);
    for (idx n = 0; n < r->causes.count; n++)
        fprintf(out, "%s%s", n > 0 ? "; or " : "", r->causes.proved[n].name);
    fputs(" |\n", out);
}

static void report_mutant(size_t i, const char *record, const detect_run *r, totals *t, FILE *out) {
    const mr_verification *v = &r->found;
    const bool harmless = r->causes.count > 0 && r->causes.proved[0].harmless;
    const bool alarm = r->status != MR_OK && !harmless;
    t->mutants++;
    t->alarms += alarm;
    fprintf(out, "| %s | %s | %s | %s | %s | %s |\n", seeds[i].id, seeds[i].name, record,
            alarm ? "**false alarm**" : harmless || v->explained > 0 ? "explained" : "no",
            v->first >= 0 ? v->list[v->first].name : "",
            harmless ? r->causes.proved[0].name : "");
}

static void one_seed(size_t i, const detect_place *place, const char *store, const char *record,
                     totals *t, FILE *out) {
    char model[64], args[512], words[512];
    const size_t n = strcspn(seeds[i].example, " ");
    detect_run r;
    snprintf(model, sizeof model, "%.*s", (int)n, seeds[i].example);
    snprintf(args, sizeof args, "%s --record %s", seeds[i].example + n, record);
    for (char *p; (p = strchr(args, ';')) != NULL; ) *p = '\1';   /* not the shell's semicolon */
    size_t to = 0;
    for (const char *p = args; *p != '\0' && to + 4 < sizeof words; p++) {
        if (*p == '\1') words[to++] = '\\', words[to++] = ';';
        else words[to++] = *p;
    }
    words[to] = '\0';
    char *dtype = strstr(words, "--dtype bf16");
    if (dtype != NULL) memset(dtype, ' ', 12);
    const bool mutant = seeds[i].id[0] == 'F';
    if (!mutant && silent(place, model, words, seeds[i].id, store)) {
        t->silent++;
        fprintf(out, "| %s | %s | %s | same bits | | |\n", seeds[i].id, seeds[i].name, record);
        return;
    }
    snprintf(words + to, sizeof words - to, " --bug %s", seeds[i].id);
    detect_verify(&r, place, model, words, store, "f32", true);
    if (mutant) report_mutant(i, record, &r, t, out);
    else report_seed(i, record, &r, t, out);
    detect_close(&r);
}

static void print_totals(totals all[2][3], FILE *out) {
    fputs("\n## Totals\n\nRecorded: `all` tensors; `fused`: what an engine gives without a debug "
          "build; `sparse`: embeddings, `h`, `norm`, `logits`.\n\n"
          "| storage | recorded | seeds | caught | located | cause right | "
          "and no other | cause wrong | same bits | mutants | false alarms |\n"
          "|---|---|---|---|---|---|---|---|---|---|---|\n", out);
    for (int s = 0; s < 2; s++)
        for (int r = 0; r < 3; r++) {
            const totals *t = &all[s][r];
            fprintf(out, "| %s | %s | %ld | %ld | %ld | %ld | %ld | %ld | %ld | %ld | %ld |\n",
                    stores[s], records[r], t->run, t->caught, t->located, t->named, t->alone,
                    t->wrong, t->silent, t->mutants, t->alarms);
        }
    fputs("\nSame bits: the seed changes nothing that is recorded in this storage. Located: at the "
          "tensor of bugs.def, or the next one recorded. A cause is right when the true one is "
          "among the proved; causes that fit alike cannot be told apart by the run.\n\n"
          "What is missed, and what stays without a cause:\n", out);
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        fprintf(out, "* %s: %s\n", reasons[i].id, reasons[i].why);
}

int detect_seeds(const detect_place *place, FILE *out) {
    totals all[2][3] = {{{0}}};
    FILE *tables = tmpfile();
    if (tables == NULL) return 3;
    for (int s = 0; s < 2; s++) {
        fprintf(tables, "\n## Seeds, storage %s\n\n| seed | | recorded | caught | first faulty "
                        "tensor | proved causes |\n|---|---|---|---|---|---|\n", stores[s]);
        for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++)
            for (int r = 0; r < 3; r++)
                one_seed(i, place, stores[s], records[r], &all[s][r], tables);
    }
    print_totals(all, out);
    rewind(tables);
    for (int c; (c = getc(tables)) != EOF; ) putc(c, out);
    fclose(tables);
    int status = 0;
    for (int i = 0; i < 6; i++) status |= all[i / 3][i % 3].wrong + all[i / 3][i % 3].alarms > 0;
    return status;
}
