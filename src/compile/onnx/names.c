/* Open addressing with linear probing; doubled when three quarters full. */
#include "compile/onnx/names.h"

#include <string.h>

#include "base/hash.h"

void fm_names_init(fm_names *names, fm_arena *arena, const fm_names *outer) {
    *names = (fm_names){ .arena = arena, .outer = outer };
}

static size_t slot_of(const fm_names *names, const char *key) {
    size_t at = (size_t)fm_hash(key, strlen(key)) & (names->capacity - 1);
    while (names->keys[at] && strcmp(names->keys[at], key) != 0) at = (at + 1) & (names->capacity - 1);
    return at;
}

static void grow(fm_names *names) {
    fm_names larger = *names;
    larger.capacity = names->capacity ? names->capacity * 2 : 64;
    larger.keys = fm_arena_array(names->arena, larger.capacity, sizeof *larger.keys);
    larger.values = fm_arena_array(names->arena, larger.capacity, sizeof *larger.values);
    for (size_t i = 0; i < names->capacity; i++) {
        if (!names->keys[i]) continue;
        size_t at = slot_of(&larger, names->keys[i]);
        larger.keys[at] = names->keys[i];
        larger.values[at] = names->values[i];
    }
    *names = larger;
}

void fm_names_put(fm_names *names, const char *key, void *value) {
    if (names->count >= names->capacity / 4 * 3) grow(names);
    size_t at = slot_of(names, key);
    if (!names->keys[at]) names->count++;
    names->keys[at] = key;
    names->values[at] = value;
}

void *fm_names_local(const fm_names *names, const char *key) {
    return names->capacity ? names->values[slot_of(names, key)] : NULL;
}

void *fm_names_find(const fm_names *names, const char *key) {
    for (; names; names = names->outer) {
        void *value = fm_names_local(names, key);
        if (value) return value;
    }
    return NULL;
}
