/* What a comparison of paths knows, and the reports made of it. */
#ifndef MR_CLI_COMPARE_PATHS_H
#define MR_CLI_COMPARE_PATHS_H

#include "cli/compare.h"
#include "golden/paths.h"

#define MR_MOST_PATHS 8

typedef struct {
    const mr_args *args;
    mr_checkpoint  model;
    bool           bare;
    mr_arithmetic  arithmetic;
    mr_trace      *trace[MR_MOST_PATHS];
    mr_path        path[MR_MOST_PATHS];
    mr_path_pair   pair[MR_MOST_PATHS];   /* of the first path and this one */
    idx            count;
    mr_status      status;
} mr_paths_comparison;

/* One sentence: where pair i parts, or how near it is; which tensor of path i is wrong by itself,
 * false where none is. */
void mr_say_pair(const mr_paths_comparison *c, idx i, char *text, size_t size);
bool mr_say_own_fault(const mr_paths_comparison *c, idx i, char *text, size_t size);

/* report_paths.c: --junit and --html. */
mr_status mr_paths_junit(const mr_paths_comparison *c, mr_err *err);
mr_status mr_paths_html(const mr_paths_comparison *c, mr_err *err);

#endif
