/* logits: the numbers behind every next token. */
#include "cli/cli.h"

#include <stdio.h>

#define TOP 5   /* candidates listed per position in text */

typedef struct {
    double *row;
    json_t *rows;   /* NULL: print text */
} output;

static void print_top(const mr_session *s, const double *logits, idx position) {
    const idx V = s->checkpoint.model.output.rows;
    int32_t top[TOP];
    printf("%td (%ld):", position, (long)s->ids.id[position]);
    for (int n = 0; n < TOP && n < V; n++) {
        top[n] = -1;
        for (int32_t v = 0; v < V; v++) {
            bool taken = false;
            for (int m = 0; m < n; m++) taken = taken || top[m] == v;
            if (!taken && (top[n] < 0 || logits[v] > logits[top[n]])) top[n] = v;
        }
        printf("  %ld %.9g", (long)top[n], logits[top[n]]);
    }
    putchar('\n');
}

static mr_status each(void *user, mr_session *s, idx start, idx count, mr_err *err) {
    output *out = user;
    for (idx r = 0; r < count; r++) {
        mr_run_logits(s->run, r, out->row);
        if (out->rows == NULL) {
            print_top(s, out->row, start + r);
            continue;
        }
        json_t *row = json_array();
        for (idx v = 0; v < s->checkpoint.model.output.rows; v++)
            json_array_append_new(row, mr_json_real(out->row[v]));
        if (json_array_append_new(out->rows, row))
            return mr_fail(err, MR_BAD, "out of memory while forming JSON");
    }
    return MR_OK;
}

mr_status mr_cmd_logits(const mr_args *args, mr_err *err) {
    mr_session s = {0};
    if (mr_session_open(args, NULL, &s, err)) return err->code;
    int64_t chunk = s.ids.count;
    output out = {mr_alloc(s.checkpoint.model.output.rows, sizeof(double), err),
                  args->json ? json_array() : NULL};
    if (err->code == MR_OK &&
        mr_value_int("--chunk", args->chunk, 1, INT32_MAX, &chunk, err) == MR_OK &&
        mr_session_run(&s, 0, (idx)chunk, false, NULL, NULL, err) == MR_OK &&
        mr_session_feed(&s, 0, (idx)chunk, each, &out, err) == MR_OK && args->json)
        mr_print_json(json_pack("{s:o,s:O}", "tokens", mr_json_ids(s.ids.id, s.ids.count), "logits",
                                out.rows),
                      err);
    json_decref(out.rows);
    mr_free(out.row);
    mr_session_close(&s);
    return err->code;
}
