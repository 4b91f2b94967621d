/* Fuzzing the program: the input's lines are the words of a command line, run in an empty folder.
 * "@name" is a file of fixtures; no other path leaves the folder, and no number is long. The status
 * is a documented one, with one message where it is a failure. */
#define _GNU_SOURCE   /* nftw, memfd_create */
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "weights/checkpoint.h"
#include "weights/text.h"

int mr_main(int argc, char **argv);   /* main of cli/main.c, renamed by the Makefile */

enum { WORDS = 32 };

static int home = -1, work = -1, nothing = -1, messages = -1;
static char fixtures[1024];

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *at) {
    (void)info;
    (void)kind;
    return at->level > 0 ? remove(path) : 0;
}

static void clean(const char *path) { nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS); }

static void clean_all(void) {
    clean(fixtures);
    rmdir(fixtures);
}

/* At most that many bytes, in whole lines: nobody waits for a long text to be scored. */
static void copy(const char *from, const char *name, size_t most) {
    static char bytes[1 << 20];
    char path[1100];
    FILE *in = fopen(from, "rb"), *out;
    FUZZ(in != NULL);
    size_t size = fread(bytes, 1, sizeof bytes, in);
    fclose(in);
    for (; size > most; size--)
        while (size > 1 && bytes[size - 2] != '\n') size--;
    snprintf(path, sizeof path, "%s/%s", fixtures, name);
    out = fopen(path, "wb");
    FUZZ(out != NULL && fwrite(bytes, 1, size, out) == size);
    fclose(out);
}

/* Runs the program in the folder; its message is left in `messages`. */
static int run(int argc, char **argv) {
    const int out = dup(1), err = dup(2);
    FUZZ(ftruncate(messages, 0) == 0 && lseek(messages, 0, SEEK_SET) == 0);
    fflush(stdout);
    dup2(nothing, 0);
    dup2(nothing, 1);
    if (getenv("MR_FUZZ_SHOW") == NULL) dup2(messages, 2);
    FUZZ(fchdir(work) == 0);
    optind = 0;   /* glibc's way of starting again */
    const int status = mr_main(argc, argv);
    fflush(stdout);
    FUZZ(fchdir(home) == 0);
    dup2(out, 1);
    dup2(err, 2);
    close(out);
    close(err);
    return status;
}

/* m: a model with a tokenizer; t.npz: a trace of it; data, requests. */
static void make_fixtures(void) {
    static char *trace[] = {(char *)"mistral-ref", (char *)"trace", (char *)"../m",
                            (char *)"--tokens", (char *)"1,5,3", (char *)"-o",
                            (char *)"../t.npz", NULL};
    char path[1100];
    mr_checkpoint made;
    mr_err err = {0};
    snprintf(fixtures, sizeof fixtures, "%s.d", fuzz_path("command"));
    FUZZ(mkdir(fixtures, 0700) == 0);
    atexit(clean_all);
    const idx V = mr_tokenizer_size(fuzz_tokenizer("golden/chat/small.model"));
    const mr_config c = {.dim = 4, .n_layers = 2, .head_dim = 2, .hidden_dim = 3, .n_heads = 2,
                         .n_kv_heads = 1, .vocab_size = V, .n_experts = 2, .n_experts_per_tok = 1,
                         .norm_eps = 1e-5, .rope_theta = 1e4, .bos_id = 1, .eos_id = 2};
    snprintf(path, sizeof path, "%s/m", fixtures);
    FUZZ_OK(mr_checkpoint_init(&c, 1, MR_F32, &made, &err), &err);
    FUZZ_OK(mr_checkpoint_save(&made.model, path, MR_LAYOUT_HF, true, MR_F32, &err), &err);
    mr_checkpoint_close(&made);
    copy("golden/chat/small.model", "m/tokenizer.model", 1 << 20);
    copy("golden/trajectories/sft.jsonl", "sft.jsonl", 400);
    copy("golden/trajectories/dpo.jsonl", "dpo.jsonl", 400);
    copy("golden/chat/spm-v3.jsonl", "chat.jsonl", 2000);
    snprintf(path, sizeof path, "%s/w", fixtures);
    FUZZ(mkdir(path, 0700) == 0);
    home = open(".", O_RDONLY | O_DIRECTORY);
    work = open(path, O_RDONLY | O_DIRECTORY);
    nothing = open("/dev/null", O_RDWR);
    messages = memfd_create("messages", 0);
    FUZZ(home >= 0 && work >= 0 && nothing >= 0 && messages >= 0);
    FUZZ(run(7, trace) == MR_OK);
}

/* Options that name a file to read. */
static bool reads(const char *option) {
    static const char *const list[] = {"--model", "--data", "--valid", "--map", "--reward-model",
                                       "--reference"};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (strcmp(option, list[i]) == 0) return true;
    return option[0] != '-';
}

/* False for words that could reach other files or run for long. */
static bool harmless(const char *word) {
    int digits = 0;
    for (; *word != '\0'; word++) {
        digits = *word >= '0' && *word <= '9' ? digits + 1 : 0;
        if (*word == '/' || digits > 2) return false;
    }
    return strstr(word, "..") == NULL;
}

/* The words, "@name" as "../name"; 0 when one is not harmless. */
static int split(char *text, char *room, size_t size, char **argv) {
    int argc = 1;
    argv[0] = (char *)"mistral-ref";
    for (char *end; text != NULL && argc < WORDS; text = end) {
        end = strchr(text, '\n');
        if (end != NULL) *end++ = '\0';
        if (!harmless(text)) return 0;
        if (text[0] == '@' && reads(argv[argc - 1])) {
            const int n = snprintf(room, size, "../%s", text + 1);
            if (n < 0 || (size_t)n >= size) return 0;
            text = room;
            room += n + 1;
            size -= (size_t)n + 1;
        }
        argv[argc++] = text;
    }
    argv[argc] = NULL;
    return argc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char text[1024], room[2048], *argv[WORDS + 1], path[1100];
    if (size >= sizeof text) return 0;
    if (home < 0) make_fixtures();
    memcpy(text, data, size);
    text[size] = '\0';
    const int argc = split(text, room, sizeof room, argv);
    if (argc == 0) return 0;
    const int status = run(argc, argv);
    FUZZ(status >= MR_OK && status <= MR_PROVES_NOTHING);
    if (status >= MR_USAGE && getenv("MR_FUZZ_SHOW") == NULL)
        FUZZ(lseek(messages, 0, SEEK_END) > 10);
    snprintf(path, sizeof path, "%s/w", fixtures);
    clean(path);
    return 0;
}
