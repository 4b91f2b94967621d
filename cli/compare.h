/* What a comparison knows, and the reports made of it. Reports only read. */
#ifndef MR_CLI_COMPARE_H
#define MR_CLI_COMPARE_H

#include "cli/cli.h"
#include "golden/compare.h"
#include "golden/layout.h"
#include "golden/paths_keys.h"
#include "golden/paths_model.h"
#include "golden/paths_ring.h"
#include "golden/replay_backward.h"
#include "golden/replay_cause.h"
#include "golden/report.h"
#include "weights/text.h"

/* A tensor of the port that no operation was re-run for (no --model, gradients, losses, caches):
 * its distance to the golden trace, without a verdict. */
typedef struct {
    const char *name;
    const char *note;       /* why it was not measured, or "" */
    idx         elements;
    bool        reference;  /* measured against the reference's own, not the golden trace */
    mr_measure  distance;   /* when note is "" */
} mr_measured;

typedef struct {
    const mr_args  *args;
    mr_trace       *golden, *port;
    mr_checkpoint   model;
    mr_meta         meta;
    bool            same_run;   /* the golden trace is of the same tokens and positions */
    bool            other;      /* ... and its q and k are in the other rotary order */
    mr_arithmetic   arithmetic;
    mr_verification verification;
    mr_report       report;
    mr_causes       causes;
    mr_measured    *measured;
    idx             count;      /* of measured */
    const char     *store, *sum;
    mr_status       status;
    mr_trace       *raw;       /* what `port` reads through `map`; NULL: the port itself */
    mr_mapping      map;
    mr_view        *as_stored; /* [stored] of the map's entries, before their order was told */
    idx             stored;
    char            reading[600];  /* the first fault is an order that the port itself does not
                                    * follow: in words, or "" */
    mr_layouts      layouts;
    mr_ring_report  ring;
    mr_keys_seen         seen;
    mr_gradients    gradients; /* beside the reference's own; with --model */
    bool            bare;      /* no --model: operations without weights are re-run */
} mr_comparison;

/* ---- compare_inputs.c ------------------------------------------------------------------------ */

/* Notes what looks mistaken. MR_PROVES_NOTHING for one file compared with itself without a
 * model. */
mr_status mr_compare_inputs(const mr_comparison *c, mr_err *err);
/* Notes that the golden trace's own configuration is not the one that judges. */
void      mr_compare_conventions(const mr_comparison *c);

/* ---- compare_backward.c ---------------------------------------------------------------------- */

bool      mr_is_gradient(const char *name);   /* grad.* or loss.* */
/* After the forward pass: findings join c->verification, measures c->gradients. */
mr_status mr_compare_backward(mr_comparison *c, const mr_watch *watch, mr_err *err);
/* The measure of the port's tensor with this number, NULL without one. */
const mr_gradient *mr_gradient_of(const mr_comparison *c, idx at);
void      mr_say_gradients(const mr_comparison *c);
/* What the operation that makes a gradient does, and its equation's tag in docs/MODEL.md. */
const char *mr_backward_operation(const char *name, const char **tag);

/* ---- compare_measure.c ----------------------------------------------------------------------- */

/* Fills c->measured with the port's tensors that the verification did not see. */
mr_status mr_measure_rest(mr_comparison *c, mr_err *err);

/* ---- compare_words.c: the same words in every report ----------------------------------------- */

/* The fault to begin with, NULL when there is none or no output shows it. */
const mr_finding *mr_first_fault(const mr_comparison *c);
/* The profile of a finding, NULL when its shape was wrong. */
const mr_profile *mr_profile_of(const mr_comparison *c, const mr_finding *f);
/* "agrees", "disagrees" or "proves nothing" */
const char *mr_overall(const mr_comparison *c);
/* Without --model: nothing can be said of its operation. */
bool mr_needs_weights(const mr_comparison *c, const mr_finding *f);
idx  mr_count_needing(const mr_comparison *c);
const char *mr_verdict_word(const mr_comparison *c, const mr_finding *f);
/* What to do, in one sentence. */
void mr_advise(const mr_comparison *c, mr_writer *out);
/* What the operation that makes a tensor does, and its equation's tag in docs/MODEL.md. */
const char *mr_operation(const char *name, const char **tag);
/* A command line that shows this tensor's verdict alone. */
void mr_reproduce(const mr_comparison *c, const mr_finding *f, mr_writer *out);
/* "; 51 recorded in bf16, whose rounding is in the bounds", or "" */
void mr_say_recorded(const mr_comparison *c, char *text, size_t size);
/* Largest error / bound of the tensors that agree. */
double mr_largest_ratio(const mr_comparison *c);

