/* Pieces with one and the same hash, as somebody would make them to slow a look-up down. */
#ifndef MR_TESTS_COLLIDING_H
#define MR_TESTS_COLLIDING_H

#include <stdint.h>
#include <string.h>

#include "tokenizer/vocab.h"

enum { COLLIDING = 16 };   /* bytes of each */

/* The step that tokenizer/vocab.c takes for every eight bytes. It can be undone, which is why the
 * last eight bytes can be chosen so that all pieces end in the same state. */
static inline uint64_t colliding_step(uint64_t x) {
    x *= UINT64_C(0x9E3779B97F4A7C15);
    return x ^ x >> 29;
}

static inline void colliding(char *bytes, uint64_t number) {
    const uint64_t last = colliding_step(COLLIDING ^ number) ^ UINT64_C(0x0123456789ABCDEF);
    memcpy(bytes, &number, 8);
    memcpy(bytes + 8, &last, 8);
}

/* The next piece of letters, digits and the like, which any file can hold, from *number on. */
static inline void colliding_text(char *bytes, uint64_t *number) {
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "!#$%&()*+,-./:;<=>?@[]^_{|}~";
    for (bool good = false; !good; ) {
        uint64_t letters = ++*number, first = 0;
        for (int i = 0; i < 8; i++, letters /= 64)
            first = first << 8 | (uint8_t)plain[letters % 64];
        colliding(bytes, first);
        good = true;
        for (int i = 8; i < COLLIDING && good; i++)
            good = bytes[i] != '\0' && strchr(plain, bytes[i]) != NULL;
    }
}

#endif
