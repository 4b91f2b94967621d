/* Fuzzing the options: the first byte picks a command, the rest are its words, one per line. What
 * is accepted, written as a command line for a shell and read again is the same. */
#include "tests/fuzz/fuzz.h"

#include <getopt.h>

#include "cli/cli.h"

enum { WORDS = 64 };

/* Words of the input; argv[0] is the command's name. */
static int split(char *text, char **argv) {
    int argc = 0;
    argv[argc++] = (char *)"mistral-ref";
    for (char *end; text != NULL && argc < WORDS; text = end) {
        end = strchr(text, '\n');
        if (end != NULL) *end++ = '\0';
        argv[argc++] = text;
    }
    argv[argc] = NULL;
    return argc;
}

/* Words of a command line as a shell reads it: blanks between them, single quotes, \' outside. */
static int shell(char *line, char **argv) {
    int argc = 0;
    char *to = line;
    for (const char *at = line; *at != '\0' && argc < WORDS; ) {
        bool quoted = false;
        argv[argc++] = to;
        for (; *at != '\0' && (quoted || *at != ' '); at++)
            if (*at == '\'') quoted = !quoted;
            else if (*at == '\\' && !quoted) *to++ = *++at;
            else *to++ = *at;
        if (*at == ' ') at++;
        *to++ = '\0';
    }
    argv[argc] = NULL;
    return argc;
}

static mr_status parse(int argc, char **argv, const mr_command *command, mr_args *args,
                       mr_err *err) {
    optind = 0;   /* glibc's way of starting again */
    return mr_parse(argc, argv, command, args, err);
}

static void values(const mr_args *args) {
    mr_ids ids = {0};
    mr_config config = {.dim = 8, .n_layers = 2, .head_dim = 4, .hidden_dim = 12, .n_heads = 4,
                        .n_kv_heads = 2, .vocab_size = 11, .norm_eps = 1e-5, .rope_theta = 1e4};
    mr_run_options options = {0};
    mr_sampling how;
    mr_rng rng;
    int64_t number = 0;
    double x = 0;
    if (args->tokens != NULL) mr_value_ids("--tokens", args->tokens, &ids, NULL);
    if (mr_value_int("-n", args->steps, 0, INT32_MAX, &number, NULL) == MR_OK)
        FUZZ(number >= 0 && number <= INT32_MAX);
    mr_value_number("--lr", args->train.lr != NULL ? args->train.lr : "0", &x, NULL);
    mr_value_sampling(args, &how, &rng, NULL);
    mr_err err = {0};
    const bool taken = mr_override(args, &config, &err) == MR_OK &&
                       mr_run_choice(args, &config, &options, &err) == MR_OK;
    FUZZ(taken == (err.code == MR_OK) && taken == (err.text[0] == '\0'));
    mr_ids_free(&ids);
}

/* The first line may name a file ./-x that the words called -x; from then on nothing changes. */
static void again(const mr_command *command, const mr_args *first) {
    mr_args args = *first;
    mr_writer line[3];
    char *copy[2] = {NULL, NULL}, *argv[WORDS + 1];
    mr_err err = {0};
    int argc = 0;
    for (int i = 0; i < 3; i++) {
        line[i] = (mr_writer){.err = &err};
        mr_say_command(&(mr_command_line){command->name, command->bit, &args}, &line[i]);
        FUZZ_OK(line[i].status, &err);
        if (i == 2) break;
        copy[i] = mr_string_copy(line[i].data, &err);
        argc = shell(copy[i], argv);
        if (argc == WORDS) break;
        args = (mr_args){0};
        FUZZ_OK(parse(argc - 1, argv + 1, command, &args, &err), &err);
    }
    if (argc < WORDS) FUZZ(strcmp(line[1].data, line[2].data) == 0);
    for (int i = 0; i < 3; i++)
        if (i == 0 || argc < WORDS) mr_writer_free(&line[i]);
    for (int i = 0; i < 2; i++) mr_free(copy[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    const mr_command command = {"command", 1u << data[0] % 15, data[0] / 15 % 3, 2, NULL, "", ""};
    char *text = malloc(size), *argv[WORDS + 1];
    mr_args args = {0};
    mr_err err = {0};
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    const mr_status status = parse(split(text, argv), argv, &command, &args, &err);
    if (status == MR_OK) {
        values(&args);
        again(&command, &args);
    } else {
        FUZZ(status == MR_USAGE && err.text[0] != '\0');
    }
    free(text);
    return 0;
}