/* Where an element is; -1 for what its tensor does not have. */
typedef struct {
    idx     layer, row, head, pair, channel, key;
    idx     sequence;       /* of the row, as id and position */
    int32_t id;
    int64_t position;
} mr_spot;
mr_spot mr_spot_of(const mr_comparison *c, const mr_finding *f);

/* ---- compare_reading.c ----------------------------------------------------------------------- */

mr_status mr_compare_keep_views(mr_comparison *c, mr_err *err);
/* After a verification with faults: does reading one layout as it is stored explain the first of
 * them? Then the port's trace is read so from now on. */
bool      mr_compare_reading(mr_comparison *c, mr_err *err);

/* ---- compare_layouts.c ----------------------------------------------------------------------- */

/* --map, and the orders of the port's tensors. */
mr_status mr_compare_map(mr_comparison *c, mr_err *err);
/* Without --model: the sizes from the golden trace's meta, so that operations without weights can
 * be re-run. MR_MISSING when no meta has them. */
mr_status mr_compare_bare(mr_comparison *c, mr_err *err);
/* The verdict then, when all is measured. */
void      mr_compare_without_weights(mr_comparison *c);
void      mr_advise_bare(const mr_comparison *c, mr_writer *out);
/* Caches, and which keys the rows saw. */
mr_status mr_compare_extras(mr_comparison *c, mr_err *err);
void      mr_compare_extras_free(mr_comparison *c);
void      mr_say_layouts(const mr_comparison *c);
void      mr_say_extras(const mr_comparison *c);
json_t   *mr_json_layouts(const mr_comparison *c);
json_t   *mr_json_cache(const mr_comparison *c);
json_t   *mr_json_seen(const mr_comparison *c);

/* compare --paths (compare_paths.c) */
mr_status mr_compare_paths(const mr_args *args, mr_err *err);

/* ---- reports --------------------------------------------------------------------------------- */

mr_status mr_compare_text(const mr_comparison *c, mr_err *err);         /* compare_text.c */
void      mr_report_line(const char *label, const char *text);
json_t   *mr_compare_json(const mr_comparison *c, mr_err *err);         /* compare_json.c */
mr_status mr_compare_junit(const mr_comparison *c, mr_err *err);        /* report_junit.c */
mr_status mr_compare_html(const mr_comparison *c, mr_err *err);         /* report_html.c */

/* A report written to a file, which appears complete or not at all. Frees the text. */
mr_status mr_write_report(const char *path, mr_writer *text, mr_err *err);
/* Text of XML and HTML: < > & " escaped; what these may not hold, and what is not UTF-8, as '?'. */
void      mr_write_escaped(mr_writer *out, const char *text);
void      mr_write_attribute(mr_writer *out, const char *name, const char *value);   /* n="v" */

/* Parts of the page: report_html_*.c */
extern const char *const mr_html_style[], *const mr_html_script[];   /* pieces, NULL at the end */
void mr_html_fault(const mr_comparison *c, mr_writer *out);
void mr_html_map(const mr_comparison *c, mr_writer *out);
void mr_html_tensors(const mr_comparison *c, mr_writer *out);
void mr_html_masks(const mr_comparison *c, mr_writer *out);
void mr_html_routing(const mr_comparison *c, mr_writer *out);
void mr_html_list(const mr_comparison *c, mr_writer *out);
/* Shade of an error / bound: 0 exact, 1 to 5 inside the bound, 6 to 8 beyond. */
int  mr_html_shade(double ratio);
void mr_html_open(mr_writer *out, const char *title, const char *verdict);   /* up to the header */
void mr_html_number(mr_writer *out, double x);   /* three digits; a dash for NaN */

#endif
