/* Error by layer and operation as a table of shades, and how the error grows through the model. */
#include "cli/compare.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define COLUMNS 64

/* The map: for every layer and operation the tensor with the largest error / bound, or -1. Experts
 * share one column. */
typedef struct {
    char names[COLUMNS][48];
    idx  columns, layers;
    idx *tensor;
} map;

static const char *operation_of(const char *rest) {
    return strncmp(rest, "experts.", 8) == 0 ? "experts" : rest;
}

static idx column_of(map *m, const char *name) {
    for (idx i = 0; i < m->columns; i++)
        if (strcmp(m->names[i], name) == 0) return i;
    if (m->columns == COLUMNS) return -1;
    snprintf(m->names[m->columns], sizeof m->names[0], "%s", name);
    return m->columns++;
}

static bool fill(map *m, const mr_comparison *c, mr_err *err) {
    const mr_verification *v = &c->verification;
    m->layers = c->report.layers;
    m->tensor = mr_alloc(m->layers * COLUMNS, sizeof *m->tensor, err);
    for (idx i = 0; m->tensor != NULL && i < m->layers * COLUMNS; i++) m->tensor[i] = -1;
    for (idx i = 0; m->tensor != NULL && i < v->count; i++) {
        const char *rest;
        const idx layer = mr_name_layer(v->list[i].name, &rest);
        const idx column = layer >= 0 ? column_of(m, operation_of(rest)) : -1;
        if (column < 0 || layer >= m->layers) continue;
        idx *at = &m->tensor[layer * COLUMNS + column];
        const bool fault = v->list[i].verdict == MR_FAULT;
        if (*at < 0 || (fault && v->list[*at].verdict != MR_FAULT) ||
            (fault == (v->list[*at].verdict == MR_FAULT) &&
             v->list[i].ratio > v->list[*at].ratio)) *at = i;
    }
    return m->tensor != NULL;
}

/* A sign besides the colour, so that it is not needed to tell a fault. */
static const char *sign(mr_verdict verdict) {
    static const char *const signs[] = {"&nbsp;", "&#10005;", "&asymp;", "?"};
    return signs[verdict];
}

static void link_to(const mr_comparison *c, idx i, const char *text, mr_writer *out) {
    const mr_finding *f = &c->verification.list[i];
    mr_writer_add(out, "<a href=\"#t%td\" class=\"s%d%s\" title=\"%s: %s, error/bound ", i,
                  mr_html_shade(f->ratio), f->verdict == MR_TELLS_NOTHING ? " nothing" : "",
                  f->name, mr_verdict_word(c, f));
    mr_html_number(out, f->ratio);
    mr_writer_add(out, "\" aria-label=\"%s: %s\">%s</a>", f->name, mr_verdict_word(c, f),
                  text);
}

/* Tensors outside the layers, before or after them. */
static void chips(const mr_comparison *c, bool after, mr_writer *out) {
    bool inside = false;
    mr_writer_add(out, "<div class=\"chips\">");
    for (idx i = 0; i < c->verification.count; i++) {
        const mr_finding *f = &c->verification.list[i];
        const char *rest;
        char text[160];
        const bool layer = mr_name_layer(f->name, &rest) >= 0;
        const bool first = !inside && strcmp(f->name, "tok_embeddings") == 0;
        inside = inside || layer;
        if (layer || first == after) continue;
        snprintf(text, sizeof text, "%s %s", f->name,
                 f->verdict == MR_AGREES ? "" : sign(f->verdict));
        link_to(c, i, text, out);
    }
    mr_writer_add(out, "</div>");
}

static void legend(mr_writer *out) {
    static const char *const words[] = {"equal", "to 0.01", "to 0.03", "to 0.1", "to 0.3",
                                        "to 1", "to 10", "to 100", "more"};
    mr_writer_add(out, "<p class=\"key\"><span>error/bound:</span>");
    for (int i = 0; i < 9; i++)
        mr_writer_add(out, "<span><i class=\"s%d\"></i>%s</span>", i, words[i]);
    mr_writer_add(out, "<span>&#10005; fault</span><span>&asymp; explained</span>"
                       "<span>? proves nothing</span></p>");
}

