/* THE table of options: parsing and --help both come from it. */
#include "cli/cli.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#define ALL (~0U)
#define VALUE(field) offsetof(mr_args, field), true
#define FLAG(field)  offsetof(mr_args, field), false

static const struct row {
    const char *name;
    char        letter;      /* short form, or 0 */
    unsigned    commands;    /* who accepts it */
    size_t      field;       /* offset in mr_args */
    bool        takes_value;
    const char *value, *help;
} table[] = {
    {"prompt", 'p', CMD_MODEL, VALUE(prompt), "TEXT", "prompt; the model's BOS id goes before it"},
    {"tokens", 0, CMD_MODEL, VALUE(tokens), "I,I,..", "token ids as they are, no BOS added"},
    {"tokens", 0, CMD_MASK, VALUE(tokens), "T", "number of tokens"},
    {"steps", 'n', CMD_RUN | CMD_CHAT, VALUE(steps), "N",
     "tokens to generate (default 128; of an answer in a chat: 1024)"},
    {"temp", 't', CMD_RUN | CMD_CHAT, VALUE(temperature), "X",
     "temperature; 0, the default, takes the most probable token"},
    {"temp", 't', CMD_TRAIN, VALUE(temperature), "X",
     "temperature of answers (default 1 in rl, 0 of --sample)"},
    {"top-p", 0, CMD_RUN | CMD_CHAT | CMD_TRAIN, VALUE(top_p), "X",
     "keep the most probable tokens up to this sum (default 1)"},
    {"top-k", 0, CMD_RUN | CMD_CHAT | CMD_TRAIN, VALUE(top_k), "N",
     "keep the N most probable tokens (default 0: all)"},
    {"seed", 's', CMD_RUN | CMD_CHAT | CMD_INIT | CMD_TRAIN, VALUE(seed), "S",
     "seed of the random numbers (default 0)"},
    {"std", 0, CMD_INIT, VALUE(std), "X", "standard deviation of the matrices (default 0.02)"},
    {"embedding-std", 0, CMD_INIT, VALUE(embedding_std), "X", "of the embedding (default: --std)"},
    {"output", 'o', CMD_TRACE | CMD_INIT | CMD_CONVERT | CMD_TRAIN, VALUE(output), "PATH",
     "where to write"},
    {"only", 0, CMD_TRACE | CMD_COMPARE, VALUE(only), "GLOB",
     "only tensors of this name, for example 'layers.0.*'"},
    {"decode", 0, CMD_TRACE, VALUE(decode), "N", "then generate N tokens greedily, traced as well"},
    {"grad", 0, CMD_TRACE, FLAG(grad), NULL,
     "also the mean next-token cross-entropy and its gradient by every tensor and parameter"},
    {"decode", 0, CMD_TOKENIZE, VALUE(decode), "I,I,..", "ids to text"},
    {"bos", 0, CMD_TOKENIZE, FLAG(bos), NULL, "begin with the BOS id"},
    {"no-bos", 0, CMD_TOKENIZE, FLAG(no_bos), NULL, "no BOS id"},
    {"jsonl", 0, CMD_TOKENIZE | CMD_CHAT_TEMPLATE, FLAG(jsonl), NULL, "a JSON object per line"},
    {"version", 0, CMD_RUN | CMD_CHAT_TEMPLATE | CMD_CHAT | CMD_TRAIN, VALUE(version),
     "v1|v2|v3|v7|v11|v13", "chat template (default: the tokenizer's own)"},
    {"system", 0, CMD_CHAT, VALUE(system), "TEXT", "system text"},
    {"chunk", 0, CMD_MODEL | CMD_MASK, VALUE(chunk), "N", "feed the prompt N tokens at a time"},
    {"precision", 0, CMD_MODEL | CMD_CHAT, VALUE(precision), "f32|f64|bf16|f16",
     "arithmetic, or 16-bit storage emulated in f32 (default f32)"},
    {"engine", 0, CMD_MODEL | CMD_CHAT | CMD_TRAIN, VALUE(engine), "plain|blas",
     "C loops in fixed order, or OpenBLAS (default plain)"},
    {"dispatch", 0, CMD_MODEL | CMD_CHAT, VALUE(dispatch), "grouped|naive",
     "rows per expert, or token by token (default grouped)"},
    {"threads", 0, CMD_MODEL | CMD_CHAT | CMD_SELFTEST | CMD_TRAIN, VALUE(threads), "N",
     "threads; never changes a bit in the plain engine"},
    {"window", 0, CMD_COMPARE | CMD_MODEL | CMD_CHAT | CMD_MASK | CMD_INFO, VALUE(window), "N|none",
     "sliding window of every layer"},
    {"window-rule", 0, CMD_COMPARE | CMD_MODEL | CMD_CHAT | CMD_MASK, VALUE(window_rule),
     "causal|swa|swa-inclusive|longformer", "see docs/MODEL.md (A1)"},
    {"rule", 0, CMD_MASK, VALUE(window_rule), "RULE", "the same as --window-rule"},
    {"rope-theta", 0, CMD_COMPARE | CMD_MODEL | CMD_CHAT, VALUE(rope_theta), "X",
     "base of the rotary frequencies"},
    {"rope-angles", 0, CMD_COMPARE | CMD_MODEL | CMD_CHAT | CMD_TRAIN, VALUE(rope_angles),
     "f32|exact", "angle formed in float32 as PyTorch does, or in double (default f32)"},
    {"rope-layout", 0, CMD_COMPARE | CMD_MODEL | CMD_CHAT, VALUE(rope_layout), "interleaved|half",
     "order of q and k in memory and traces (default interleaved)"},
    {"norm-eps", 0, CMD_COMPARE | CMD_MODEL | CMD_CHAT, VALUE(norm_eps), "X", "epsilon of RMSNorm"},
    {"convention", 0, CMD_MODEL | CMD_CHAT, VALUE(convention), "native|hf",
     "rounding points and router order (default native)"},
    {"attention-rounding", 0, CMD_MODEL | CMD_CHAT, VALUE(attention_rounding), "eager|fused",
     "round scores and probs, or only the output"},
    {"router-order", 0, CMD_MODEL | CMD_CHAT, VALUE(router_order), "topk-softmax|softmax-topk",
     "order of selection and softmax"},
    {"expert-order", 0, CMD_MODEL | CMD_CHAT, VALUE(expert_order), "ascending|slots",
     "order in which experts are summed"},
    {"capacity-factor", 0, CMD_MODEL | CMD_CHAT, VALUE(capacity_factor), "X",
     "drop copies over an expert's capacity (default 0: dropless)"},
    {"capacity-rank", 0, CMD_MODEL | CMD_CHAT, VALUE(capacity_rank), "tokens|slots",
     "who is dropped first"},
    {"context", 'c', CMD_INFO, VALUE(context), "N",
     "tokens in the context, for cache and FLOPs (default: the model's)"},
    {"to", 0, CMD_CONVERT | CMD_INIT | CMD_TRAIN, VALUE(to), "hf|native", "layout to write"},
    {"dtype", 0, CMD_CONVERT, VALUE(dtype), "f64|f32|bf16|f16",
     "element type to write (default: as MODEL)"},
    {"dtype", 0, CMD_TRAIN, VALUE(dtype), "f64|f32|bf16|f16",
     "element type to write (default f32)"},
    {"dtype", 0, CMD_INIT, VALUE(dtype), "bf16|f32", "element type to write (default bf16)"},
    {"model", 0, CMD_COMPARE, VALUE(against), "MODEL",
     "the port's model: every operation is re-run on its own inputs"},
    {"dtype", 0, CMD_COMPARE, VALUE(dtype), "f32|tf32|bf16|f16|fp8",
     "what the port stores (default: as its trace says)"},
    {"kv-heads", 0, CMD_CONVERT, VALUE(kv_heads), "G",
     "average key and value heads into G groups (A3)"},
    {"chat", 0, CMD_RUN | CMD_TRAIN, FLAG(chat), NULL,
     "TEXT is a user message of the model's chat template"},
    {"verbose", 'v', CMD_SELFTEST | CMD_COMPARE, FLAG(verbose), NULL, "a line per tensor"},
    {"map", 0, CMD_COMPARE, VALUE(map), "hf|native|FILE",
     "names of the port's tensors: module paths, or a map file (docs/FORMATS.md)"},
    {"paths", 0, CMD_COMPARE, FLAG(paths), NULL,
     "compare traces of one port with each other: prefill, chunks, decoding, batches"},
    {"junit", 0, CMD_COMPARE, VALUE(junit), "FILE", "also a report for CI, a test case per tensor"},
    {"html", 0, CMD_COMPARE, VALUE(html), "FILE", "also a page for the eye; no network needed"},
#include "cli/train_options.def"
    {"json", 0, ALL, FLAG(json), NULL, "the result as one JSON document"},
};

