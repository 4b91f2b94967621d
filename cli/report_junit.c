/* compare --junit FILE: a test case per tensor, as CI systems read it (the JUnit XML of Ant and
 * Jenkins). Its class is the layer, its name the tensor. A fault is a failure, a tensor that
 * proves nothing or has no verdict is skipped, an explained choice passes and says so. */
#include "cli/compare.h"

#include <stdio.h>
#include <string.h>

static void open_case(mr_writer *out, const char *tensor) {
    const char *rest;
    char class[64] = "mistral-ref.model";
    const idx layer = mr_name_layer(tensor, &rest);
    if (layer >= 0) snprintf(class, sizeof class, "mistral-ref.layers.%td", layer);
    mr_writer_add(out, "    <testcase");
    mr_write_attribute(out, "classname", class);
    mr_write_attribute(out, "name", tensor);
    mr_writer_add(out, " time=\"0\"");
}

static void failure(const mr_comparison *c, const mr_finding *f, mr_writer *out) {
    char text[256];
    mr_writer command = {.err = out->err};
    snprintf(text, sizeof text, "error/bound %.3g, %td of %td elements beyond", f->ratio,
             f->beyond, f->elements);
    mr_writer_add(out, ">\n      <failure type=\"fault\"");
    mr_write_attribute(out, "message", text);
    mr_writer_add(out, ">");
    if (f->worst >= 0) {
        snprintf(text, sizeof text,
                 "element %td: expected %.9g, found %.9g, bound %.3g, statistical bound %.3g\n",
                 f->worst, f->expected, f->found, f->bound, f->likely_bound);
        mr_write_escaped(out, text);
    }
    if (f->note[0] != '\0') mr_write_escaped(out, f->note), mr_writer_add(out, "\n");
    for (idx i = 0; f == mr_first_fault(c) && i < c->causes.count; i++) {
        mr_writer_add(out, i == 0 ? "cause, proved: " : "or: ");
        mr_write_escaped(out, c->causes.proved[i].name);
        mr_writer_add(out, "\n");
    }
    mr_reproduce(c, f, &command);
    if (command.data != NULL) mr_write_escaped(out, command.data);
    mr_writer_free(&command);
    mr_writer_add(out, "</failure>\n    </testcase>\n");
}

static void finding(const mr_comparison *c, const mr_finding *f, mr_writer *out) {
    open_case(out, f->name);
    if (f->verdict == MR_FAULT && !c->causes.harmless) {
        failure(c, f, out);
    } else if (f->verdict == MR_TELLS_NOTHING) {
        mr_writer_add(out, "><skipped message=\"%s\"/></testcase>\n",
                      mr_needs_weights(c, f) ? "its operation needs the model's weights"
                                             : "proves nothing: every expected number is the same");
    } else if (f->verdict != MR_AGREES) {
        mr_writer_add(out, "><system-out>explained: ");
        mr_write_escaped(out, f->verdict == MR_EXPLAINED ? f->note : c->causes.proved[0].name);
        mr_writer_add(out, "</system-out></testcase>\n");
    } else mr_writer_add(out, "/>\n");
}

static void unjudged(const mr_measured *m, mr_writer *out) {
    char text[128];
    if (m->note[0] != '\0') snprintf(text, sizeof text, "not compared: %s", m->note);
    else
        snprintf(text, sizeof text, "measured without verdict: relative %.2e, largest %.2e",
                 m->distance.relative, m->distance.max_abs);
    open_case(out, m->name);
    mr_writer_add(out, "><skipped");
    mr_write_attribute(out, "message", text);
    mr_writer_add(out, "/></testcase>\n");
}

/* What is wrong besides tensors: one case, so that a run that disagrees has a failure. */
static bool other_faults(const mr_comparison *c) {
    return c->ring.count > 0 || (c->args->against == NULL && c->layouts.faults > 0);
}

static void others(const mr_comparison *c, mr_writer *out) {
    if (!other_faults(c)) return;
    open_case(out, "cache and layouts");
    mr_writer_add(out, ">\n      <failure type=\"fault\"");
    mr_write_attribute(out, "message", "slots or orders of elements that no right program has");
    mr_writer_add(out, ">");
    for (idx i = 0; i < c->ring.count; i++) {
        const mr_ring_fault *f = &c->ring.list[i];
        mr_writer_add(out, "layer %td, sequence %td: ", f->layer, f->sequence);
        mr_write_escaped(out, f->text);
        mr_writer_add(out, "\n");
    }
    for (idx i = 0; i < c->layouts.count; i++) {
        mr_write_escaped(out, c->layouts.list[i].tensor);
        mr_writer_add(out, " ");
        mr_write_escaped(out, c->layouts.list[i].text);
        mr_writer_add(out, "\n");
    }
    mr_writer_add(out, "</failure>\n    </testcase>\n");
}

static void properties(const mr_comparison *c, mr_writer *out) {
    mr_writer advice = {.err = out->err};
    mr_advise(c, &advice);
    const char *const list[][2] = {{"verdict", mr_overall(c)}, {"advice", advice.data},
                                   {"golden", c->args->model}, {"port", c->args->file},
                                   {"model", c->args->against}, {"stored", c->store},
                                   {"sums", c->sum}};
    mr_writer_add(out, "    <properties>\n");
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        if (list[i][1] == NULL) continue;
        mr_writer_add(out, "      <property");
        mr_write_attribute(out, "name", list[i][0]);
        mr_write_attribute(out, "value", list[i][1]);
        mr_writer_add(out, "/>\n");
    }
    mr_writer_add(out, "    </properties>\n");
    mr_writer_free(&advice);
}

mr_status mr_compare_junit(const mr_comparison *c, mr_err *err) {
    const mr_verification *v = &c->verification;
    const idx other = other_faults(c), failures = (c->causes.harmless ? 0 : v->faults) + other;
    char counts[160];
    mr_writer out = {.err = err};
    snprintf(counts, sizeof counts,
             "tests=\"%td\" failures=\"%td\" errors=\"0\" skipped=\"%td\" time=\"0\"",
             v->count + c->count + other, failures, v->nothing + c->count);
    mr_writer_add(&out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    mr_writer_add(&out, "<testsuites name=\"mistral-ref compare\" %s>\n", counts);
    mr_writer_add(&out, "  <testsuite name=\"mistral-ref compare\" %s>\n", counts);
    properties(c, &out);
    for (idx i = 0; i < v->count; i++) finding(c, &v->list[i], &out);
    for (idx i = 0; i < c->count; i++) unjudged(&c->measured[i], &out);
    others(c, &out);
    mr_writer_add(&out, "  </testsuite>\n</testsuites>\n");
    return mr_write_report(c->args->junit, &out, err);
}
