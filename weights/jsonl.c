/* JSON Lines through jansson: the lines are ours, what is in them is weights/json.c's. */
#include "weights/jsonl.h"

#include <errno.h>
#include <string.h>

#include "weights/input.h"

mr_status mr_jsonl_open(mr_jsonl *lines, const char *path, mr_err *err) {
    *lines = (mr_jsonl){.path = path, .file = mr_input_open(path)};
    return lines->file != NULL
               ? MR_OK
               : mr_fail(err, MR_BAD, "%s: cannot open: %s", path, strerror(errno));
}

static mr_status more_room(mr_jsonl *l, mr_err *err) {
    const idx more = l->room == 0 ? 4096 : 2 * l->room;
    const idx room = more < MR_JSONL_LINE_CAP ? more : MR_JSONL_LINE_CAP;
    if (l->room == MR_JSONL_LINE_CAP)
        return mr_fail(err, MR_BAD, "%s: line %td: more than %td bytes; is this JSON Lines?",
                       l->path, l->line, MR_JSONL_LINE_CAP);
    char *larger = mr_resize(l->text, room, 1, err);
    if (larger == NULL) return MR_BAD;
    l->text = larger;
    l->room = room;
    return MR_OK;
}

/* One line without its end; *any is false at the end of the file. */
static mr_status read_line(mr_jsonl *l, bool *any, mr_err *err) {
    int byte;
    l->bytes = 0;
    l->line++;
    while ((byte = mr_input_byte(l->file)) != EOF && byte != '\n') {
        if (l->bytes == l->room && more_room(l, err)) return MR_BAD;
        l->text[l->bytes++] = (char)byte;
    }
    *any = byte != EOF || l->bytes > 0;
    return !ferror(l->file)
               ? MR_OK
               : mr_fail(err, MR_BAD, "%s: cannot read: %s", l->path, strerror(errno));
}

static bool blank(const mr_jsonl *l) {
    for (idx i = 0; i < l->bytes; i++)
        if (strchr(" \t\r", l->text[i]) == NULL || l->text[i] == '\0') return false;
    return true;
}

mr_status mr_jsonl_next(mr_jsonl *l, json_t **object, mr_err *err) {
    bool any = true;
    *object = NULL;
    do {
        if (read_line(l, &any, err)) return MR_BAD;
        if (!any) return MR_OK;
    } while (blank(l));
    if (mr_json_line(l->path, l->line, l->text, l->bytes, object, err)) return MR_BAD;
    if (json_is_object(*object)) return MR_OK;
    mr_fail(err, MR_BAD, "%s: line %td: expected a JSON object, found %s", l->path, l->line,
            mr_json_kind(*object));
    json_decref(*object);
    *object = NULL;
    return MR_BAD;
}

void mr_jsonl_close(mr_jsonl *l) {
    if (l->file != NULL) fclose(l->file);
    mr_free(l->text);
    *l = (mr_jsonl){0};
}
