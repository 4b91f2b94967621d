/* Curves as SVG: axes with round numbers, the training curve as a line, validation as dots and a
 * line. Many steps are drawn as means of equal groups of steps, at most one group per pixel. */
#include "cli/curve.h"

#include <math.h>
#include <string.h>

#include "weights/atomic.h"
#include "weights/text.h"

/* Pixels. */
enum { WIDTH = 720, LEFT = 72, PLOT = 620, HEIGHT = 130, STEP = 190, TOP = 66 };

void mr_curve_panel(mr_curve *c, const char *name, idx column, idx valid) {
    if (c->panels == MR_CURVE_PANELS) return;
    c->panel[c->panels].name = name;
    c->panel[c->panels].column = column;
    c->panel[c->panels++].valid = valid;
}

static double at(const mr_curve *c, idx row, idx column) {
    return column < 0 ? (double)NAN : c->log[row * c->columns + column];
}

/* ---- axes ------------------------------------------------------------------------------------ */

typedef struct {
    double low, high, tick;
} axis;

/* 1, 2 or 5 times a power of ten, so that the span has three to eight of it. */
static double round_tick(double span) {
    const double power = pow(10, floor(log10(span / 4)));
    const double ratio = span / 4 / power;
    return power * (ratio < 2 ? 1 : ratio < 5 ? 2 : 5);
}

/* From the values of two columns, widened to whole ticks. */
static axis axis_of(const mr_curve *c, idx column, idx valid) {
    double low = (double)INFINITY, high = -(double)INFINITY;
    for (idx r = 0; r < c->rows; r++)
        for (int n = 0; n < 2; n++) {
            const double value = at(c, r, n == 0 ? column : valid);
            if (value < low) low = value;
            if (value > high) high = value;
        }
    if (!(low <= high)) low = 0, high = 1;
    const double least = fabs(high) > 0 ? 1e-3 * fabs(high) : 1e-3;
    if (high - low < least) low -= least, high += least;
    const double tick = round_tick(high - low);
    return (axis){tick * floor(low / tick), tick * ceil(high / tick), tick};
}

static double x_of(const mr_curve *c, double step) {
    return c->rows > 1 ? LEFT + PLOT * (step - 1) / (double)(c->rows - 1) : LEFT;
}

static double y_of(const axis *a, idx top, double value) {
    return (double)top + HEIGHT * (a->high - value) / (a->high - a->low);
}

/* ---- parts of the picture -------------------------------------------------------------------- */

/* The number of a tick: %g, but 0 where only rounding is left. */
static void tick_text(mr_writer *t, const axis *a, double value) {
    mr_writer_add(t, "%.6g", fabs(value) < a->tick / 1000 ? 0.0 : value);
}

static void draw_axes(mr_writer *t, const mr_curve *c, const axis *a, idx top, const char *name) {
    const int ticks = (int)lrint((a->high - a->low) / a->tick);
    mr_writer_add(t, "<text class=\"name\" x=\"%d\" y=\"%td\">%.100s</text>\n", LEFT, top - 8,
                  name);
    for (int n = 0; n <= ticks; n++) {
        const double value = a->low + n * a->tick, y = y_of(a, top, value);
        mr_writer_add(t, "<path class=\"grid\" d=\"M%d %.1fh%d\"/><text class=\"y\" x=\"%d\" "
                      "y=\"%.1f\">", LEFT, y, PLOT, LEFT - 6, y + 4);
        tick_text(t, a, value);
        mr_writer_add(t, "</text>\n");
    }
    const double span = c->rows > 1 ? (double)(c->rows - 1) : 1;
    const double tick = fmax(1, round_tick(span));
    for (idx i = 1; (double)i * tick <= (double)c->rows; i++)
        mr_writer_add(t, "<text class=\"x\" x=\"%.1f\" y=\"%td\">%.0f</text>\n",
                      x_of(c, (double)i * tick), top + HEIGHT + 16, (double)i * tick);
}

