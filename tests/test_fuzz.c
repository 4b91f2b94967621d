/* Replays the committed inputs of every fuzz target, among them all that once broke one
 * (tests/fuzz/corpus/TARGET, made by tests/fuzz/seeds.py, and tests/fuzz/found/TARGET). */
#include "tests/scratch.h"

#include <stdint.h>

/* The Makefile gives LLVMFuzzerTestOneInput of each target a name of its own. */
#define TARGET(name) int replay_##name(const uint8_t *data, size_t size);
#include "tests/fuzz/targets.def"
#undef TARGET

typedef int target(const uint8_t *data, size_t size);

static int replay_folder(target *run, const char *folder) {
    DIR *dir = opendir(folder);
    int count = 0;
    if (dir == NULL) return 0;
    for (struct dirent *e; (e = readdir(dir)) != NULL; count++) {
        char path[1024];
        size_t bytes;
        if (e->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        unsigned char *data = scratch_read(path, &bytes);
        run(data, bytes);
        free(data);
    }
    closedir(dir);
    return count;
}

static void replay_all(target *run, const char *name) {
    char corpus[256], found[256];
    snprintf(corpus, sizeof corpus, "tests/fuzz/corpus/%s", name);
    snprintf(found, sizeof found, "tests/fuzz/found/%s", name);
    assert_true(replay_folder(run, corpus) >= 2);
    replay_folder(run, found);
    run((const uint8_t *)"", 0);
}

#define TARGET(name) \
    static void test_##name(void **state) { (void)state; replay_all(replay_##name, #name); }
#include "tests/fuzz/targets.def"
#undef TARGET

int main(void) {
    const struct CMUnitTest tests[] = {
#define TARGET(name) cmocka_unit_test(test_##name),
#include "tests/fuzz/targets.def"
#undef TARGET
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
