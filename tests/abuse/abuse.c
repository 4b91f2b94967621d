/* Files bent in every place: cut at every length, every bit flipped, every field at the values that
 * break arithmetic, alone and in pairs.
 *   abuse [limits | FORMAT...]
 * A bent file is refused with a documented status and one message, or read as the same or another
 * valid file; never with more memory than twice the file and 64 MB. Each sample and kind of damage
 * has a process of its own, so that a crash is one finding and not the end. */
#define _DEFAULT_SOURCE   /* MAP_ANONYMOUS */
#include "tests/abuse/formats.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST ((size_t)1 << 17)   /* bytes of a sample */
#define ROOM ((size_t)64 << 20)  /* bytes that any file may take */
#define FULL ((size_t)4096)      /* samples up to here are bent in every bit, larger in every 7th */

/* Shared with the process that does the work. */
static struct {
    long        bent, same, other, refused;
    long        wrong;         /* accepted though cut short, or out of memory */
    char        now[160];      /* what is being tried */
    char        first[1400];   /* the first that went wrong */
} *tally;

static const mr_abuse_format *format;
static unsigned char sample[MOST], bent[2 * MOST];
static size_t        size;
static uint64_t      clean;

static const char *const numbers[] = {
    "0", "1", "-1", "2147483647", "2147483648", "4294967295", "9223372036854775807",
    "9223372036854775808", "18446744073709551615", "1e308", "0.5"};
static const char *const others[] = {"null", "true", "\"\"", "[]", "{}", "[[0]]", "\"\\u0000\"",
                                     "{\"a\":0,\"a\":1}", ""};
enum { NUMBERS = sizeof numbers / sizeof *numbers, OTHERS = sizeof others / sizeof *others };

static void wrong(const char *what, const mr_err *err) {
    if (tally->wrong++ == 0)
        snprintf(tally->first, sizeof tally->first, "%s: %s %s", tally->now, what, err->text);
}

static void try(const unsigned char *data, size_t bytes, bool cut) {
    uint64_t hash = UINT64_C(14695981039346656037);
    mr_err err = {0};
    /* of the processor's time, not of the clock: the machine may have other work */
    setitimer(ITIMER_PROF, &(struct itimerval){.it_value = {20, 0}}, NULL);
    const mr_status status = format->read(data, bytes, &hash, &err);
    tally->bent++;
    if (status != MR_OK) {
        tally->refused++;
        fuzz_refused(status, &err);
        if (strstr(err.text, "out of memory") != NULL) wrong("takes too much", &err);
    } else if (hash == clean) {
        tally->same++;
    } else {
        tally->other++;
        if (cut && format->whole) wrong("is cut short and read as another file", &err);
    }
}

/* ---- kinds of damage ------------------------------------------------------------------------- */

static void cut(void) {
    for (size_t n = 0; n < size; n++) {
        snprintf(tally->now, sizeof tally->now, "cut to %zu bytes", n);
        try(sample, n, true);
    }
}

/* Bytes in which every bit counts. */
static size_t head(void) {
    uint64_t length = 0;
    if (format->kind != ABUSE_HEADED) return size;
    for (int i = 7; i >= 0; i--) length = length << 8 | sample[i];
    return length < size - 8 ? 8 + (size_t)length : size;
}

