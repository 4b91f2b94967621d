/* The first fault in full, and the list of all tensors. */
#include "cli/compare.h"

#include <math.h>
#include <stdio.h>

static void item(mr_writer *out, const char *name, const char *text) {
    mr_writer_add(out, "<dt>%s</dt><dd>", name);
    mr_write_escaped(out, text);
    mr_writer_add(out, "</dd>");
}

static void value(mr_writer *out, const char *name, const char *format, double x) {
    mr_writer_add(out, "<div>%s <b>", name);
    if (isfinite(x)) mr_writer_add(out, format, x);
    else mr_html_number(out, x);
    mr_writer_add(out, "</b></div>");
}

static void element(const mr_finding *f, mr_writer *out) {
    mr_writer_add(out, "<div class=\"three\">");
    value(out, "expected", "%.9g", f->expected);
    value(out, "got", "%.9g", f->found);
    value(out, "bound", "%.3g", f->bound);
    value(out, "error/bound", "%.3g", mr_error_ratio(f->expected, f->found, f->bound));
    value(out, "statistical bound", "%.3g", f->likely_bound);
    value(out, "error/statistical", "%.3g",
          mr_error_ratio(f->expected, f->found, f->likely_bound));
    mr_writer_add(out, "</div>");
}

static void spot(const mr_comparison *c, const mr_finding *f, mr_writer *out) {
    const mr_spot at = mr_spot_of(c, f);
    const struct {
        const char *name;
        idx         value;
    } parts[] = {{"layer", at.layer}, {"head", at.head},
                 {at.position >= 0 ? "token" : "row", at.row}, {"key", at.key},
                 {"channel", at.channel}, {"rotary pair", at.pair}};
    mr_writer_add(out, "<dt>where</dt><dd>");
    for (int i = 0, n = 0; i < 6; i++) {
        if (parts[i].value < 0) continue;
        mr_writer_add(out, "%s%s %td", n++ > 0 ? ", " : "", parts[i].name, parts[i].value);
        if (i == 2 && at.position >= 0)
            mr_writer_add(out, " (id %ld, position %lld)", (long)at.id, (long long)at.position);
    }
    mr_writer_add(out, "</dd>");
}

static void norms(const mr_comparison *c, const mr_finding *f, mr_writer *out) {
    const mr_profile *p = mr_profile_of(c, f);
    if (p == NULL) return;
    mr_writer_add(out, "<dt>relative error</dt><dd>introduced here ");
    mr_html_number(out, p->introduced);
    mr_writer_add(out, ", inherited from its inputs ");
    mr_html_number(out, p->inherited);
    mr_writer_add(out, ", both ");
    mr_html_number(out, p->total);
    mr_writer_add(out, "</dd>");
}

static void causes(const mr_comparison *c, mr_writer *out) {
    for (idx i = 0; i < c->causes.count; i++) {
        mr_writer_add(out, i == 0 ? "<p class=\"cause\"><b>Cause, proved:</b> "
                                  : "<p class=\"cause\">or, not to be told apart: ");
        mr_write_escaped(out, c->causes.proved[i].name);
        mr_writer_add(out, i == 0 ? ". The reference with this fault does all that the port "
                                    "does, within the bounds.</p>" : "</p>");
    }
    if (c->causes.count == 0 && c->causes.tried > 0)
        mr_writer_add(out, "<p class=\"cause\">None of %td hypotheses reproduces the port.</p>",
                      c->causes.tried);
}

void mr_html_fault(const mr_comparison *c, mr_writer *out) {
    const mr_finding *f = mr_first_fault(c);
    if (f == NULL) return;
    const char *tag, *what = mr_operation(f->name, &tag);
    char text[160];
    mr_writer command = {.err = out->err};
    mr_writer_add(out, "<section class=\"card\" id=\"fault\"><h2>First fault: %s</h2>"
                       "<p class=\"soft\">%s%s%s%s</p>", f->name, what, *tag ? " (" : "", tag,
                  *tag ? ") of docs/MODEL.md" : "");
    causes(c, out);
    if (f->worst >= 0) element(f, out);
    mr_writer_add(out, "<dl>");
    if (f->worst >= 0) spot(c, f, out);
    snprintf(text, sizeof text, "%td of %td elements", f->beyond, f->elements);
    item(out, "beyond the bound", text);
    norms(c, f, out);
    if (f->note[0] != '\0') item(out, "seen", f->note);
    mr_writer_add(out, "</dl><p class=\"soft\">See it again:</p><code class=\"cmd\" "
                       "tabindex=\"0\">");
    mr_reproduce(c, f, &command);
    if (command.data != NULL) mr_write_escaped(out, command.data);
    mr_writer_free(&command);
    mr_writer_add(out, "</code></section>\n");
}

static void cell(mr_writer *out, double x) {
    mr_writer_add(out, "<td>");
    mr_html_number(out, x);
    mr_writer_add(out, "</td>");
}

static void rows(const mr_comparison *c, mr_writer *out) {
    for (idx i = 0; i < c->verification.count; i++) {
        const mr_finding *f = &c->verification.list[i];
        const mr_profile *p = mr_profile_of(c, f);
        const double none = (double)NAN;
        mr_writer_add(out, "<tr%s data-name=\"%s\"><td><a href=\"#t%td\">%s</a></td><td>%s</td>",
                      f->verdict == MR_FAULT ? " class=\"fault\"" : "", f->name, i, f->name,
                      mr_verdict_word(c, f));
        cell(out, f->ratio);
        cell(out, f->likely);
        mr_writer_add(out, "<td>%td / %td</td>", f->beyond, f->elements);
        cell(out, p != NULL ? p->introduced : none);
        cell(out, p != NULL ? p->inherited : none);
        cell(out, p != NULL ? p->total : none);
        mr_writer_add(out, "</tr>\n");
    }
    for (idx i = 0; i < c->count; i++) {
        const mr_measured *m = &c->measured[i];
        const bool known = m->note[0] == '\0';
        mr_writer_add(out, "<tr data-name=\"");
        mr_write_escaped(out, m->name);
        mr_writer_add(out, "\"><td>");
        mr_write_escaped(out, m->name);
        mr_writer_add(out, "</td><td>%s</td><td>&ndash;</td><td>&ndash;</td>"
                           "<td>&ndash; / %td</td><td>&ndash;</td><td>&ndash;</td>",
                      known ? "measured" : m->note, m->elements);
        cell(out, known ? m->distance.relative : (double)NAN);
        mr_writer_add(out, "</tr>\n");
    }
}

void mr_html_list(const mr_comparison *c, mr_writer *out) {
    mr_writer_add(out, "<section class=\"card\" id=\"all\"><h2>All tensors</h2>"
                       "<p class=\"soft\">In execution order. Introduced, inherited and both are "
                       "norms relative to the tensor's; the last two need a golden trace of the "
                       "same tokens.</p><div class=\"tools\"><label>Name <input type=\"search\" "
                       "id=\"filter\"></label><label><input type=\"checkbox\" id=\"faults\"> "
                       "faults only</label><span class=\"soft\" id=\"shown\" role=\"status\">"
                       "</span></div>");
    mr_writer_add(out, "<div class=\"scroll tall\" tabindex=\"0\"><table class=\"list\"><thead>"
                       "<tr><th>tensor</th><th>verdict</th><th>error/bound</th>"
                       "<th>error/statistical</th><th>beyond</th><th>introduced</th>"
                       "<th>inherited</th><th>both</th></tr></thead><tbody>\n");
    rows(c, out);
    mr_writer_add(out, "</tbody></table></div></section>\n");
}
