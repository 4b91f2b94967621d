/* Names to numbers: a hash table with linear probing, doubled when half full, without removal. */
#include "golden/lookup.h"

#include <string.h>

/* FNV-1a, 32 bits: offset basis and prime as published by its authors. */
static uint32_t hash(const char *name) {
    uint32_t h = 2166136261u;
    for (; *name != '\0'; name++) h = (h ^ (unsigned char)*name) * 16777619u;
    return h;
}

/* Where the name is or would go. A free slot exists because the table is at most half full. */
static mr_lookup_slot *slot_of(const mr_lookup *names, const char *name) {
    idx i = (idx)(hash(name) & (uint32_t)(names->slots - 1));
    while (names->slot[i].name != NULL && strcmp(names->slot[i].name, name) != 0)
        i = (i + 1) & (names->slots - 1);
    return &names->slot[i];
}

idx mr_lookup_find(const mr_lookup *names, const char *name) {
    if (names->slots == 0) return -1;
    const mr_lookup_slot *slot = slot_of(names, name);
    return slot->name != NULL ? slot->value : -1;
}

static mr_status grow(mr_lookup *names, mr_err *err) {
    mr_lookup larger = {.count = names->count, .slots = names->slots > 0 ? 2 * names->slots : 64};
    larger.slot = mr_alloc(larger.slots, (idx)sizeof *larger.slot, err);
    if (larger.slot == NULL) return MR_BAD;
    for (idx i = 0; i < names->slots; i++)
        if (names->slot[i].name != NULL) *slot_of(&larger, names->slot[i].name) = names->slot[i];
    mr_free(names->slot);
    *names = larger;
    return MR_OK;
}

mr_status mr_lookup_add(mr_lookup *names, const char *name, idx value, mr_err *err) {
    if (2 * (names->count + 1) > names->slots && grow(names, err) != MR_OK) return MR_BAD;
    *slot_of(names, name) = (mr_lookup_slot){name, value};
    names->count++;
    return MR_OK;
}

void mr_lookup_free(mr_lookup *names) {
    mr_free(names->slot);
    *names = (mr_lookup){0};
}

bool mr_ends_with(const char *text, const char *ending) {
    size_t n = strlen(text), e = strlen(ending);
    return n >= e && strcmp(text + n - e, ending) == 0;
}
