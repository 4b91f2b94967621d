/* Memory that runs out: every command is run with its n-th allocation failing, n = 1, 2, ... until
 * a run is not touched, once with that allocation alone and once with all later ones failing too.
 *   oom [COMMAND...]   numbers of the table below; default all
 * After each: a documented status with one message, or the result of the untouched run; nothing
 * left allocated or open; no file that the untouched run does not write, byte for byte.
 * The linker wraps mr_alloc, mr_resize and mr_free, and malloc, which the program calls for jansson
 * alone (see the Makefile). A program that ends because jansson got no memory leaves blocks. */
#define _GNU_SOURCE   /* memfd_create, nftw */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ref/base.h"
#include "tests/inside.h"
#include "tests/oom_files.h"

/* @ stands for the folder of outputs. Together: load, tokenize, generate, trace, compare, train,
 * save, chat. */
#define MODEL "golden/cases/mixtral_e5k2"
#define TOKENS " --tokens 1,5,3 "
static const char *const commands[] = {
    "run " MODEL TOKENS "-n 8 --json",
    "logits " MODEL TOKENS "--chunk 2 --json",
    "tokenize golden/chat/small.model hello,w\xC3\xB6rld --json",
    "tokenize golden/tokenizers/spm_nfkc_small.model hello",
    "tokenize golden/chat/tekken.json hello,w\xC3\xB6rld --json",
    "tokenize golden/tokenizers/hf_metaspace.json hello,w\xC3\xB6rld --json",
    "tokenize golden/tokenizers/hf_gpt2.json hello,w\xC3\xB6rld",
    "tokenize golden/tokenizers/hf_spm.json --decode 300,301,302",
    "trace " MODEL TOKENS "-o @/t.npz",
    "trace " MODEL TOKENS "-o @/t.safetensors --decode 1 --only layers.0.*",
    "trace " MODEL MANY_TOKENS "-o @/t.safetensors",
    "trace " MODEL TOKENS "-o @/t.npz --grad --only grad.norm",
    "compare golden/cases/dense_gqa/t1.f32.npz golden/cases/dense_gqa/t1.f32.npz --model "
        "golden/cases/dense_gqa --json",
    "compare golden/cases/dense_gqa/t1.f32.npz golden/cases/dense_gqa/t1.f32.npz",
    "score " MODEL TOKENS,
    "routing " MODEL TOKENS "--json",
    "info " MODEL " --json",
    "info golden/cases/dense_gqa/t1.f32.npz",
    "init " MODEL "/config.json -o @/made --seed 3",
    "convert " MODEL " -o @/native --to native",
    "convert " MODEL " -o @/hf --to hf --dtype f16",
    "train sft " MODEL " --data golden/trajectories/sft.jsonl -o @/sft --steps 2 --batch 1",
    "train dpo golden/cases/dense_gqa --data golden/trajectories/dpo.jsonl -o @/dpo --steps 2 "
        "--batch 1",
    "chat-template golden/chat/small.model tests/fuzz/oom.json --json",
    "chat-template golden/chat/tekken.json tests/fuzz/oom.json --json",
    "mask --tokens 5 --window 2 --json",
};
enum { COMMANDS = sizeof commands / sizeof *commands };

/* ---- the allocators -------------------------------------------------------------------------- */

static struct {
    long count, fail;   /* allocations so far; number of the one that fails, 0: none */
    bool persistent;    /* and all later ones */
    long live;          /* blocks not freed */
} memory;

static bool fails(void) {
    memory.count++;
    return memory.fail > 0 && (memory.persistent ? memory.count >= memory.fail
                                                 : memory.count == memory.fail);
}

void *__real_mr_alloc(idx count, idx size, mr_err *err);
void *__real_mr_resize(void *old, idx count, idx size, mr_err *err);
void  __real_mr_free(void *block);
void *__wrap_mr_alloc(idx count, idx size, mr_err *err);
void *__wrap_mr_resize(void *old, idx count, idx size, mr_err *err);
void  __wrap_mr_free(void *block);

/* What the allocator itself says when there is no memory. */
static void *refuse(mr_err *err) {
    __real_mr_alloc(MR_IDX_MAX, 2, err);
    return NULL;
}

void *__wrap_mr_alloc(idx count, idx size, mr_err *err) {
    void *block = fails() ? refuse(err) : __real_mr_alloc(count, size, err);
    memory.live += block != NULL;
    return block;
}

void *__wrap_mr_resize(void *old, idx count, idx size, mr_err *err) {
    void *block = fails() ? refuse(err) : __real_mr_resize(old, count, size, err);
    memory.live += block != NULL && old == NULL;
    return block;
}

void __wrap_mr_free(void *block) {
    memory.live -= block != NULL;
    __real_mr_free(block);
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size) { return fails() ? NULL : __real_malloc(size); }

/* ---- one run --------------------------------------------------------------------------------- */