#define ROWS (sizeof table / sizeof *table)

/* What getopt_long wants: the command's rows, ids from 256 on so that they never meet a letter. */
static void getopt_table(unsigned bit, struct option *longs, char *shorts) {
    char *at = shorts;
    *at++ = ':';
    for (size_t i = 0; i < ROWS; i++) {
        if (!(table[i].commands & bit)) continue;
        *longs++ = (struct option){table[i].name,
                                   table[i].takes_value ? required_argument : no_argument, NULL,
                                   256 + (int)i};
        if (table[i].letter) *at++ = table[i].letter;
        if (table[i].letter && table[i].takes_value) *at++ = ':';
    }
    *longs = (struct option){0};
    *at = '\0';
}

static const struct row *row_of(int found, unsigned bit) {
    for (size_t i = 0; i < ROWS; i++)
        if ((table[i].commands & bit) &&
            (found == 256 + (int)i || (table[i].letter && found == table[i].letter)))
            return &table[i];
    return NULL;
}

static mr_status positionals(int argc, char **argv, int at, const mr_command *command,
                             mr_args *args, mr_err *err) {
    const char **slots[] = {&args->model,   &args->file,    &args->more[0], &args->more[1],
                            &args->more[2], &args->more[3], &args->more[4], &args->more[5]};
    const char *excess = argc - at > command->most ? argv[at + command->most] : NULL;
    if (excess != NULL)
        return mr_fail(err, MR_USAGE, "%s: unexpected argument \"%s\"; usage: mistral-ref %s %s",
                       command->name, excess, command->name, command->synopsis);
    if (argc - at < command->least)
        return mr_fail(err, MR_USAGE, "%s: no model named; usage: mistral-ref %s %s", command->name,
                       command->name, command->synopsis);
    for (int n = 0; at < argc; n++) *slots[n] = argv[at++];
    return MR_OK;
}

