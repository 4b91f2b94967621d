/* What a file is that was given as a trace: told by its first bytes, never by trusting them. */
#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64

#include "golden/trace_kind.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "golden/lookup.h"
#include "weights/input.h"

#define FIRST 512
#define SAVE_TRACE                                                                 \
    "; a trace is numpy.savez(\"port.npz\", **{name: array}) or what golden/record.py " \
    "saves, see docs/RECORD.md"

static const struct {
    const char *bytes;
    size_t      length;
    const char *what;
} kinds[] = {
    {"\x93NUMPY", 6, "a single array (.npy)" SAVE_TRACE},
    {"\x80\2", 2, "a Python pickle, which is a program and is not run here" SAVE_TRACE},
    {"\x80\3", 2, "a Python pickle, which is a program and is not run here" SAVE_TRACE},
    {"\x80\4", 2, "a Python pickle, which is a program and is not run here" SAVE_TRACE},
    {"\x80\5", 2, "a Python pickle, which is a program and is not run here" SAVE_TRACE},
    {"\x89PNG", 4, "a PNG image" SAVE_TRACE},
    {"\xff\xd8\xff", 3, "a JPEG image" SAVE_TRACE},
    {"%PDF", 4, "a PDF document" SAVE_TRACE},
    {"\x7f" "ELF", 4, "a program" SAVE_TRACE},
    {"\x89HDF", 4, "an HDF5 file" SAVE_TRACE},
    {"GGUF", 4, "a GGUF model" SAVE_TRACE},
    {"\x1f\x8b", 2, "compressed with gzip; unpack it first"},
};

static bool printable(const unsigned char *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        if ((p[i] < 0x20 || p[i] > 0x7e) && p[i] != '\n' && p[i] != '\r' && p[i] != '\t')
            return false;
    return true;
}

static bool contains(const unsigned char *p, size_t n, const char *text) {
    const size_t length = strlen(text);
    for (size_t i = 0; i + length <= n; i++)
        if (memcmp(p + i, text, length) == 0) return true;
    return false;
}

/* 8 bytes of a length that fits a header, then '{' */
static bool is_safetensors(const unsigned char *p, size_t n) {
    return n > 8 && p[8] == '{' && memcmp(p + 4, "\0\0\0\0", 4) == 0;
}

static const char *kind_of(const char *path, const unsigned char *p, size_t n) {
    const bool zip = n >= 4 && memcmp(p, "PK\3\4", 4) == 0;
    if (n == 0) return "empty (0 bytes): was the program that writes it stopped?";
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (n >= kinds[i].length && memcmp(p, kinds[i].bytes, kinds[i].length) == 0)
            return kinds[i].what;
    if (zip && contains(p, n, "data.pkl"))
        return "a PyTorch file (torch.save), which is a pickle, a program, and is not run "
               "here" SAVE_TRACE;
    if (zip && mr_ends_with(path, ".safetensors")) return "an .npz archive; rename it to .npz";
    if (is_safetensors(p, n) && mr_ends_with(path, ".npz"))
        return "a safetensors file; rename it to .safetensors";
    if (printable(p, n < 16 ? n : 16)) return "text" SAVE_TRACE;
    return NULL;
}

mr_status mr_trace_foreign(const char *path, mr_err *err) {
    unsigned char first[FIRST];
    struct stat info;
    if (stat(path, &info) != 0) return MR_OK;   /* whoever opens it says why not */
    if (S_ISDIR(info.st_mode))
        return mr_fail(err, MR_BAD, "%s: is a folder; a trace is one .npz or .safetensors file",
                       path);
    FILE *file = S_ISREG(info.st_mode) ? mr_input_open(path) : NULL;
    if (file == NULL) return MR_OK;
    const size_t n = mr_input_read(first, sizeof first, file);
    const bool failed = ferror(file) != 0;   /* whoever reads it says why */
    const char *what = failed ? NULL : kind_of(path, first, n);
    fclose(file);
    return what == NULL ? MR_OK : mr_fail(err, MR_BAD, "%s: is %s", path, what);
}