static void flip(void) {
    const size_t end = 8 * head(), step = size > FULL && format->kind != ABUSE_HEADED ? 7 : 1;
    memcpy(bent, sample, size);
    for (size_t bit = 0; bit < end; bit += bit < 8 * 1024 ? 1 : step) {
        snprintf(tally->now, sizeof tally->now, "bit %zu of byte %zu flipped", bit % 8, bit / 8);
        bent[bit / 8] ^= (unsigned char)(1 << bit % 8);
        try(bent, size, false);
        bent[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
}

/* Two, four and eight bytes anywhere as a little-endian number. */
static void fields(void) {
    static const uint64_t value[] = {0, 1, 0x7fff, 0x8000, 0xfffe, 0xffff, 0x7fffffff, 0x80000000,
                                     0xfffffffe, 0xffffffff, INT64_MAX, UINT64_C(1) << 63,
                                     UINT64_MAX - 1, UINT64_MAX};
    const size_t step = size > FULL ? 13 : 1;
    memcpy(bent, sample, size);
    for (size_t at = 0; at < head(); at += at < 1024 ? 1 : step)
        for (size_t width = 2; width <= 8 && at + width <= size; width *= 2)
            for (size_t v = 0; v < sizeof value / sizeof *value; v++) {
                if (width < 8 && value[v] >> 8 * width != 0) continue;
                for (size_t i = 0; i < width; i++)
                    bent[at + i] = (unsigned char)(value[v] >> 8 * i);
                snprintf(tally->now, sizeof tally->now, "%zu bytes at %zu set to %#llx", width, at,
                         (unsigned long long)value[v]);
                try(bent, size, false);
                memcpy(bent + at, sample + at, width);
            }
}

/* ---- JSON ------------------------------------------------------------------------------------ */

typedef struct {
    size_t at, end;
    bool   number;
} scalar;

static scalar list[4096];
static int    scalars;

static bool plain(unsigned char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-' || c == '+' || c == '.' ||
           c == 'E';
}

/* Strings, numbers and words between `from` and `end`; keys are strings, too. */
static void find_scalars(size_t from, size_t end) {
    scalars = 0;
    for (size_t i = from; i < end && scalars < 4096; ) {
        scalar s = {i, i, sample[i] == '-' || (sample[i] >= '0' && sample[i] <= '9')};
        if (sample[i] == '"') {
            for (i++; i < end && sample[i] != '"'; i++) i += sample[i] == '\\';
            s.end = ++i < end ? i : end;
        } else if (plain(sample[i])) {
            while (i < end && plain(sample[i])) i++;
            s.end = i;
        } else {
            i++;
            continue;
        }
        list[scalars++] = s;
    }
}

/* The sample with scalar a replaced by x, and scalar b > a by y unless it is NULL; the length of a
 * safetensors header is put right. */
static void replaced(const scalar *a, const char *x, const scalar *b, const char *y) {
    size_t to = 0, from = 0;
    const scalar *const which[] = {a, b};
    const char *const text[] = {x, y};
    for (int i = 0; i < 2 && which[i] != NULL; i++) {
        memcpy(bent + to, sample + from, which[i]->at - from);
        to += which[i]->at - from;
        memcpy(bent + to, text[i], strlen(text[i]));
        to += strlen(text[i]);
        from = which[i]->end;
    }
    memcpy(bent + to, sample + from, size - from);
    to += size - from;
    if (format->kind == ABUSE_HEADED) {
        const size_t length = head() - 8 + to - size;
        for (int i = 0; i < 8; i++) bent[i] = (unsigned char)(length >> 8 * i);
    }
    snprintf(tally->now, sizeof tally->now, "byte %zu as %s%s%s", a->at, x,
             b != NULL ? ", another as " : "", b != NULL ? y : "");
    try(bent, to, false);
}

static size_t text_start(void) { return format->kind == ABUSE_HEADED ? 8 : format->skip; }

static void values(void) {
    if (format->kind == ABUSE_BINARY) return;
    find_scalars(text_start(), head());
    const int step = scalars > 400 ? 11 : 1;
    for (int i = 0; i < scalars; i += i < 100 ? 1 : step) {
        for (int v = 0; v < NUMBERS; v++) replaced(&list[i], numbers[v], NULL, NULL);
        for (int v = 0; v < OTHERS; v++) replaced(&list[i], others[v], NULL, NULL);
    }
}

/* Every number with every other at every value, of small files. */
static void pairs(void) {
    if (format->kind == ABUSE_BINARY) return;
    find_scalars(text_start(), head());
    int count = 0;
    for (int i = 0; i < scalars; i++)
        if (list[i].number) list[count++] = list[i];
    for (int i = 0; count <= 40 && i < count; i++)
        for (int k = i + 1; k < count; k++)
            for (int v = 0; v < NUMBERS * NUMBERS; v++)
                replaced(&list[i], numbers[v / NUMBERS], &list[k], numbers[v % NUMBERS]);
}

/* ---- processes ------------------------------------------------------------------------------- */

/* Address space: what there is, twice the file, and 64 MB. Sanitizers need more than that. */
static void limit_memory(void) {
#ifndef __SANITIZE_ADDRESS__
    long pages = 0;
    FILE *in = fopen("/proc/self/statm", "r");
    if (in != NULL) {
        if (fscanf(in, "%ld", &pages) != 1) pages = 0;
        fclose(in);
    }
    const rlim_t most = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + 2 * size + ROOM;
    if (pages > 0) setrlimit(RLIMIT_AS, &(struct rlimit){most, most});
#endif
}

static bool damage(const char *path, const char *kind, void (*run)(void)) {
    int status;
    memset(tally, 0, sizeof *tally);
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        limit_memory();
        run();
        _exit(0);
    }
    waitpid(child, &status, 0);
    const bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0 && tally->wrong == 0;
    if (tally->bent > 0)
        printf("%-14s %-7s %8ld files: %ld refused, %ld the same, %ld another; %s\n", format->name,
               kind, tally->bent, tally->refused, tally->same, tally->other, path);
    if (tally->wrong > 0) printf("    %ld wrong: %s\n", tally->wrong, tally->first);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        printf("    DIED (%d) at: %s\n", status, tally->now);
    return good;
}

static int bend(const char *path, long *count) {
    static const struct {
        const char *name;
        void      (*run)(void);
    } kinds[] = {{"cut", cut}, {"flip", flip}, {"fields", fields}, {"values", values},
                 {"pairs", pairs}};
    int broken = 0;
    mr_err err = {0};
    FILE *in = fopen(path, "rb");
    FUZZ(in != NULL);
    size = fread(sample, 1, sizeof sample, in);
    fclose(in);
    clean = UINT64_C(14695981039346656037);
    const mr_status status = format->read(sample, size, &clean, &err);
    if (status != MR_OK) clean = 0;   /* a sample that is refused stays so, or not */
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (i == 2 && format->kind == ABUSE_TEXT) continue;
        broken += !damage(path, kinds[i].name, kinds[i].run);
        *count += tally->bent;
    }
    return broken;
}

static int bend_all(long *count) {
    char folder[256], path[1024];
    int broken = 0;
    snprintf(folder, sizeof folder, "tests/fuzz/corpus/%s", format->name);
    DIR *dir = opendir(folder);
    FUZZ(dir != NULL);
    for (struct dirent *e; (e = readdir(dir)) != NULL; ) {
        if (e->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        broken += bend(path, count);
    }
    closedir(dir);
    if (format->more != NULL) broken += bend(format->more, count);
    return broken;
}

int main(int argc, char **argv) {
    long count = 0;
    int broken = 0;
    tally = mmap(NULL, sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    FUZZ(tally != MAP_FAILED);
    if (argc < 2 || strcmp(argv[1], "limits") == 0) broken += mr_abuse_limits();
    for (size_t i = 0; i < mr_abuse_count; i++) {
        bool wanted = argc < 2;
        for (int a = 1; a < argc; a++) wanted |= strcmp(argv[a], mr_abuse_formats[i].name) == 0;
        if (!wanted) continue;
        format = &mr_abuse_formats[i];
        broken += bend_all(&count);
    }
    printf("%ld bent files, %d kinds of damage with findings\n", count, broken);
    return broken > 0;
}
