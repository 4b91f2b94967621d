/* Results as one JSON document on standard output. */
#include "cli/cli.h"

#include <math.h>
#include <stdio.h>

mr_status mr_print_json(json_t *document, mr_err *err) {
    if (document == NULL) return mr_fail(err, MR_BAD, "out of memory while forming JSON");
    const int failed = json_dumpf(document, stdout,
                                  JSON_REAL_PRECISION(17) | JSON_COMPACT | JSON_ENCODE_ANY);
    json_decref(document);
    return failed || putchar('\n') == EOF
               ? mr_fail(err, MR_BAD, "writing to standard output failed")
               : MR_OK;
}

json_t *mr_json_ids(const int32_t *ids, idx count) {
    json_t *list = json_array();
    for (idx i = 0; i < count; i++) json_array_append_new(list, json_integer(ids[i]));
    return list;
}

json_t *mr_json_real(double x) { return isfinite(x) ? json_real(x) : json_null(); }
