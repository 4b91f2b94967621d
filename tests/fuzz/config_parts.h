/* Fuzzing a configuration file of either dialect: what is accepted has sizes that do not overflow,
 * and written and read again it is the same. */
#ifndef MR_TESTS_FUZZ_CONFIG_PARTS_H
#define MR_TESTS_FUZZ_CONFIG_PARTS_H

#include "tests/fuzz/fuzz.h"

#include "weights/config_parts.h"
#include "weights/config_write.h"
#include "weights/names.h"

/* The text that a writer makes of a configuration. MR_BAD when the dialect cannot say it. */
static inline mr_status fuzz_config_text(const mr_config *c, bool hf, mr_writer *text) {
    mr_err err = {0};
    *text = (mr_writer){.err = &err};
    if (!hf) mr_config_write_native(text, c);
    const mr_status status = hf ? mr_config_write_hf(text, c, MR_F32) : MR_OK;
    if (status != MR_OK) fuzz_refused(status, &err);
    else FUZZ_OK(text->status, &err);
    text->err = NULL;
    return status;
}

static inline mr_status fuzz_config_read(const char *name, const char *text, idx bytes,
                                         mr_config *out, mr_err *err) {
    json_t *root = NULL;
    mr_status status = mr_json_text(name, text, bytes, &root, err);
    if (status == MR_OK) status = mr_config_read_json(root, name, out, err);
    json_decref(root);
    return status;
}

/* After a second reading the text is the same. config.json says all that a file with one window can
 * say, so there the other dialect's text is the same, too; params.json knows no BOS and EOS. The
 * writer of config.json puts a number where the source has no longest context. */
static inline void fuzz_config_again(const mr_config *c, bool hf) {
    const char *name = hf ? "config.json" : "params.json";
    mr_writer first, second, native = {0}, expected = {0};
    mr_config again;
    mr_err err = {0};
    if (fuzz_config_text(c, hf, &first) == MR_OK) {
        FUZZ_OK(fuzz_config_read(name, first.data, first.length, &again, &err), &err);
        FUZZ_OK(fuzz_config_text(&again, hf, &second), &err);
        FUZZ(strcmp(first.data, second.data) == 0);
        if (hf && c->n_windows < 2 && c->max_positions > 0) {
            FUZZ_OK(fuzz_config_text(c, false, &expected), &err);
            FUZZ_OK(fuzz_config_text(&again, false, &native), &err);
            FUZZ(strcmp(expected.data, native.data) == 0);
        }
        mr_writer_free(&second);
        mr_writer_free(&native);
        mr_writer_free(&expected);
    }
    mr_writer_free(&first);
}

static inline void fuzz_config(const char *name, const uint8_t *data, size_t size) {
    mr_config config;
    mr_err err = {0};
    const mr_status status = fuzz_config_read(name, (const char *)data, (idx)size, &config, &err);
    if (status != MR_OK) {
        fuzz_refused(status, &err);
        return;
    }
    const mr_sizes sizes = mr_config_sizes(&config);
    FUZZ(sizes.total > 0 && sizes.active > 0 && sizes.active <= sizes.total);
    mr_names names;
    mr_names_init(&names, &config);
    const mr_param last = mr_names_at(&names, names.count - 1);
    char text[MR_NAME_SIZE];
    mr_param_name(last, MR_LAYOUT_HF, text);
    mr_param_name(last, MR_LAYOUT_NATIVE, text);
    fuzz_config_again(&config, false);
    fuzz_config_again(&config, true);
}

#endif
