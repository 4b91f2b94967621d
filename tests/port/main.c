/* port: runs the second implementation on token ids and writes its trace. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/port/options.h"
#include "tests/port/record.h"

static void find_positions(const port_options *o, int64_t *low, int64_t *high) {
    *low  = o->sequence[0].first;
    *high = *low;
    for (idx i = 0; i < o->sequences; i++) {
        const port_sequence *s = &o->sequence[i];
        if (s->first < *low) *low = s->first;
        if (s->first + s->length > *high) *high = s->first + s->length;
    }
    *high += o->total + 8;               /* room for the seeds that count wrong */
    *low  -= 2;
}

static void open_engine(port_engine *e, const port_options *o) {
    const port_model *m = &e->model;
    int64_t low, high;
    idx     longest = 0;
    find_positions(o, &low, &high);
    e->sequence  = o->sequence;
    e->sequences = o->sequences;
    e->total     = o->total;
    e->cache     = port_zeros(m->L * o->sequences, sizeof *e->cache);
    e->record    = port_record_new(o->record, m, o->total);
    for (idx i = 0; i < o->sequences; i++)
        if (o->sequence[i].length > longest) longest = o->sequence[i].length;
    port_rope_build(&e->rope, m, low, high);
    for (idx l = 0; l < m->L; l++)
        for (idx i = 0; i < o->sequences; i++) {
            idx  slots = m->layer[l].window;
            bool ring  = slots > 0;
            if (bug(M01) && ring) slots++;
            if (bug(M05b)) ring = false;     /* pages are never given back, and nothing masks */
            if (!ring) slots = bug(K10) ? o->total : longest;
            port_cache_init(&e->cache[l * o->sequences + i], slots, m->G * m->D, ring);
        }
}

static void close_engine(port_engine *e) {
    for (idx i = 0; e->cache != NULL && i < e->model.L * e->sequences; i++)
        port_cache_free(&e->cache[i]);
    free(e->cache);
    port_rope_free(&e->rope);
    port_record_free(e->record);
    port_unload(&e->model);
}

/* Says how the trace was made, except for the bug: whoever judges it must find that out. */
static char *describe(const port_options *o) {
    json_t *tokens = json_array(), *first = json_array(), *meta;
    char   *text;
    for (idx i = 0; i < o->sequences; i++) {
        json_t *ids = json_array();
        for (idx n = 0; n < o->sequence[i].length; n++)
            json_array_append_new(ids, json_integer(o->sequence[i].tokens[n]));
        json_array_append_new(tokens, ids);
        json_array_append_new(first, json_integer(o->sequence[i].first));
    }
    meta = json_pack("{s:s,s:o,s:o,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:I,s:I}", "format",
                     "mistral-ref trace 1", "tokens", tokens, "first_position", first,
                     "precision", o->dtype, "accumulation", o->acc, "inside", "f32",
                     "convention", "native",
                     "rope_angles", "f32", "rope_layout", o->half ? "half" : "interleaved",
                     "program", "tests/port", "layout", o->layout_name, "chunk",
                     (json_int_t)o->chunk, "decode", (json_int_t)o->decode);
    text = meta != NULL ? json_dumps(meta, JSON_COMPACT) : NULL;
    json_decref(meta);
    return text;
}

static mr_status check_tokens(const port_options *o, const port_model *m, mr_err *err) {
    for (idx i = 0; i < o->sequences; i++)
        for (idx n = 0; n < o->sequence[i].length; n++)
            if (o->sequence[i].tokens[n] < 0 || o->sequence[i].tokens[n] >= m->V)
                return mr_fail(err, MR_USAGE, "port: token %d is outside the vocabulary of %td",
                               (int)o->sequence[i].tokens[n], m->V);
    return MR_OK;
}

static mr_status run(const port_options *o, mr_err *err) {
    port_engine e = {0};
    char       *meta;
    if (port_load(o->model, o->half, &e.model, err) || check_tokens(o, &e.model, err)) {
        port_unload(&e.model);
        return err->code;
    }
    open_engine(&e, o);
    port_run(&e, o->layout, o->chunk, o->reuse);
    meta = describe(o);
    port_record_write(e.record, &e, o->output, meta, err);
    free(meta);
    close_engine(&e);
    return err->code;
}

int main(int argc, char **argv) {
    port_options o;
    mr_err       err = {0};
    if (port_options_read(argc, argv, &o, &err) == MR_OK) {
        if (o.list) port_bug_list();
        else run(&o, &err);
    }
    port_options_free(&o);
    if (err.code != MR_OK) fprintf(stderr, "%s\n", err.text);
    return (int)err.code;
}
