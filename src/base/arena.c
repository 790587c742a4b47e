/* The arena: a chain of blocks from malloc, bumped through in order.
 *
 *     newest block                          older blocks
 *     | header | used ........ | free |  -> | header | used | (rest unused) |  -> NULL
 *
 * Blocks double from 16 KiB up to 4 MiB; a larger request gets a block of its own, put behind the newest one, so that
 * the newest one's free space stays in use.  Memory comes from calloc: large blocks are zero pages from the kernel. */
#include "base/arena.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 16, FIRST_BLOCK = 16 << 10, LARGEST_BLOCK = 4 << 20 };

typedef struct block {
    struct block *older;
    size_t        capacity, used; /* of the bytes behind this header */
} block;

enum { HEADER = (sizeof(block) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT };

struct fm_arena {
    block  *newest;
    size_t  next_block;
    size_t  reserved;
    int     has_trap;
    jmp_buf trap;
};

fm_arena *fm_arena_create(void) {
    fm_arena *arena = calloc(1, sizeof *arena);
    if (arena) arena->next_block = FIRST_BLOCK;
    return arena;
}

void fm_arena_destroy(fm_arena *arena) {
    if (!arena) return;
    for (block *b = arena->newest; b;) {
        block *older = b->older;
        free(b);
        b = older;
    }
    free(arena);
}

jmp_buf *fm_arena_trap_frame(fm_arena *arena) {
    arena->has_trap = 1;
    return &arena->trap;
}

/* Without a trap there is no caller that could report it: the contract of fm_arena_alloc is never NULL. */
static _Noreturn void exhausted(fm_arena *arena) {
    if (arena->has_trap) longjmp(arena->trap, 1);
    fputs("flashmem: out of memory\n", stderr);
    abort();
}

static void *block_bytes(block *b) { return (char *)b + HEADER; }

static block *add_block(fm_arena *arena, size_t capacity) {
    if (capacity > SIZE_MAX / 2 - HEADER) exhausted(arena);
    block *b = calloc(1, HEADER + capacity);
    if (!b) exhausted(arena);
    b->capacity = capacity;
    arena->reserved += HEADER + capacity;
    return b;
}

static void *alloc_own_block(fm_arena *arena, size_t bytes) {
    block *b = add_block(arena, bytes);
    b->used = bytes;
    if (arena->newest) {
        b->older = arena->newest->older;
        arena->newest->older = b;
    } else {
        arena->newest = b;
    }
    return block_bytes(b);
}

void *fm_arena_alloc(fm_arena *arena, size_t bytes) {
    if (bytes > SIZE_MAX / 2) exhausted(arena);
    bytes = bytes ? (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT : ALIGNMENT;
    block *b = arena->newest;
    if (!b || b->capacity - b->used < bytes) {
        if (bytes > arena->next_block / 4) return alloc_own_block(arena, bytes);
        b = add_block(arena, arena->next_block - HEADER);
        b->older = arena->newest;
        arena->newest = b;
        if (arena->next_block < LARGEST_BLOCK) arena->next_block *= 2;
    }
    void *result = (char *)block_bytes(b) + b->used;
    b->used += bytes;
    return result;
}

void *fm_arena_array(fm_arena *arena, size_t count, size_t each) {
    if (each && count > SIZE_MAX / each) exhausted(arena);
    return fm_arena_alloc(arena, count * each);
}

char *fm_arena_strndup(fm_arena *arena, const char *text, size_t bytes) {
    size_t length = strnlen(text, bytes);
    char  *copy = fm_arena_alloc(arena, length + 1);
    memcpy(copy, text, length);
    return copy; /* alloc zeroed the last byte */
}

char *fm_arena_strdup(fm_arena *arena, const char *text) { return fm_arena_strndup(arena, text, strlen(text)); }

char *fm_arena_printf(fm_arena *arena, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    assert(length >= 0);
    char *text = fm_arena_alloc(arena, (size_t)length + 1);
    va_start(args, format);
    vsnprintf(text, (size_t)length + 1, format, args);
    va_end(args);
    return text;
}

size_t fm_arena_bytes(const fm_arena *arena) { return arena->reserved; }

void *fm_arena_grow(fm_arena *arena, void *items, size_t count, size_t *capacity, size_t each) {
    if (count < *capacity) return items;
    if (*capacity > SIZE_MAX / 2) exhausted(arena);
    size_t larger_capacity = *capacity ? *capacity * 2 : 8;
    void  *larger = fm_arena_array(arena, larger_capacity, each);
    if (count) memcpy(larger, items, count * each);
    *capacity = larger_capacity;
    return larger;
}
