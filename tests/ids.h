/* Ids of a text and text of ids, as tests ask a tokenizer for them. */
#ifndef MR_TESTS_IDS_H
#define MR_TESTS_IDS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/check.h"
#include "tokenizer/tokenizer.h"

/* Compared as text, so that a failure shows both lists. The text is given without a byte behind it,
 * so that a sanitizer sees who reads too far. */
static inline void ids_are(const mr_tokenizer *t, const char *text, idx bytes, const char *want) {
    mr_ids ids = {0};
    char got[1024] = "", *exact = malloc(bytes > 0 ? (size_t)bytes : 1);
    size_t at = 0;
    assert_non_null(exact);
    if (bytes > 0) memcpy(exact, text, (size_t)bytes);
    assert_int_equal(mr_tokenizer_encode(t, exact, bytes, &ids, NULL), MR_OK);
    free(exact);
    for (idx i = 0; i < ids.count && at + 16 < sizeof got; i++)
        at += (size_t)snprintf(got + at, 16, i > 0 ? " %d" : "%d", (int)ids.id[i]);
    assert_string_equal(got, want);
    mr_ids_free(&ids);
}

static inline void text_is(const mr_tokenizer *t, const int32_t *ids, idx count, const char *want) {
    mr_text text = {0};
    assert_int_equal(mr_tokenizer_decode(t, ids, count, &text, NULL), MR_OK);
    assert_string_equal(text.byte, want);
    mr_text_free(&text);
}

#define IDS(t, text, want) ids_are(t, text, (idx)sizeof text - 1, want)
#define TEXT(t, want, ...) \
    text_is(t, (int32_t[]){__VA_ARGS__}, (idx)(sizeof (int32_t[]){__VA_ARGS__} / 4), want)

#endif
