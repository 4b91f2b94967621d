/* Writing a report: escaped text, and a file that appears complete or not at all. */
#include "cli/compare.h"

#include <string.h>

#include "weights/atomic.h"

/* Length of the UTF-8 character at `at`, 0 if there is none that XML may hold. */
static int character(const unsigned char *at) {
    const int more = *at < 0x80 ? 0 : *at >= 0xc2 && *at < 0xe0 ? 1 : (*at & 0xf0) == 0xe0 ? 2
                     : *at >= 0xf0 && *at < 0xf5 ? 3 : -1;
    if (more == 0) return *at >= 0x20 || *at == '\n' || *at == '\t';
    for (int i = 1; i <= more; i++)
        if ((at[i] & 0xc0) != 0x80) return 0;
    const bool longer = (*at == 0xe0 && at[1] < 0xa0) || (*at == 0xf0 && at[1] < 0x90),
               surrogate = *at == 0xed && at[1] >= 0xa0, beyond = *at == 0xf4 && at[1] >= 0x90,
               not_one = *at == 0xef && at[1] == 0xbf && at[2] >= 0xbe;
    return longer || surrogate || beyond || not_one ? 0 : more + 1;
}

void mr_write_escaped(mr_writer *out, const char *text) {
    while (*text != '\0') {
        const int n = character((const unsigned char *)text);
        switch (*text) {
        case '<': mr_writer_bytes(out, "&lt;", 4); break;
        case '>': mr_writer_bytes(out, "&gt;", 4); break;
        case '&': mr_writer_bytes(out, "&amp;", 5); break;
        case '"': mr_writer_bytes(out, "&quot;", 6); break;
        default: mr_writer_bytes(out, n > 0 ? text : "?", n > 0 ? n : 1); break;
        }
        text += n > 0 ? n : 1;
    }
}

void mr_write_attribute(mr_writer *out, const char *name, const char *value) {
    mr_writer_add(out, " %s=\"", name);
    mr_write_escaped(out, value);
    mr_writer_add(out, "\"");
}

mr_status mr_write_report(const char *path, mr_writer *text, mr_err *err) {
    mr_atomic file = {0};
    if (text->status == MR_OK && mr_atomic_open(&file, path, err) == MR_OK) {
        if (mr_atomic_write(&file, text->data, text->length, err) == MR_OK)
            mr_atomic_commit(&file, err);
        else mr_atomic_abandon(&file);
    }
    mr_writer_free(text);
    return err->code;
}
