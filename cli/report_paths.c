/* compare --paths, --junit FILE and --html FILE: a test case per pair of paths and tensor; a page
 * with a table per pair. */
#include "cli/compare_paths.h"

#include <stdio.h>
#include <string.h>

/* ---- JUnit ----------------------------------------------------------------------------------- */

/* A tensor without bounds that is not equal bit for bit has no verdict. */
static bool judged(const mr_path_step *s) { return s->ratio >= 0 || s->equal == s->rows; }

static void open_case(mr_writer *out, const char *class, const char *name) {
    mr_writer_add(out, "    <testcase");
    mr_write_attribute(out, "classname", class);
    mr_write_attribute(out, "name", name);
    mr_writer_add(out, " time=\"0\"");
}

static void failure(mr_writer *out, const char *message, const char *text) {
    mr_writer_add(out, ">\n      <failure type=\"fault\"");
    mr_write_attribute(out, "message", message);
    mr_writer_add(out, ">");
    mr_write_escaped(out, text);
    mr_writer_add(out, "</failure>\n    </testcase>\n");
}

static void step_case(const mr_paths_comparison *c, idx i, idx at, mr_writer *out) {
    const mr_path_step *s = &c->pair[i].step[at];
    char text[1200];
    open_case(out, c->path[i].name, s->name);
    if (s->beyond > 0) {
        mr_say_pair(c, i, text, sizeof text);
        char message[120];
        snprintf(message, sizeof message, "%td of %td rows beyond both bounds, %.3g times",
                 s->beyond, s->rows, s->ratio);
        failure(out, message, at == c->pair[i].parted ? text : "after the first tensor that parts");
    } else if (!judged(s))
        mr_writer_add(out, "><skipped message=\"no bound without weights\"/></testcase>\n");
    else mr_writer_add(out, "/>\n");
}

mr_status mr_paths_junit(const mr_paths_comparison *c, mr_err *err) {
    mr_writer out = {.err = err}, cases = {.err = err};
    idx all = 0, failed = 0, skipped = 0;
    char text[1200], counts[160];
    for (idx i = 1; i < c->count; i++)
        for (idx at = 0; at < c->pair[i].count; at++) {
            const mr_path_step *s = &c->pair[i].step[at];
            step_case(c, i, at, &cases);
            all++;
            failed += s->beyond > 0;
            skipped += s->beyond == 0 && !judged(s);
        }
    for (idx i = 0; i < c->count; i++) {
        const bool wrong = mr_say_own_fault(c, i, text, sizeof text);
        open_case(&cases, c->path[i].name, "alone");
        if (wrong) failure(&cases, "wrong by its own bounds", text);
        else mr_writer_add(&cases, "/>\n");
        all++;
        failed += wrong;
    }
    snprintf(counts, sizeof counts,
             "tests=\"%td\" failures=\"%td\" errors=\"0\" skipped=\"%td\" time=\"0\"", all,
             failed, skipped);
    mr_writer_add(&out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites "
                        "name=\"mistral-ref compare --paths\" %s>\n  <testsuite "
                        "name=\"mistral-ref compare --paths\" %s>\n", counts, counts);
    if (cases.data != NULL) mr_writer_bytes(&out, cases.data, cases.length);
    mr_writer_add(&out, "  </testsuite>\n</testsuites>\n");
    if (cases.status != MR_OK) out.status = cases.status;
    mr_writer_free(&cases);
    return mr_write_report(c->args->junit, &out, err);
}

/* ---- page ------------------------------------------------------------------------------------ */

static void header(const mr_paths_comparison *c, mr_writer *out) {
    static const char *const words[] = {"&#10003; Together", "&#10005; Disagrees",
                                        "? Proves nothing"};
    static const char *const classes[] = {"good", "bad", "none"};
    const int n = c->status == MR_OK ? 0 : c->status == MR_DISAGREE ? 1 : 2;
    idx first = 1;
    char text[1200];
    while (first < c->count && c->pair[first].parted < 0) first++;
    bool said = first < c->count;
    if (said) mr_say_pair(c, first, text, sizeof text);
    for (idx i = 0; i < c->count && !said; i++) said = mr_say_own_fault(c, i, text, sizeof text);
    if (!said) mr_say_pair(c, 1, text, sizeof text);
    mr_writer_add(out, "<header class=\"%s\"><p class=\"word\" id=\"verdict\">%s</p><h1>",
                  classes[n], words[n]);
    mr_write_escaped(out, text);
    mr_writer_add(out, "</h1></header>\n<main id=\"main\">\n");
}

static void row(const mr_path_step *s, mr_writer *out) {
    mr_writer_add(out, "<tr%s><td>", s->beyond > 0 ? " class=\"fault\"" : "");
    mr_write_escaped(out, s->name);
    mr_writer_add(out, "</td><td>%td</td><td>%td</td><td>%td</td><td>", s->rows, s->equal,
                  s->beyond);
    if (s->ratio >= 0) mr_html_number(out, s->ratio);
    else mr_writer_add(out, "&ndash;");
    mr_writer_add(out, "</td><td>");
    mr_html_number(out, s->relative);
    mr_writer_add(out, "</td></tr>\n");
}

static void pair(const mr_paths_comparison *c, idx i, mr_writer *out) {
    const mr_path_pair *p = &c->pair[i];
    char text[1200];
    mr_say_pair(c, i, text, sizeof text);
    mr_writer_add(out, "<section class=\"card\"><h2>%s</h2><p>",
                  p->parted >= 0 ? "These part" : "These are together");
    mr_write_escaped(out, text);
    mr_writer_add(out, "</p><div class=\"scroll tall\" tabindex=\"0\"><table class=\"list\"><thead>"
                       "<tr><th>tensor</th><th>rows</th><th>equal</th><th>beyond</th>"
                       "<th>own errors / bounds</th><th>largest distance / norm</th></tr></thead>"
                       "<tbody>\n");
    for (idx at = 0; at < p->count; at++) row(&p->step[at], out);
    mr_writer_add(out, "</tbody></table></div></section>\n");
}

mr_status mr_paths_html(const mr_paths_comparison *c, mr_err *err) {
    mr_writer out = {.err = err};
    char text[1200];
    mr_html_open(&out, c->path[0].name, "and its other paths");
    header(c, &out);
    for (idx i = 0; i < c->count; i++) {
        if (!mr_say_own_fault(c, i, text, sizeof text)) continue;
        mr_writer_add(&out, "<section class=\"card\"><h2>Wrong by itself</h2><p>");
        mr_write_escaped(&out, text);
        mr_writer_add(&out, "</p></section>\n");
    }
    for (idx i = 1; i < c->count; i++) pair(c, i, &out);
    mr_writer_add(&out, "</main>\n<footer class=\"soft\"><p>mistral-ref " MR_VERSION "</p></footer>"
                        "\n</body></html>\n");
    return mr_write_report(c->args->html, &out, err);
}
