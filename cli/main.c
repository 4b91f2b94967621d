/* mistral-ref: picks the subcommand, reports its one message, and exits with its status. */
#define _POSIX_C_SOURCE 200809L

#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const mr_command commands[] = {
    {"run", CMD_RUN, 1, 1, mr_cmd_run, "MODEL (-p TEXT | --tokens I,I,..) [-n N]", "generate text"},
    {"logits", CMD_LOGITS, 1, 1, mr_cmd_logits, "MODEL (-p TEXT | --tokens I,I,..)",
     "logits of every position"},
    {"score", CMD_SCORE, 1, 2, mr_cmd_score, "MODEL [FILE]",
     "log-probability of every token, perplexity"},
    {"trace", CMD_TRACE, 1, 1, mr_cmd_trace,
     "MODEL (-p TEXT | --tokens I,I,..) -o OUT.npz|.safetensors",
     "write every intermediate tensor"},
    {"routing", CMD_ROUTING, 1, 2, mr_cmd_routing, "MODEL (-p TEXT | --tokens I,I,.. | FILE)",
     "which experts each token chose"},
    {"compare", CMD_COMPARE, 2, 8, mr_cmd_compare,
     "GOLDEN PORT --model MODEL [--dtype f32|tf32|bf16|f16|fp8] [--map hf|native|FILE] | "
     "--paths A B..",
     "which operation of a port is wrong, since where, and why"},
    {"info", CMD_INFO, 1, 1, mr_cmd_info, "MODEL|CONFIG|TRACE",
     "sizes, parameters, FLOPs, memory; the tensors of a trace"},
    {"tokenize", CMD_TOKENIZE, 1, 2, mr_cmd_tokenize, "MODEL|TOKENIZER-FILE [TEXT]",
     "text to ids, ids to text"},
    {"chat-template", CMD_CHAT_TEMPLATE, 1, 2, mr_cmd_chat_template,
     "MODEL|TOKENIZER-FILE [FILE.json] [--version v1|v2|v3|v7|v11|v13]",
     "a conversation to the text and ids of its template"},
    {"chat", CMD_CHAT, 1, 1, mr_cmd_chat, "MODEL [-n N] [--temp T] [--system TEXT]",
     "talk to the model in the terminal"},
    {"mask", CMD_MASK, 0, 0, mr_cmd_mask, "--tokens T [--window W] [--chunk N] [--rule RULE]",
     "who sees whom"},
    {"init", CMD_INIT, 1, 1, mr_cmd_init, "CONFIG -o DIR [--seed S]",
     "a random-weight model that any program can rebuild"},
    {"train", CMD_TRAIN, 2, 2, mr_cmd_train,
     "sft|reward|dpo|rl MODEL --data FILE.jsonl -o DIR [--steps N] [--lr X]",
     "fine-tune on texts, preferences or rewards"},
    {"convert", CMD_CONVERT, 1, 1, mr_cmd_convert,
     "MODEL -o DIR --to hf|native [--dtype f32|bf16|f16]", "save in another layout"},
    {"selftest", CMD_SELFTEST, 0, 1, mr_cmd_selftest, "[CASES]",
     "every golden case against this build"},
};

#define COMMANDS (sizeof commands / sizeof *commands)

static void usage(FILE *out) {
    fprintf(out, "mistral-ref " MR_VERSION
                 ": reference implementation of the Mistral family, checked against PyTorch\n\n");
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(out, "  mistral-ref %-13s %s\n%28s%s\n", commands[i].name,
                commands[i].synopsis, "", commands[i].help);
    fprintf(out, "\nmistral-ref COMMAND --help lists a command's options. Exit status: 0 good, 1 "
                 "numbers disagree, 2 usage,\n"
                 "3 bad file or shape, 4 a tensor is missing, 5 the comparison proves nothing.\n");
}

static bool asks_help(const char *word) {
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* Some file systems report a lost write only when a number of the file is closed. */
static bool stdout_lost(void) {
    if (fflush(stdout) != 0 || ferror(stdout)) return true;
    const int copy = dup(STDOUT_FILENO);
    return copy >= 0 && close(copy) != 0 && errno != EINTR;
}

/* The command's status; a result that could not be written is a failure too. */
static int finish(mr_status status, const mr_err *err) {
    const bool verdict = err->code < MR_USAGE || err->code == MR_PROVES_NOTHING;
    const bool lost = stdout_lost() && verdict;
    if (lost) fprintf(stderr, "mistral-ref: writing to standard output failed\n");
    else if (err->code != MR_OK) fprintf(stderr, "mistral-ref: %s\n", err->text);
    return lost ? MR_BAD : (int)status;
}

static int help_of(const mr_command *command) {
    printf("mistral-ref %s %s\n%s\n\n", command->name, command->synopsis, command->help);
    mr_print_options(command);
    return finish(MR_OK, &(mr_err){0});
}

/* The number of a closed standard stream would go to the next file that is opened, and messages
 * into that file. What takes its place can not be used, so a result is still a failure. */
static void fill_standard_streams(void) {
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0) open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

/* jansson 2.14 drops characters and elements, or aborts, when an allocation of its own fails
 * (docs/RELIABILITY.md): rather no result than half of one. */
static void *json_memory(size_t size) {
    void *memory = malloc(size);   /* jansson's allocator, not ours */
    if (memory != NULL || size == 0) return memory;
    fprintf(stderr, "mistral-ref: out of memory: %zu bytes of JSON\n", size);
    exit(MR_BAD);
}

int main(int argc, char **argv) {
    json_set_alloc_funcs(json_memory, free);   /* jansson's allocator, not ours */
    fill_standard_streams();
    if (argc < 2) {
        usage(stderr);
        return MR_USAGE;
    }
    if (asks_help(argv[1])) usage(stdout);
    else if (strcmp(argv[1], "--version") == 0) printf("mistral-ref " MR_VERSION "\n");
    else {
        for (size_t i = 0; i < COMMANDS; i++) {
            if (strcmp(argv[1], commands[i].name) != 0) continue;
            for (int a = 2; a < argc; a++)
                if (asks_help(argv[a])) return help_of(&commands[i]);
            mr_args args = {0};
            mr_err err = {0};
            mr_status status = mr_parse(argc - 1, argv + 1, &commands[i], &args, &err);
            if (status == MR_OK) status = commands[i].run(&args, &err);
            return finish(status, &err);
        }
        fprintf(stderr, "mistral-ref: unknown command \"%s\"; mistral-ref --help lists them\n",
                argv[1]);
        return MR_USAGE;
    }
    return finish(MR_OK, &(mr_err){0});
}
