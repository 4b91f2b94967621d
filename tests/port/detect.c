/* detect: how many seeds the verifier catches, locates and explains; how often it cries wolf. */
#include "tests/port/detect/detect.h"

#include <stdlib.h>
#include <string.h>

#include "golden/trace.h"

void detect_verify(detect_run *r, const detect_place *place, const char *model, const char *args,
                   const char *store, const char *sum, bool causes) {
    char command[8192], folder[256], file[512];
    mr_err err = {0};
    memset(r, 0, sizeof *r);
    r->status = MR_BAD;
    snprintf(folder, sizeof folder, strncmp(model, "made/", 5) == 0 ? "%s/%s" : "%.0s%s",
             place->work, model);
    if (strncmp(model, "made/", 5) != 0)
        snprintf(folder, sizeof folder, "golden/cases/%s", model);
    snprintf(file, sizeof file, "%s/port.npz", place->work);
    snprintf(command, sizeof command, "%s %s %s --dtype %s --acc %s -o %s", place->port, folder,
             args, store, sum, file);
    if (system(command) != 0 || mr_checkpoint_open(folder, &r->model, &err) ||
        mr_trace_open(file, &r->trace, &err) ||
        mr_meta_read(file, mr_trace_meta(r->trace), &r->meta, &err) ||
        !mr_arithmetic_of(store, sum, &r->arithmetic)) {
        fprintf(stderr, "detect: %s: %s\n", command, err.text);
        return;
    }
    mr_config *config = &r->model.model.config;
    config->rope_layout = r->meta.rope_layout;
    config->rope_angles = r->meta.rope_angles;
    if (r->meta.wide_inside) r->arithmetic.inside = 0x1p-24;
    r->status = mr_verify(&r->model.model, &r->meta, r->trace, &r->arithmetic, NULL, &r->found,
                          &err);
    if (r->status == MR_DISAGREE && causes)
        mr_find_causes(&r->model.model, &r->meta, r->trace, &r->arithmetic, &r->found, &r->causes,
                       &err);
    if (err.code != MR_OK) {
        fprintf(stderr, "detect: %s: %s\n", command, err.text);
        r->status = MR_BAD;
    }
}

void detect_close(detect_run *r) {
    mr_verification_free(&r->found);
    mr_meta_free(&r->meta);
    mr_trace_close(r->trace);
    mr_checkpoint_close(&r->model);
}

int main(int count, char **args) {
    detect_place place = {"build/port", "."};
    const char *file = NULL;
    long clean = 0;
    int status = 0;
    for (int i = 1; i + 1 < count; i += 2) {
        if (strcmp(args[i], "--port") == 0) place.port = args[i + 1];
        else if (strcmp(args[i], "--work") == 0) place.work = args[i + 1];
        else if (strcmp(args[i], "--clean") == 0) clean = strtol(args[i + 1], NULL, 10);
        else if (strcmp(args[i], "-o") == 0) file = args[i + 1];
        else count = 2;
    }
    if (count % 2 == 0) {
        fprintf(stderr, "usage: detect --port PROGRAM --work FOLDER [--clean RUNS] [-o FILE]\n"
                        "FOLDER holds made/, see tests/port/README.md; run from the root\n");
        return 2;
    }
    FILE *out = file != NULL ? fopen(file, "w") : stdout;
    if (out == NULL) return 3;
    fputs("# What the verifier finds\n\nWritten by `detect -o` (tests/port/detect.c); the seeds "
          "are those of tests/port/bugs.def.\n", out);
    status |= detect_seeds(&place, out);
    if (clean > 0) {
        status |= detect_clean(&place, clean, out);
        detect_sharp(&place, out);
    }
    if (file != NULL && fclose(out) != 0) return 3;
    return status;
}