mr_status mr_parse(int argc, char **argv, const mr_command *command, mr_args *args, mr_err *err) {
    struct option longs[ROWS + 1];
    char shorts[2 * ROWS + 2];
    int found;
    getopt_table(command->bit, longs, shorts);
    opterr = 0;
    while ((found = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
        const struct row *row = row_of(found, command->bit);
        if (row == NULL)
            return mr_fail(err, MR_USAGE, "%s: %s \"%s\"; mistral-ref %s --help lists the options",
                           command->name, found == ':' ? "no value for option" : "unknown option",
                           argv[optind - 1], command->name);
        if (row->takes_value) *(const char **)(void *)((char *)args + row->field) = optarg;
        else *((bool *)(void *)((char *)args + row->field)) = true;
    }
    return positionals(argc, argv, optind, command, args, err);
}

/* A word as the shell reads it back: in quotes unless it is plain. */
static void shell_word(const char *word, mr_writer *out) {
    const bool plain = *word != '\0' && word[strspn(word, "abcdefghijklmnopqrstuvwxyz"
                                                          "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                                          "0123456789_-+=:,./@%")] == '\0';
    if (plain) mr_writer_bytes(out, word, (idx)strlen(word));
    if (plain) return;
    mr_writer_bytes(out, "'", 1);
    for (; *word != '\0'; word++)
        if (*word == '\'') mr_writer_bytes(out, "'\\''", 4);
        else mr_writer_bytes(out, word, 1);
    mr_writer_bytes(out, "'", 1);
}

void mr_say_command(const mr_command_line *line, mr_writer *out) {
    mr_writer_add(out, "mistral-ref %s", line->command);
    for (int i = 0; i < 2; i++) {
        const char *word = i == 0 ? line->args->model : line->args->file;
        if (word == NULL) continue;
        mr_writer_add(out, word[0] == '-' ? " ./" : " ");   /* a file, not an option */
        shell_word(word, out);
    }
    for (size_t i = 0; i < ROWS; i++) {
        const struct row *r = &table[i];
        const char *at = (const char *)line->args + r->field;
        if (!(r->commands & line->bit)) continue;
        const char *value = r->takes_value ? *(const char *const *)(const void *)at : NULL;
        const bool set = r->takes_value ? value != NULL : *(const bool *)(const void *)at;
        if (!set) continue;
        mr_writer_add(out, " --%s", r->name);
        if (value != NULL) mr_writer_add(out, " "), shell_word(value, out);
    }
}

void mr_print_options(const mr_command *command) {
    for (size_t i = 0; i < ROWS; i++) {
        if (!(table[i].commands & command->bit)) continue;
        char left[96];
        const int n = snprintf(left, sizeof left, "%s--%s%s%s", "", table[i].name,
                               table[i].takes_value ? " " : "",
                               table[i].takes_value ? table[i].value : "");
        if (table[i].letter) snprintf(left + n, sizeof left - (size_t)n, ", -%c", table[i].letter);
        printf("  %-46s %s\n", left, table[i].help);
    }
}
