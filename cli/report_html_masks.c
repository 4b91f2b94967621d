/* Masks, as the rows saw them, and how near the router's choices were to being others. */
#include "cli/compare.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define FIGURES 12   /* different masks that are drawn */
#define FINDS   40   /* lines of one kind */

static const struct {
    const char *style, *words;
    uint8_t     bits;
} kinds[] = {{"extra", "seen, forbidden", MR_KEY_FORBIDDEN},
             {"miss", "allowed, not seen", MR_KEY_UNSEEN},
             {"ok", "seen", MR_KEY_SEEN}};

/* The kind of a cell: differences first, where it stands for several keys. */
static int kind_of(uint8_t cell) {
    for (int k = 0; k < 3; k++)
        if (cell & kinds[k].bits) return k;
    return -1;
}

static void draw(const mr_seen *s, mr_writer *out) {
    mr_writer_add(out, "<svg role=\"img\" aria-label=\"rows are tokens, columns keys\" viewBox=\""
                       "0 0 %td %td\" shape-rendering=\"crispEdges\">", s->columns, s->rows);
    for (int k = 0; k < 3; k++) {
        mr_writer_add(out, "<path class=\"%s\" d=\"", kinds[k].style);
        for (idx r = 0; r < s->rows; r++)
            for (idx j = 0, run; j < s->columns; j += run) {
                for (run = 1; j + run < s->columns &&
                              kind_of(s->cell[r][j + run]) == kind_of(s->cell[r][j]); ) run++;
                if (kind_of(s->cell[r][j]) == k)
                    mr_writer_add(out, "M%td %tdh%tdv1h-%tdz", j, r, run, run);
            }
        mr_writer_add(out, "\"/>");
    }
    mr_writer_add(out, "</svg>");
}

static bool alike(const mr_seen *a, const mr_seen *b) {
    return a->known == b->known && a->unseen == b->unseen && a->forbidden == b->forbidden &&
           memcmp(a->cell, b->cell, sizeof a->cell) == 0;
}

static void figure(const mr_report *r, idx from, idx to, mr_writer *out) {
    const mr_seen *s = &r->seen[from];
    mr_writer_add(out, "<figure>");
    draw(s, out);
    if (to - from > 1) mr_writer_add(out, "<figcaption>layers %td to %td: ", from, to - 1);
    else mr_writer_add(out, "<figcaption>layer %td: ", from);
    if (s->forbidden + s->unseen == 0) mr_writer_add(out, "as the rule says");
    else
        mr_writer_add(out, "<b>%td</b> forbidden keys seen, <b>%td</b> allowed ones not seen, "
                           "over all heads", s->forbidden, s->unseen);
    mr_writer_add(out, "</figcaption></figure>\n");
}

/* What the caches, the attention and the order of elements showed, in words. */
static void finds(const mr_comparison *c, mr_writer *out) {
    if (c->ring.count + c->layouts.count == 0 && c->seen.summary[0] == '\0') return;
    mr_writer_add(out, "<section class=\"card\" id=\"finds\"><h2>Caches, keys, layouts</h2><ul>");
    for (idx i = 0; i < c->ring.count && i < FINDS; i++) {
        const mr_ring_fault *f = &c->ring.list[i];
        mr_writer_add(out, "<li>cache of layer %td, sequence %td: ", f->layer, f->sequence);
        mr_write_escaped(out, f->text);
    }
    if (c->seen.summary[0] != '\0') mr_writer_add(out, "<li>keys: ");
    mr_write_escaped(out, c->seen.summary);
    for (idx i = 0; i < c->layouts.count && i < FINDS; i++) {
        mr_writer_add(out, "<li class=\"mono\">");
        mr_write_escaped(out, c->layouts.list[i].tensor);
        mr_writer_add(out, " ");
        mr_write_escaped(out, c->layouts.list[i].text);
    }
    mr_writer_add(out, "</ul></section>\n");
}

