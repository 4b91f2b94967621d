/* What the readers of config.json and params.json share. */
#ifndef MR_WEIGHTS_CONFIG_PARTS_H
#define MR_WEIGHTS_CONFIG_PARTS_H

#include "ref/config.h"
#include "weights/json.h"

/* One file being read into a configuration, with the assumptions that its reader has to tell. */
typedef struct {
    mr_json    json;        /* the object of the file */
    mr_config *config;
    char      *warning;     /* [size], assumptions separated by "; " */
    idx        size;
} mr_config_reader;

/* The configuration that a JSON value is, in any dialect; `source` opens messages. */
mr_status mr_config_read_json(const json_t *root, const char *source, mr_config *out, mr_err *err);

mr_status mr_config_read_hf(mr_config_reader *reader);        /* config.json */
mr_status mr_config_read_native(mr_config_reader *reader);    /* params.json */
mr_status mr_config_read_torrent(mr_config_reader *reader);   /* first Mixtral release */

/* Records a failure of this file: "SOURCE: " is put in front. */
mr_status mr_config_fail(mr_config_reader *reader, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;

/* Tells an assumption. What does not fit the warning is dropped. */
void mr_config_note(mr_config_reader *reader, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;

/* The sizes that every configuration must state, under the names of its dialect. */
typedef struct {
    const char *dim, *layers, *hidden, *heads, *vocabulary;
} mr_size_keys;

void mr_config_sizes_read(mr_config_reader *reader, const mr_size_keys *keys);

/* head_dim, or dim / heads with a note when it is absent or null. Call after the sizes. */
void mr_config_head_dim_read(mr_config_reader *reader, const mr_size_keys *keys);

/* sliding_window in any form of params.json under `key`: an integer, a string of digits, a list of
 * those and null, or null. True if the key is there with a value. */
bool mr_config_window_read(mr_config_reader *reader, const char *key);

/* Notes the keys of the file that are in neither list (NULL-terminated) and have a value. */
void mr_config_unknown_keys(mr_config_reader *reader, const char *const *known,
                            const char *const *harmless);

#endif
