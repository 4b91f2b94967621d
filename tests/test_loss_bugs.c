/* Do the golden batches catch the bugs that real training programs had? A copy of the losses with
 * each bug as a switch (tests/bugs_*.h) runs against golden/losses; docs/TRAINING_BUGS.md has one
 * row per bug with what caught it, and must say what happens here. */
#include "tests/bugs_batches.h"
#include "tests/bugs_preference.h"

static const char *const names[] = {"none",
#define BUG(id, text) #id,
#include "tests/bugs_losses.def"
#undef BUG
};

static const char *const texts[] = {"",
#define BUG(id, text) text,
#include "tests/bugs_losses.def"
#undef BUG
};

/* Paths that disagreed, the first three in words. */
typedef struct {
    const json_t *root;
    int           compared, caught;
    char          words[512];
} judge;

/* Elementwise 1e-12, of the number itself where a file has numbers of all sizes, else of the
 * largest; what is 0 must be 0. */
static bool agrees(const char *path, const double *want, idx n_want, const double *got, idx n) {
    const bool each = strncmp(path, "dpo/", 4) == 0 || strncmp(path, "rows/", 5) == 0;
    if (n != n_want) return false;
    for (idx i = 0; i < n; i++) {
        const double size = each ? fabs(want[i]) : golden_size(want, n);
        if (!(fabs(got[i] - want[i]) <= 1e-12 * size)) return false;
    }
    return true;
}

static void compare(void *user, const char *path, const double *value, idx n) {
    judge *j = user;
    idx n_want;
    const double *want = golden(j->root, path, &n_want);
    j->compared++;
    if (agrees(path, want, n_want, value, n)) return;
    const size_t used = strlen(j->words);
    if (j->caught < 3)
        snprintf(j->words + used, sizeof j->words - used, "%s`%s`", j->caught > 0 ? ", " : "",
                 path);
    j->caught++;
}

static judge run(bug which) {
    judge j = {0};
    bug_run r = {which, compare, &j};
    json_t *batches = golden_open("batches"), *router = golden_open("router");
    json_t *pairs = golden_open("preference"), *rows = golden_open("cross_entropy");
    golden_used = 0;
    j.root = batches;
    bug_preference(&r, batches);
    bug_supervised(&r, batches);
    bug_rewards(&r, batches);
    j.root = router;
    bug_router(&r, router);
    json_t *both = json_object();
    json_object_update(both, pairs);
    json_object_update(both, rows);
    j.root = both;
    bug_extremes(&r, pairs, rows);
    json_decref(both);
    json_decref(rows);
    json_decref(pairs);
    json_decref(router);
    json_decref(batches);
    return j;
}

/* Without a bug the copy gives every golden number: what is caught below is the bug's doing. */
static void no_bug(void **state) {
    (void)state;
    const judge j = run(BUG_NONE);
    if (j.compared != 56 || j.caught != 0)
        fail_msg("%d of %d arrays differ without any bug: %s", j.caught, j.compared, j.words);
}

/* Is this line in the document? */
static bool documented(const char *line) {
    char text[2048];
    bool found = false;
    FILE *file = fopen("docs/TRAINING_BUGS.md", "r");
    if (file == NULL) fail_msg("docs/TRAINING_BUGS.md: cannot be opened");
    while (!found && fgets(text, sizeof text, file) != NULL) {
        text[strcspn(text, "\n")] = 0;
        found = strcmp(text, line) == 0;
    }
    fclose(file);
    return found;
}

static void every_bug(void **state) {
    (void)state;
    int missing = 0;
    for (int k = 1; k < BUGS; k++) {
        const judge j = run((bug)k);
        char line[1024], more[64] = "";
        if (j.caught == 0) fail_msg("%s (%s) is not caught", names[k], texts[k]);
        if (j.caught > 3) snprintf(more, sizeof more, " and %d more", j.caught - 3);
        snprintf(line, sizeof line, "| %s | %s | %s%s |", names[k], texts[k], j.words, more);
        if (!documented(line)) {
            print_message("docs/TRAINING_BUGS.md lacks: %s\n", line);
            missing++;
        }
    }
    assert_int_equal(missing, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_bug), cmocka_unit_test(every_bug)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
