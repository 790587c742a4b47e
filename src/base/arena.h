/* A growing bump allocator: one per compilation or open model, freed whole.  Not thread-safe.  Anyone may include. */
#ifndef FM_BASE_ARENA_H
#define FM_BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

typedef struct fm_arena fm_arena;

/* NULL when the system gives no memory. */
fm_arena *fm_arena_create(void);
void      fm_arena_destroy(fm_arena *arena); /* NULL allowed */

/* Zeroed, 16-byte aligned.  Never NULL: on exhaustion calls the handler below. bytes 0 gives a valid pointer. */
void *fm_arena_alloc(fm_arena *arena, size_t bytes);
/* count * each with overflow check. */
void *fm_arena_array(fm_arena *arena, size_t count, size_t each);
char *fm_arena_strdup(fm_arena *arena, const char *text);
char *fm_arena_strndup(fm_arena *arena, const char *text, size_t bytes);
__attribute__((format(printf, 2, 3))) char *fm_arena_printf(fm_arena *arena, const char *format, ...);
size_t fm_arena_bytes(const fm_arena *arena); /* reserved from the system */

/* Exhaustion unwinds to the entry point that set the trap:
 *     if (fm_arena_trap(arena)) { ... out of memory ... }
 * A longjmp: set it once per compilation, in the outermost frame; other frames must own nothing but arena memory and
 * what the outermost frame's cleanup releases. */
#include <setjmp.h>
jmp_buf *fm_arena_trap_frame(fm_arena *arena);
#define fm_arena_trap(arena) setjmp(*fm_arena_trap_frame(arena))

/* Growth of a typed array kept in an arena: doubles capacity; old memory stays until the arena dies.
 *     FM_PUSH(arena, list->items, list->count, list->capacity) = item; */
void *fm_arena_grow(fm_arena *arena, void *items, size_t count, size_t *capacity, size_t each);
#define FM_PUSH(arena, items, count, capacity)                                                          \
    (*((items) = fm_arena_grow((arena), (items), (count), &(capacity), sizeof *(items)), &(items)[(count)++]))

#endif