/* y of a relative error in the picture of growth: 1e-17 at the bottom, 10 at the top. */
static double height(double x) {
    const double y = x > 0 ? log10(x) : -17;
    return 90 - 90 * ((y < -17 ? -17 : y > 1 ? 1 : y) + 17) / 18;
}

static void line(const mr_comparison *c, bool own, mr_writer *out) {
    bool open = false;
    mr_writer_add(out, "<path class=\"line%s\" d=\"", own ? " own" : "");
    for (idx i = 0; i < c->verification.count; i++) {
        const mr_profile *p = mr_profile_of(c, &c->verification.list[i]);
        const bool integers = strstr(c->verification.list[i].name, "router_experts") != NULL;
        const double x = p == NULL ? (double)NAN : own ? p->introduced : p->total;
        if (!(x > 0) || integers) continue;   /* the choice of experts is no number */
        mr_writer_add(out, "%c%td %.1f", open ? 'L' : 'M', i, height(x));
        open = true;
    }
    mr_writer_add(out, "\"/>");
}

static void growth(const mr_comparison *c, mr_writer *out) {
    const idx n = c->verification.count;
    if (n < 2) return;
    mr_writer_add(out, "<h3>How the error grows</h3><figure><svg class=\"growth\" role=\"img\" "
                       "aria-label=\"relative error of every tensor in execution order\" "
                       "viewBox=\"0 0 %td 90\" preserveAspectRatio=\"none\">", n - 1);
    for (int y = 0; y < 3; y++)
        mr_writer_add(out, "<path class=\"limit\" d=\"M0 %.1fH%td\"/>",
                      height(pow(10, -4 * (y + 1))), n - 1);
    line(c, false, out);
    line(c, true, out);
    mr_writer_add(out, "</svg><div class=\"ends\"><span>%s</span><span>%s</span></div>"
                       "<figcaption>Relative error, logarithmic, 1e-17 to 10; dashes at 1e-4, 1e-8 "
                       "and 1e-12. <span class=\"key\"><span><i class=\"s5\"></i>introduced by "
                       "the operation</span><span><i class=\"s8\"></i>distance to the golden "
                       "trace%s</span></span></figcaption></figure>",
                  c->verification.list[0].name, c->verification.list[n - 1].name,
                  c->same_run ? "" : " (none: it is of another run)");
}

void mr_html_map(const mr_comparison *c, mr_writer *out) {
    map m = {.columns = 0};
    if (c->verification.count == 0 || !fill(&m, c, out->err)) return;
    mr_writer_add(out, "<section class=\"card\" id=\"map\"><h2>Error by layer and operation</h2>"
                       "<p class=\"soft\">Each operation re-run on the port's own inputs: a "
                       "fault here arose here. Choose a cell to look inside.</p>");
    chips(c, false, out);
    mr_writer_add(out, "<div class=\"scroll\"><table class=\"map\"><thead><tr><td></td>");
    for (idx k = 0; k < m.columns; k++)
        mr_writer_add(out, "<th scope=\"col\">%s</th>", m.names[k]);
    mr_writer_add(out, "</tr></thead><tbody>\n");
    for (idx l = 0; l < m.layers; l++) {
        mr_writer_add(out, "<tr><th scope=\"row\">layer %td</th>", l);
        for (idx k = 0; k < m.columns; k++) {
            const idx i = m.tensor[l * COLUMNS + k];
            const mr_finding *f = i >= 0 ? &c->verification.list[i] : NULL;
            mr_writer_add(out, "<td>");
            if (f == NULL) mr_writer_add(out, "<span title=\"not recorded\"></span>");
            else link_to(c, i, sign(f->verdict), out);
            mr_writer_add(out, "</td>");
        }
        mr_writer_add(out, "</tr>\n");
    }
    mr_writer_add(out, "</tbody></table></div>");
    chips(c, true, out);
    legend(out);
    growth(c, out);
    mr_writer_add(out, "</section>\n");
    mr_free(m.tensor);
}
