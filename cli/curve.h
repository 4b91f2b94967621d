/* Curves over steps as one SVG picture that needs nothing else: a panel per quantity. */
#ifndef MR_CLI_CURVE_H
#define MR_CLI_CURVE_H

#include "ref/base.h"

#define MR_CURVE_PANELS 12

typedef struct {
    const char   *title;
    const double *log;             /* [rows, columns], row r is step r + 1; NaN: no value */
    idx           rows, columns;
    struct {
        const char *name;
        idx         column, valid; /* training and validation; valid -1: none */
    } panel[MR_CURVE_PANELS];
    idx panels;
} mr_curve;

void      mr_curve_panel(mr_curve *curve, const char *name, idx column, idx valid);
/* Complete under its name or not at all. */
mr_status mr_curve_save(const mr_curve *curve, const char *path, mr_err *err);

#endif
