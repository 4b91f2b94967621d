/* compare --html FILE: one page without network, readable without script. */
#include "cli/compare.h"

#include <math.h>
#include <string.h>

int mr_html_shade(double ratio) {
    static const double edges[] = {0, 0.01, 0.03, 0.1, 0.3, 1, 10, 100};
    for (int i = 0; i < 8; i++)
        if (ratio <= edges[i]) return i;
    return 8;
}

void mr_html_number(mr_writer *out, double x) {
    if (isnan(x)) mr_writer_add(out, "&ndash;");
    else if (isinf(x)) mr_writer_add(out, x > 0 ? "&infin;" : "&minus;&infin;");
    else mr_writer_add(out, "%.3g", x);
}

static void count(mr_writer *out, idx n, const char *what) {
    mr_writer_add(out, "<li><b>%td</b> %s</li>", n, what);
}

static void header(const mr_comparison *c, mr_writer *out) {
    const mr_verification *v = &c->verification;
    const bool bad = c->status == MR_DISAGREE, good = c->status == MR_OK;
    const idx faults = c->causes.harmless ? 0 : v->faults, explained = v->explained + v->faults;
    const idx need = mr_count_needing(c);
    mr_writer_add(out, "<header class=\"%s\"><p class=\"word\" id=\"verdict\">%s</p><h1>",
                  bad ? "bad" : good ? "good" : "none",
                  bad ? "&#10005; Disagrees" : good ? "&#10003; Agrees" : "? Proves nothing");
    mr_writer advice = {.err = out->err};
    mr_advise(c, &advice);
    if (advice.data != NULL) mr_write_escaped(out, advice.data);
    mr_writer_free(&advice);
    mr_writer_add(out, "</h1><ul class=\"counts\">");
    count(out, v->count - need, "tensors verified");
    count(out, faults, "faults");
    count(out, explained - faults, "explained");
    count(out, v->nothing - need, "prove nothing");
    if (need > 0) count(out, need, "need weights");
    count(out, c->count, "without verdict");
    mr_writer_add(out, "</ul></header>\n");
}

static void footer(const mr_comparison *c, mr_writer *out) {
    const char *const names[] = {"golden", "port", "model"},
                      *const files[] = {c->args->model, c->args->file, c->args->against};
    mr_writer_add(out, "<footer class=\"soft\"><dl>");
    for (int i = 0; i < 3; i++) {
        if (files[i] == NULL) continue;
        mr_writer_add(out, "<dt>%s</dt><dd class=\"mono\">", names[i]);
        mr_write_escaped(out, files[i]);
        mr_writer_add(out, "</dd>");
    }
    if (*c->store != '\0')
        mr_writer_add(out, "<dt>arithmetic</dt><dd>stored in %s, sums in %s</dd>", c->store,
                      c->sum);
    mr_writer_add(out, "</dl><p>mistral-ref " MR_VERSION ". Error/bound above 1 is more than "
                       "rounding can do in this arithmetic, whatever the order of sums; "
                       "docs/NUMERICS.md derives the bounds.</p></footer>\n");
}

void mr_html_open(mr_writer *out, const char *title, const char *verdict) {
    mr_writer_add(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                       "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
                       "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src "
                       "'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\"><title>");
    mr_write_escaped(out, title);
    mr_writer_add(out, " %s</title><style>\n", verdict);
    for (int i = 0; mr_html_style[i] != NULL; i++)
        mr_writer_bytes(out, mr_html_style[i], (idx)strlen(mr_html_style[i]));
    mr_writer_add(out, "\n</style></head><body><a class=\"skip\" href=\"#main\">To the report</a>"
                       "\n");
}

mr_status mr_compare_html(const mr_comparison *c, mr_err *err) {
    mr_writer out = {.err = err};
    mr_html_open(&out, c->args->file, mr_overall(c));
    header(c, &out);
    mr_writer_add(&out, "<main id=\"main\">\n");
    mr_html_fault(c, &out);
    mr_html_map(c, &out);
    mr_html_tensors(c, &out);
    mr_html_masks(c, &out);
    mr_html_routing(c, &out);
    mr_html_list(c, &out);
    mr_writer_add(&out, "</main>\n");
    footer(c, &out);
    mr_writer_add(&out, "<script>\n");
    for (int i = 0; mr_html_script[i] != NULL; i++)
        mr_writer_bytes(&out, mr_html_script[i], (idx)strlen(mr_html_script[i]));
    mr_writer_add(&out, "\n</script></body></html>\n");
    return mr_write_report(c->args->html, &out, err);
}