typedef struct {
    int    status;       /* of the process; 128 + signal */
    long   count, live;  /* allocations, blocks left */
    int    files;        /* descriptors left open */
    bool   returned;     /* main did, and not exit */
    char   message[2048];
    size_t bytes;
    char  *text;         /* standard output */
} result;

static int descriptors(void) {
    int count = 0;
    for (int fd = 3; fd < 64; fd++) count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static int    report;   /* the child's way to its parent */
static result mine;

/* From here on allocations succeed: what is left is not the program's, as writing the counters of
 * COV=1. */
static void tell(void) {
    mine.count = memory.count;
    memory.fail = 0;
    if (write(report, &mine, sizeof mine) != (ssize_t)sizeof mine) _exit(99);
}

static void child(const char *command, int out, int err) {
    char room[1024], *argv[WORDS];
    const int argc = words(command, outputs, room, argv), before = descriptors();
    dup2(out, 1);
    dup2(err, 2);
    atexit(tell);
    const int status = mr_main(argc, argv);
    fflush(stdout);
    mine.returned = true;
    mine.live = memory.live;
    mine.files = descriptors() - before;
    exit(status);   /* not _exit: a sanitizer looks for leaks at the end */
}

static result run(const char *command, long fail, bool persistent) {
    const int out = memfd_create("out", 0), err = memfd_create("err", 0);
    result r = {0};
    report = memfd_create("report", 0);
    int status;
    memory.fail = fail;
    memory.persistent = persistent;
    fflush(stdout);
    const pid_t pid = fork();
    if (pid == 0) child(command, out, err);
    memory.fail = 0;
    waitpid(pid, &status, 0);
    if (pread(report, &r, sizeof r, 0) != (ssize_t)sizeof r) r.count = -1;
    r.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    r.message[whole(err, r.message, sizeof r.message - 1)] = '\0';
    r.bytes = (size_t)lseek(out, 0, SEEK_END);
    r.text = __real_malloc(r.bytes + 1);
    whole(out, r.text, r.bytes);
    r.bytes = timeless(r.text, r.bytes);
    close(out);
    close(err);
    close(report);
    return r;
}

/* ---- the loop -------------------------------------------------------------------------------- */

/* NULL, or what is wrong. */
static const char *judge(const result *r, const result *clean_run) {
    strange = NULL;
    tidy = r->returned;
    nftw(outputs, look, 8, FTW_PHYS);
    if (r->status >= 64 || r->count < 0) return "crashed";
    if (r->status > MR_PROVES_NOTHING) return "status is not documented";
    if (r->live != 0) return "memory is left allocated";
    if (r->files != 0) return "files are left open";
    if (strange != NULL) return "a partial or unknown file";
    if (r->status == clean_run->status && r->bytes == clean_run->bytes &&
        memcmp(r->text, clean_run->text, r->bytes) == 0) return NULL;
    if (r->status == clean_run->status)   /* something optional is missing, and a note says why */
        return strstr(r->message, "out of memory") != NULL ? NULL : "another result";
    if (messages(r->message) != 1) return "not exactly one message";
    if (strstr(r->message, "memory") == NULL) return "the message does not say memory";
    return NULL;
}

static long loop(int number, long *broken) {
    const char *command = commands[number];
    long points = 0;
    clean();
    result clean_run = run(command, 0, false);
    known_count = 0;
    nftw(outputs, remember, 8, FTW_PHYS);
    if (clean_run.status != MR_OK && clean_run.status != MR_PROVES_NOTHING) {
        printf("%s: status %d: %s\n", command, clean_run.status, clean_run.message);
        ++*broken;
    }
    for (int persistent = 0; persistent < 2; persistent++)
        for (long n = 1; n <= clean_run.count; n++, points++) {
            clean();
            result r = run(command, n, persistent != 0);
            const char *what = judge(&r, &clean_run);
            if (what != NULL && ++*broken <= 50)
                printf("%d %s: allocation %ld%s: %s (status %d, %ld blocks) %s %s\n", number,
                       command, n, persistent ? " and later" : "", what, r.status, r.live,
                       strange != NULL ? strange : "", r.message);
            free(r.text);
        }
    printf("%6ld points, %ld allocations: %.80s\n", points, clean_run.count, command);
    free(clean_run.text);
    clean();
    return points;
}

int main(int argc, char **argv) {
    long points = 0, broken = 0;
    const char *base = getenv("TMPDIR");
    snprintf(outputs, sizeof outputs, "%s/mistral-ref-oom-XXXXXX", base != NULL ? base : "/tmp");
    if (mkdtemp(outputs) == NULL) return 1;
    if (argc > 1)
        for (int i = 1; i < argc; i++) points += loop(atoi(argv[i]) % COMMANDS, &broken);
    else
        for (int i = 0; i < COMMANDS; i++) points += loop(i, &broken);
    rmdir(outputs);
    printf("%ld points, %ld broken\n", points, broken);
    return broken > 0;
}
