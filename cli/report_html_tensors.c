/* Inside a tensor: largest error / bound by token, head, rotary pair, channel and key. */
#include "cli/compare.h"

#include <math.h>

#define HEIGHT 40   /* units of a bar: 1e-4 of the bound at the bottom, 1e6 bounds at the top */

static int bar(double ratio) {
    const double y = ratio > 0 ? HEIGHT * (log10(ratio) + 4) / 10 : 0;
    return ratio > 0 && y < 1 ? 1 : y > HEIGHT ? HEIGHT : (int)y;
}

/* One outline of all bars; on top of it those beyond the bound. */
static void bars(const double *ratio, idx n, mr_writer *out) {
    mr_writer_add(out, "<svg role=\"img\" aria-hidden=\"true\" style=\"--n:%td\" viewBox=\"0 0 %td "
                       "%d\" preserveAspectRatio=\"none\"><path class=\"in\" d=\"M0 %d", n, n,
                  HEIGHT, HEIGHT);
    for (idx i = 0, run; i < n; i += run) {
        const int y = bar(ratio[i]);
        for (run = 1; i + run < n && bar(ratio[i + run]) == y; ) run++;
        mr_writer_add(out, "V%dh%td", HEIGHT - y, run);
    }
    mr_writer_add(out, "V%dz\"/><path class=\"out\" d=\"", HEIGHT);
    for (idx i = 0; i < n; i++)
        if (ratio[i] > 1)
            mr_writer_add(out, "M%td %dV%dh1V%dz", i, HEIGHT, HEIGHT - bar(ratio[i]), HEIGHT);
    mr_writer_add(out, "\"/><path class=\"limit\" d=\"M0 %dH%td\"/></svg>", HEIGHT - bar(1), n);
}

static void axis(const mr_axis *a, const char *name, mr_writer *out) {
    idx worst = 0, beyond = 0;
    for (idx i = 0; i < a->bins; i++) {
        if (a->worst[i] > a->worst[worst]) worst = i;
        beyond += a->worst[i] > 1;
    }
    mr_writer_add(out, "<figure><figcaption>by %s: ", name);
    if (a->worst[worst] > 0) {
        const idx from = worst * a->size / a->bins, to = (worst + 1) * a->size / a->bins - 1;
        mr_writer_add(out, "largest at %td", from);
        if (to > from) mr_writer_add(out, " to %td", to);
        mr_writer_add(out, ", ");
        mr_html_number(out, a->worst[worst]);
        if (beyond > 0 && a->bins == a->size)
            mr_writer_add(out, "; beyond at %td of %td", beyond, a->size);
    } else mr_writer_add(out, "no error");
    mr_writer_add(out, "</figcaption>");
    bars(a->worst, a->bins, out);
    mr_writer_add(out, "<div class=\"ends\"><span>0</span><span>%td</span></div></figure>",
                  a->size - 1);
}

static void panel(const mr_comparison *c, idx i, bool shown, mr_writer *out) {
    static const char *const names[] = {"token", "head", "rotary pair", "channel", "key"};
    const mr_finding *f = &c->verification.list[i];
    const mr_profile *p = mr_profile_of(c, f);
    mr_writer_add(out, "<article class=\"panel%s\" id=\"t%td\"><h3>%s", shown ? " shown" : "", i,
                  f->name);
    for (int d = 0; p != NULL && d < p->rank; d++)
        mr_writer_add(out, "%s%td%s", d == 0 ? " [" : " &times; ", p->dim[d],
                      d == p->rank - 1 ? "]" : "");
    mr_writer_add(out, "</h3><p>%s; error/bound ", mr_verdict_word(c, f));
    mr_html_number(out, f->ratio);
    mr_writer_add(out, ", statistical ");
    mr_html_number(out, f->likely);
    if (f->worst >= 0)
        mr_writer_add(out, "; worst element %td: expected %.9g, got %.9g", f->worst, f->expected,
                      f->found);
    mr_writer_add(out, "</p>");
    if (f->note[0] != '\0') {
        mr_writer_add(out, "<p>");
        mr_write_escaped(out, f->note);
        mr_writer_add(out, "</p>");
    }
    mr_writer_add(out, "<div class=\"bars\">");
    for (int a = 0; p != NULL && a < MR_AXES; a++)
        if (p->axis[a].size > 0) axis(&p->axis[a], names[a], out);
    mr_writer_add(out, "</div></article>\n");
}

/* What to show first: the first fault, else the tensor nearest to its bound. */
static idx opening(const mr_verification *v) {
    idx best = v->first >= 0 ? v->first : 0;
    for (idx i = 0; v->first < 0 && i < v->count; i++)
        if (v->list[i].ratio > v->list[best].ratio) best = i;
    return best;
}

void mr_html_tensors(const mr_comparison *c, mr_writer *out) {
    const mr_verification *v = &c->verification;
    if (v->count == 0) return;
    mr_writer_add(out, "<section class=\"card\" id=\"inside\"><h2>Inside a tensor</h2>"
                       "<p class=\"soft\">Largest error/bound of each place, logarithmic: 1e-4 "
                       "at the bottom, 1e6 at the top, dashes at the bound.</p>\n");
    for (idx i = 0; i < v->count; i++) panel(c, i, i == opening(v), out);
    mr_writer_add(out, "</section>\n");
}
