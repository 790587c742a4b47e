/* A map from names to pointers, in an arena; scopes chain to the one around them.  Who may include: compile. */
#ifndef FM_COMPILE_ONNX_NAMES_H
#define FM_COMPILE_ONNX_NAMES_H

#include "base/arena.h"

typedef struct fm_names fm_names;
struct fm_names {
    fm_arena       *arena;
    const fm_names *outer; /* or NULL */
    const char    **keys;
    void          **values;
    size_t          count, capacity; /* capacity is a power of two, or 0 */
};
void  fm_names_init(fm_names *names, fm_arena *arena, const fm_names *outer);
/* The key is borrowed.  Replaces. */
void  fm_names_put(fm_names *names, const char *key, void *value);
void *fm_names_local(const fm_names *names, const char *key); /* NULL: not in this scope */
void *fm_names_find(const fm_names *names, const char *key);  /* outer scopes too */

#endif