void mr_html_masks(const mr_comparison *c, mr_writer *out) {
    const mr_report *r = &c->report;
    idx known = 0, drawn = 0;
    for (idx l = 0; l < r->layers; l++) known += r->seen[l].known;
    finds(c, out);
    if (c->verification.count == 0) return;
    mr_writer_add(out, "<section class=\"card\" id=\"masks\"><h2>Masks</h2><p class=\"soft\">");
    if (known == 0) {
        mr_writer_add(out, "Not known: the port recorded neither scores nor probs.</p></section>"
                           "\n");
        return;
    }
    mr_writer_add(out, "Which keys (across) each token (down) saw, in any head, recovered from "
                       "scores or probs. A cell stands for several tokens where there are more "
                       "than %d.</p><p class=\"key\">", MR_CELLS);
    for (int k = 2; k >= 0; k--)
        mr_writer_add(out, "<span><i class=\"%s\"></i>%s</span>", kinds[k].style, kinds[k].words);
    mr_writer_add(out, "</p><div class=\"masks\">\n");
    for (idx l = 0, end; l < r->layers; l = end) {
        for (end = l + 1; end < r->layers && alike(&r->seen[end], &r->seen[l]); ) end++;
        if (r->seen[l].known && drawn++ < FIGURES) figure(r, l, end, out);
    }
    mr_writer_add(out, "</div>");
    if (drawn > FIGURES)
        mr_writer_add(out, "<p class=\"soft\">%td more masks that differ; --json counts them.</p>",
                      drawn - FIGURES);
    mr_writer_add(out, "</section>\n");
}

/* ---- routing --------------------------------------------------------------------------------- */

#define HEIGHT 40   /* 0.01 at the bottom, 1e8 at the top */

static int bar(double margin) {
    const double y = margin > 0 ? HEIGHT * (log10(margin) + 2) / 10 : 0;
    return !(y > 1) ? 1 : y > HEIGHT ? HEIGHT : (int)y;
}

static void margins(const mr_margins *m, idx layer, mr_writer *out) {
    mr_writer_add(out, "<figure><figcaption>layer %td: least ", layer);
    mr_html_number(out, m->least);
    mr_writer_add(out, "</figcaption><svg role=\"img\" aria-hidden=\"true\" style=\"--n:%td\" "
                       "viewBox=\"0 0 %td %d\" preserveAspectRatio=\"none\">", m->bins, m->bins,
                  HEIGHT);
    for (int low = 0; low < 2; low++) {
        mr_writer_add(out, "<path class=\"%s\" d=\"", low ? "out" : "in");
        for (idx i = 0; i < m->bins; i++)
            if ((m->margin[i] <= 1) == low)
                mr_writer_add(out, "M%td %dV%dh1V%dz", i, HEIGHT, HEIGHT - bar(m->margin[i]),
                              HEIGHT);
        mr_writer_add(out, "\"/>");
    }
    mr_writer_add(out, "<path class=\"limit\" d=\"M0 %dH%td\"/></svg></figure>\n", HEIGHT - bar(1),
                  m->bins);
}

static void experts(const int32_t *list, idx n, mr_writer *out) {
    mr_writer_add(out, "<td>");
    for (idx k = 0; k < n; k++) mr_writer_add(out, "%s%ld", k > 0 ? " " : "", (long)list[k]);
    mr_writer_add(out, "</td>");
}

static void flips(const mr_report *r, mr_writer *out) {
    const idx shown = r->chosen < MR_SHOWN_EXPERTS ? r->chosen : MR_SHOWN_EXPERTS;
    mr_writer_add(out, "<h3>%td choices differ from the reference's</h3>", r->flips);
    if (r->flips == 0) return;
    mr_writer_add(out, "<div class=\"scroll\"><table class=\"list\"><thead><tr><th>layer</th>"
                       "<th>token</th><th>expected</th><th>found</th><th>gap of logits</th>"
                       "<th></th></tr></thead><tbody>");
    for (idx i = 0; i < r->flips && i < MR_MAX_FLIPS; i++) {
        const mr_flip *f = &r->flip[i];
        mr_writer_add(out, "<tr%s><td>%td</td><td>%td</td>",
                      f->explained ? "" : " class=\"fault\"", f->layer, f->token);
        experts(f->expected, shown, out);
        experts(f->port, shown, out);
        mr_writer_add(out, "<td>%.3g</td><td>%s</td></tr>", f->gap,
                      f->explained ? "explained" : "fault");
    }
    mr_writer_add(out, "</tbody></table></div>");
}

void mr_html_routing(const mr_comparison *c, mr_writer *out) {
    const mr_report *r = &c->report;
    bool any = r->flips > 0;
    for (idx l = 0; l < r->layers; l++) any = any || r->margins[l].known;
    if (!any) return;
    mr_writer_add(out, "<section class=\"card\" id=\"routing\"><h2>Routing margins</h2>"
                       "<p class=\"soft\">By token: the smallest chosen router logit minus the "
                       "largest left out, over what rounding may move them. Logarithmic, 0.01 to "
                       "1e8, dashes at 1: below it either choice is right.</p>"
                       "<div class=\"bars\">\n");
    for (idx l = 0; l < r->layers; l++)
        if (r->margins[l].known) margins(&r->margins[l], l, out);
    mr_writer_add(out, "</div>");
    flips(r, out);
    mr_writer_add(out, "</section>\n");
}
