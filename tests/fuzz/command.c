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

static void write_file(const char *name, const void *bytes, size_t size) {
    char path[1100];
    snprintf(path, sizeof path, "%s/%s", fixtures, name);
    FILE *out = fopen(path, "wb");
    FUZZ(out != NULL && fwrite(bytes, 1, size, out) == size);
    FUZZ(fclose(out) == 0);
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

/* A model of random weights; labels 0: a language model, else rows of its reward head. */
static void make_model(const char *name, idx labels, uint64_t seed) {
    static const char *const tokenizer = "tests/fuzz/corpus/sentencepiece/chat";
    static unsigned char bytes[4096];
    char path[1100];
    mr_checkpoint made;
    mr_err err = {0};
    const idx V = mr_tokenizer_size(fuzz_tokenizer(tokenizer));
    const mr_config c = {.dim = 2, .n_layers = 1, .head_dim = 2, .hidden_dim = 2, .n_heads = 2,
                         .n_kv_heads = 1, .vocab_size = V, .n_labels = labels,
                         .n_experts = 2, .n_experts_per_tok = 1, .norm_eps = 1e-5,
                         .rope_theta = 1e4, .bos_id = 1, .eos_id = 2};
    snprintf(path, sizeof path, "%s/%s", fixtures, name);
    FUZZ_OK(mr_checkpoint_init(&c, seed, MR_F32, &made, &err), &err);
    FUZZ_OK(mr_checkpoint_save(&made.model, path, MR_LAYOUT_HF, true, MR_F32, &err), &err);
    mr_checkpoint_close(&made);
    FILE *in = fopen(tokenizer, "rb");
    FUZZ(in != NULL);
    const size_t size = fread(bytes, 1, sizeof bytes, in);
    fclose(in);
    snprintf(path, sizeof path, "%s/tokenizer.model", name);
    write_file(path, bytes, size);
}

/* A trace of ../m in ../name, with that window (NULL: none). */
static void make_trace(const char *name, const char *window) {
    char path[64];
    char *words[] = {(char *)"mistral-ref", (char *)"trace", (char *)"../m", (char *)"--tokens",
                     (char *)"1,15,3", (char *)"-o", path, (char *)"--window", (char *)window,
                     NULL};
    snprintf(path, sizeof path, "../%s", name);
    if (window == NULL) words[7] = NULL;
    FUZZ(run(window == NULL ? 7 : 9, words) == MR_OK);
}

/* m, r: a language and a reward model with their tokenizer, all so small that a command takes no
 * longer than its system calls; t.npz, u.npz: traces of m that differ; data, requests, a map. */
static void make_fixtures(void) {
    static const char sft[] =
        "{\"text\":\"hello\"}\n"
        "{\"input_ids\":[1,15,2],\"labels\":[-100,15,2]}\n"
        "{\"messages\":[{\"role\":\"user\",\"content\":\"h\"},"
        "{\"role\":\"assistant\",\"content\":\"e\"}]}\n";
    static const char dpo[] =
        "{\"prompt_ids\":[1,15],\"chosen_ids\":[16,2],\"rejected_ids\":[17,2],\"margin\":0.5}\n"
        "{\"prompt\":\"he\",\"chosen\":\"ll\",\"rejected\":\"o\"}\n";
    static const char chat[] =
        "{\"messages\":[{\"role\":\"system\",\"content\":\"h\"},"
        "{\"role\":\"user\",\"content\":\"e\"}],"
        "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{}}}]}\n"
        "{\"messages\":[{\"role\":\"user\",\"content\":\"h\"},{\"role\":\"assistant\","
        "\"content\":\"e\"},{\"role\":\"user\",\"content\":\"l\"}]}\n";
    static const char map[] =
        "{\"tensors\":{\"logits\":{\"name\":\"logits\",\"steps\":[{\"scale\":1}]}}}";
    char path[1100];
    snprintf(fixtures, sizeof fixtures, "%s.d", fuzz_path("command"));
    FUZZ(mkdir(fixtures, 0700) == 0);
    atexit(clean_all);
    make_model("m", 0, 1);
    make_model("r", 1, 2);
    write_file("sft.jsonl", sft, sizeof sft - 1);
    write_file("dpo.jsonl", dpo, sizeof dpo - 1);
    write_file("chat.jsonl", chat, sizeof chat - 1);
    write_file("map.json", map, sizeof map - 1);
    snprintf(path, sizeof path, "%s/w", fixtures);
    FUZZ(mkdir(path, 0700) == 0);
    home = open(".", O_RDONLY | O_DIRECTORY);
    work = open(path, O_RDONLY | O_DIRECTORY);
    nothing = open("/dev/null", O_RDWR);
    messages = memfd_create("messages", 0);
    FUZZ(home >= 0 && work >= 0 && nothing >= 0 && messages >= 0);
    make_trace("t.npz", NULL);
    make_trace("u.npz", "1");
}

/* Options that name a file to read. */
static bool reads(const char *option) {
    static const char *const list[] = {"--model", "--data", "--valid", "--map", "--reward-model",
                                       "--reference"};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (strcmp(option, list[i]) == 0) return true;
    return option[0] != '-';
}

/* False for words that could reach other files or run for long: a word that can be a count has one
 * digit, below 5, and no number has three. */
static bool harmless(const char *word) {
    const bool count = word[0] == '-' || word[strspn(word, "0123456789")] == '\0';
    int digits = 0;
    if (strchr(word, '/') != NULL || strstr(word, "..") != NULL) return false;
    for (; *word != '\0'; word++) {
        const bool digit = *word >= '0' && *word <= '9';
        digits = digit ? digits + 1 : 0;
        if (count && digit && (digits > 1 || *word > '4')) return false;
        if (digits > 2) return false;
    }
    return true;
}

static bool has(char **argv, const char *word) {
    while (*argv != NULL && strcmp(*argv, word) != 0) argv++;
    return *argv != NULL;
}

/* The words, "@name" as "../name"; 0 when they are not harmless. */
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
    return has(argv, "rl") && !has(argv, "--max-new") ? 0 : argc;   /* 64 tokens of each answer */
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