/* Means of groups of steps. */
static void draw_line(mr_writer *t, const mr_curve *c, const axis *a, idx top, idx column) {
    const idx group = (c->rows + PLOT - 1) / PLOT;
    bool begun = false;
    for (idx r = 0; r < c->rows; r += group) {
        double sum = 0, place = 0, n = 0;
        for (idx i = r; i < r + group && i < c->rows; i++) {
            if (!isfinite(at(c, i, column))) continue;
            sum += at(c, i, column);
            place += (double)(i + 1);
            n++;
        }
        if (n == 0) continue;
        mr_writer_add(t, "%s%.1f %.1f", begun ? " L" : "<path class=\"train\" d=\"M",
                      x_of(c, place / n), y_of(a, top, sum / n));
        begun = true;
    }
    if (begun) mr_writer_add(t, "\"/>\n");
}

/* Validations are few: a dot each, joined by a line. */
static void draw_valid(mr_writer *t, const mr_curve *c, const axis *a, idx top, idx column) {
    const char *joint = "<path class=\"valid\" d=\"M";
    for (idx r = 0; r < c->rows; r++) {
        if (!isfinite(at(c, r, column))) continue;
        mr_writer_add(t, "%s%.1f %.1f", joint, x_of(c, (double)(r + 1)),
                      y_of(a, top, at(c, r, column)));
        joint = " L";
    }
    mr_writer_add(t, "\"/>\n");
    for (idx r = 0; r < c->rows; r++)
        if (isfinite(at(c, r, column)))
            mr_writer_add(t, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\"/>\n",
                          x_of(c, (double)(r + 1)), y_of(a, top, at(c, r, column)));
}

static bool any(const mr_curve *c, idx column) {
    for (idx r = 0; r < c->rows; r++)
        if (isfinite(at(c, r, column))) return true;
    return false;
}

static void draw(mr_writer *t, const mr_curve *c) {
    const idx height = TOP + c->panels * STEP;
    mr_writer_add(t, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %td\" "
                  "width=\"%d\" height=\"%td\" font-family=\"sans-serif\" font-size=\"12\">\n",
                  WIDTH, height, WIDTH, height);
    mr_writer_add(t, "<style>.grid{stroke:#ddd}.train,.valid{fill:none;stroke-width:1.5}"
                  ".train{stroke:#1f6fb4}.valid{stroke:#d9541e}circle{fill:#d9541e}"
                  ".x{text-anchor:middle;fill:#555}.y{text-anchor:end;fill:#555}"
                  ".name{font-weight:bold}</style>\n<rect width=\"100%%\" height=\"100%%\" "
                  "fill=\"#fff\"/>\n");
    mr_writer_add(t, "<text x=\"%d\" y=\"26\" font-size=\"15\">train %.100s: %td steps</text>\n",
                  LEFT, c->title, c->rows);
    mr_writer_add(t, "<path class=\"train\" d=\"M400 22h28\"/><text x=\"434\" y=\"26\">training"
                  "</text><path class=\"valid\" d=\"M520 22h28\"/><text x=\"554\" y=\"26\">"
                  "validation</text>\n");
    for (idx p = 0; p < c->panels; p++) {
        const idx top = TOP + p * STEP, column = c->panel[p].column, valid = c->panel[p].valid;
        const axis a = axis_of(c, column, valid);
        draw_axes(t, c, &a, top, c->panel[p].name);
        draw_line(t, c, &a, top, column);
        if (any(c, valid)) draw_valid(t, c, &a, top, valid);
    }
    mr_writer_add(t, "</svg>\n");
}

mr_status mr_curve_save(const mr_curve *c, const char *path, mr_err *err) {
    mr_writer text = {.err = err};
    mr_atomic file = {0};
    draw(&text, c);
    mr_status status = text.status;
    if (status == MR_OK) status = mr_atomic_open(&file, path, err);
    if (status == MR_OK) status = mr_atomic_write(&file, text.data, text.length, err);
    if (status == MR_OK) status = mr_atomic_commit(&file, err);
    mr_atomic_abandon(&file);
    mr_writer_free(&text);
    return status;
}
