/* The arena: alignment, zeroing, growth, and the trap on exhaustion.  Linked with --wrap=calloc. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "tests/base/cmocka_setup.h"

void *__real_calloc(size_t count, size_t each);
void *__wrap_calloc(size_t count, size_t each);

static int callocs_left = INT_MAX; /* the one after these fails */

void *__wrap_calloc(size_t count, size_t each) {
    if (callocs_left <= 0) return NULL;
    callocs_left--;
    return __real_calloc(count, each);
}

static void test_alloc__is_zeroed_aligned_and_apart(void **state) {
    (void)state;
    fm_arena      *arena = fm_arena_create();
    unsigned char *pieces[2000];
    size_t         sizes[2000], sum = 0;
    for (size_t i = 0; i < 2000; i++) {
        sizes[i] = i % 97 == 0 ? 40000 + i : i % 61;
        sum += sizes[i];
        pieces[i] = fm_arena_alloc(arena, sizes[i]);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % 16, 0);
        for (size_t b = 0; b < sizes[i]; b++) assert_int_equal(pieces[i][b], 0);
        memset(pieces[i], (int)(i % 255 + 1), sizes[i]);
    }
    for (size_t i = 0; i < 2000; i++)
        for (size_t b = 0; b < sizes[i]; b++) assert_int_equal(pieces[i][b], i % 255 + 1);
    assert_true(fm_arena_bytes(arena) >= sum);
    fm_arena_destroy(arena);
}

static void test_alloc__reserves_in_proportion(void **state) {
    (void)state;
    fm_arena *arena = fm_arena_create();
    for (size_t i = 0; i < 200000; i++) fm_arena_alloc(arena, 64);
    assert_true(fm_arena_bytes(arena) >= 200000 * 64);
    assert_true(fm_arena_bytes(arena) <= 2 * 200000 * 64 + (8 << 20));
    fm_arena_destroy(arena);
}

static void test_text__is_copied(void **state) {
    (void)state;
    fm_arena *arena = fm_arena_create();
    assert_string_equal(fm_arena_strdup(arena, "wte"), "wte");
    assert_string_equal(fm_arena_strdup(arena, ""), "");
    assert_string_equal(fm_arena_strndup(arena, "weight", 3), "wei");
    assert_string_equal(fm_arena_strndup(arena, "w", 30), "w");
    assert_string_equal(fm_arena_printf(arena, "%s_%d", "step", 12), "step_12");
    char text[5001];
    memset(text, 'y', 5000);
    text[5000] = '\0';
    assert_string_equal(fm_arena_printf(arena, "%s", text), text);
    fm_arena_destroy(arena);
}

static void test_push__keeps_what_was_pushed(void **state) {
    (void)state;
    fm_arena *arena = fm_arena_create();
    uint32_t *items = NULL;
    size_t    count = 0, capacity = 0;
    for (uint32_t i = 0; i < 100000; i++) FM_PUSH(arena, items, count, capacity) = i * 3u;
    assert_int_equal(count, 100000);
    assert_true(capacity >= count);
    for (uint32_t i = 0; i < 100000; i++) assert_int_equal(items[i], i * 3u);
    fm_arena_destroy(arena);
}

static void test_create__is_null_without_memory(void **state) {
    (void)state;
    callocs_left = 0;
    fm_arena *arena = fm_arena_create();
    callocs_left = INT_MAX;
    assert_null(arena);
    fm_arena_destroy(NULL);
}

/* Runs a small compilation-like load; returns 1 when it was unwound through the trap. */
static int unwound_with(int callocs) {
    fm_arena    *arena = fm_arena_create();
    volatile int unwound = 0;
    assert_non_null(arena);
    callocs_left = callocs;
    if (fm_arena_trap(arena)) {
        unwound = 1;
    } else {
        int   *items = NULL;
        size_t count = 0, capacity = 0;
        for (int i = 0; i < 50000; i++) FM_PUSH(arena, items, count, capacity) = i;
        fm_arena_alloc(arena, 1 << 20);
        fm_arena_printf(arena, "%d", 7);
    }
    callocs_left = INT_MAX;
    fm_arena_destroy(arena);
    return unwound;
}

static void test_trap__unwinds_at_the_nth_allocation(void **state) {
    (void)state;
    int nth = 0;
    while (unwound_with(nth)) nth++;
    assert_true(nth > 3); /* several blocks were needed, and the failure of each one unwound */
    assert_true(nth < 100);
}

static void trap_on(void *(*ask)(fm_arena *)) {
    fm_arena    *arena = fm_arena_create();
    volatile int unwound = 0;
    if (fm_arena_trap(arena)) unwound = 1;
    else ask(arena);
    assert_int_equal(unwound, 1);
    fm_arena_destroy(arena);
}

static void *ask_all(fm_arena *arena) { return fm_arena_alloc(arena, SIZE_MAX); }
static void *ask_half(fm_arena *arena) { return fm_arena_alloc(arena, SIZE_MAX / 2 - 3); }
static void *ask_product(fm_arena *arena) { return fm_arena_array(arena, SIZE_MAX / 8 + 1, 16); }
static void *ask_growth(fm_arena *arena) {
    size_t capacity = SIZE_MAX / 8;
    return fm_arena_grow(arena, NULL, capacity, &capacity, 16);
}

static void test_trap__catches_impossible_sizes(void **state) {
    (void)state;
    trap_on(ask_all);
    trap_on(ask_half);
    trap_on(ask_product);
    trap_on(ask_growth);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alloc__is_zeroed_aligned_and_apart),
        cmocka_unit_test(test_alloc__reserves_in_proportion),
        cmocka_unit_test(test_text__is_copied),
        cmocka_unit_test(test_push__keeps_what_was_pushed),
        cmocka_unit_test(test_create__is_null_without_memory),
        cmocka_unit_test(test_trap__unwinds_at_the_nth_allocation),
        cmocka_unit_test(test_trap__catches_impossible_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
