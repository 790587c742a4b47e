/* Recipes: any box of any tree equals what each element's own path through the tree gives; sources; conversion. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compile/graph/convert.h"
#include "compile/graph/recipe.h"
#include "tests/base/cmocka_setup.h"

static uint64_t seed;
static uint32_t below(uint32_t n) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((seed >> 33) % n);
}

/* ---- the straightforward evaluation: one element at a time ---- */

static double rounded(double x, flashmem_dtype t) {
    char bytes[8];
    fm_convert(bytes, t, &x, FLASHMEM_F64, 1);
    fm_convert(&x, FLASHMEM_F64, bytes, t, 1);
    return x;
}

static int64_t flat_index(const fm_shape *s, const int64_t *index) {
    int64_t flat = 0;
    for (uint32_t i = 0; i < s->rank; i++) flat = flat * s->dims[i] + index[i];
    return flat;
}

static double element(const fm_recipe *r, const int64_t *index) {
    int64_t  in[FM_MAX_RANK] = { 0 }, flat;
    uint32_t rank = r->shape.rank, which = 0;
    double   a, b;
    switch (r->kind) {
    case FM_RECIPE_LEAF:
        fm_convert(&a, FLASHMEM_F64,
                   (const char *)r->source->memory + flat_index(&r->shape, index) * fm_dtype_bytes(r->dtype), r->dtype,
                   1);
        return a;
    case FM_RECIPE_TRANSPOSE:
        for (uint32_t i = 0; i < rank; i++) in[r->permutation[i]] = index[i];
        return element(r->inputs[0], in);
    case FM_RECIPE_RESHAPE:
        flat = flat_index(&r->shape, index);
        for (uint32_t i = r->inputs[0]->shape.rank; i-- > 0; flat /= r->inputs[0]->shape.dims[i])
            in[i] = flat % r->inputs[0]->shape.dims[i];
        return element(r->inputs[0], in);
    case FM_RECIPE_SLICE:
        for (uint32_t i = 0; i < rank; i++) in[i] = r->start[i] + index[i] * r->step[i];
        return element(r->inputs[0], in);
    case FM_RECIPE_CONCAT:
        memcpy(in, index, rank * sizeof *in);
        while (in[r->axis] >= r->inputs[which]->shape.dims[r->axis])
            in[r->axis] -= r->inputs[which++]->shape.dims[r->axis];
        return element(r->inputs[which], in);
    case FM_RECIPE_BROADCAST:
        for (uint32_t i = 0; i < rank; i++) in[i] = r->inputs[0]->shape.dims[i] == 1 ? 0 : index[i];
        return element(r->inputs[0], in);
    case FM_RECIPE_CAST: return rounded(element(r->inputs[0], index), r->dtype);
    default:
        a = (float)element(r->inputs[0], index);
        b = (float)element(r->inputs[1], index);
        return rounded(r->kind == FM_RECIPE_SCALE ? (float)(a * b) : (float)(a + b), r->dtype);
    }
}

/* ---- random trees ---- */

static const fm_recipe *random_leaf(fm_arena *a, const fm_shape *s) {
    int64_t count = fm_shape_count(s);
    float  *data = malloc((size_t)count * sizeof *data);
    for (int64_t i = 0; i < count; i++) data[i] = (float)((int)below(4000) - 2000) / 8;
    const fm_recipe *r = fm_recipe_memory(a, FLASHMEM_F32, s, data);
    free(data);
    return r;
}

static fm_shape random_split(int64_t count) {
    fm_shape s = { 0 };
    while (count > 1) {
        int64_t d = 1;
        for (int t = 0; t < 6 && d == 1; t++) {
            int64_t try = 2 + below(12);
            if (count % try == 0) d = try;
        }
        if (below(5) == 0 && s.rank < 4) s.dims[s.rank++] = 1;
        if (d == 1 || s.rank >= 4) d = count;
        s.dims[s.rank++] = d;
        count /= d;
    }
    return s;
}

static const fm_recipe *random_slice(fm_arena *a, const fm_recipe *r) {
    int64_t  start[FM_MAX_RANK], step[FM_MAX_RANK];
    fm_shape s = r->shape;
    for (uint32_t i = 0; i < s.rank; i++) {
        int64_t dim = s.dims[i], size = below(3) ? 1 : 1 + below(3), most = (dim + size - 1) / size;
        s.dims[i] = 1 + below((uint32_t)most);
        int64_t span = (s.dims[i] - 1) * size, low = below((uint32_t)(dim - span));
        bool    backwards = below(4) == 0;
        start[i] = backwards ? low + span : low;
        step[i] = backwards ? -size : size;
    }
    return fm_recipe_slice(a, r, start, step, &s);
}

static const fm_recipe *random_transpose(fm_arena *a, const fm_recipe *r) {
    uint32_t p[FM_MAX_RANK];
    for (uint32_t i = 0; i < r->shape.rank; i++) p[i] = i;
    for (uint32_t i = r->shape.rank; i-- > 1;) {
        uint32_t k = below(i + 1), t = p[i];
        p[i] = p[k];
        p[k] = t;
    }
    return fm_recipe_transpose(a, r, p);
}

static const fm_recipe *random_step(fm_arena *a, const fm_recipe *r) {
    static const flashmem_dtype types[] = { FLASHMEM_F16, FLASHMEM_F32, FLASHMEM_I32, FLASHMEM_BF16, FLASHMEM_F64 };
    fm_shape s = r->shape;
    switch (below(8)) {
    case 0: return random_transpose(a, r);
    case 1:
    case 2: s = random_split(fm_shape_count(&s)); return fm_recipe_reshape(a, r, &s);
    case 3: return fm_recipe_cast(a, r, types[below(5)]);
    case 4: return random_slice(a, r);
    case 5: {
        if (!s.rank) return r;
        uint32_t axis = below(s.rank);
        s.dims[axis] = 1 + below(4);
        const fm_recipe *parts[3] = { r, fm_recipe_cast(a, random_leaf(a, &s), r->dtype), r };
        return fm_recipe_concat(a, parts, 2 + below(2), axis);
    }
    case 6:
        for (uint32_t i = 0; i < s.rank; i++)
            if (s.dims[i] == 1) s.dims[i] = 1 + below(5);
        return fm_recipe_broadcast(a, r, &s);
    default:
        if (!fm_dtype_is_float(r->dtype) || r->dtype == FLASHMEM_F64) return r;
        for (uint32_t i = 0; i < s.rank; i++)
            if (below(2)) s.dims[i] = 1;
        return (below(2) ? fm_recipe_scale : fm_recipe_add)(a, r, random_leaf(a, &s));
    }
}

static void check_box(const fm_recipe *r, const int64_t *start, const int64_t *count, flashmem_dtype dtype) {
    uint32_t       rank = r->shape.rank;
    int64_t        n = 1, at[FM_MAX_RANK] = { 0 }, index[FM_MAX_RANK];
    flashmem_error error = { 0 };
    for (uint32_t i = 0; i < rank; i++) n *= count[i];
    char *got = malloc((size_t)n * 8);
    if (fm_recipe_read(r, start, count, dtype, got, &error) != FLASHMEM_OK) fail_msg("%s", error.message);
    for (int64_t p = 0; p < n; p++) {
        double found;
        for (uint32_t i = 0; i < rank; i++) index[i] = start[i] + at[i];
        double expected = rounded(element(r, index), dtype);
        fm_convert(&found, FLASHMEM_F64, got + p * fm_dtype_bytes(dtype), dtype, 1);
        if (found != expected && !(isnan(found) && isnan(expected)))
            fail_msg("recipe of kind %d: element %lld is %g, expected %g", (int)r->kind, (long long)p, found, expected);
        for (uint32_t i = rank; i-- > 0 && ++at[i] == count[i];) at[i] = 0;
    }
    free(got);
}

static void test_recipe__boxes_of_random_trees(void **state) {
    (void)state;
    for (uint32_t round = 0; round < 3000; round++) {
        fm_arena *a = fm_arena_create();
        seed = round;
        fm_shape s = { .rank = 1 + below(4) };
        for (uint32_t i = 0; i < s.rank; i++) s.dims[i] = 1 + below(below(4) ? 9 : 60);
        const fm_recipe *r = random_leaf(a, &s);
        for (uint32_t depth = below(7); depth > 0 && fm_shape_count(&r->shape) < 20000; depth--) r = random_step(a, r);
        for (uint32_t box = 0; box < 3; box++) {
            int64_t start[FM_MAX_RANK], count[FM_MAX_RANK];
            for (uint32_t i = 0; i < r->shape.rank; i++) {
                count[i] = box ? 1 + below((uint32_t)r->shape.dims[i]) : r->shape.dims[i];
                start[i] = below((uint32_t)(r->shape.dims[i] - count[i] + 1));
            }
            check_box(r, start, count, box == 1 ? FLASHMEM_F32 : r->dtype);
        }
        fm_arena_destroy(a);
    }
}

/* ---- sources ---- */

static flashmem_status count_reads(const fm_source *s, uint64_t offset, void *to, size_t bytes, flashmem_error *err) {
    (void)err;
    uint64_t *reads = (uint64_t *)(uintptr_t)s->path;
    reads[0]++;
    reads[1] += bytes;
    for (size_t i = 0; i < bytes / 4; i++) ((float *)to)[i] = (float)(offset / 4 + i);
    return FLASHMEM_OK;
}

static void test_recipe__reads_in_long_runs(void **state) {
    (void)state;
    fm_arena *a = fm_arena_create();
    uint64_t  reads[2] = { 0 };
    fm_shape  s = { 2, { 1000, 300 } };
    uint32_t  swap[2] = { 1, 0 };
    fm_source source = { .read = count_reads, .bytes = 1200000, .path = (const char *)reads };
    const fm_recipe *r = fm_recipe_transpose(a, fm_recipe_leaf(a, &source, FLASHMEM_F32, &s), swap);
    int64_t start[2] = { 0, 96 }, count[2] = { 300, 64 };
    float  *got = malloc(300 * 64 * sizeof *got);
    assert_int_equal(fm_recipe_read(r, start, count, FLASHMEM_F32, got, NULL), FLASHMEM_OK);
    assert_int_equal(reads[0], 1); /* 64 rows of the source, one after the other */
    assert_int_equal(reads[1], 64 * 300 * 4);
    assert_true(got[5 * 64 + 3] == (96 + 3) * 300 + 5);
    uint32_t order[2];
    fm_recipe_source_order(r, order);
    assert_int_equal(order[0], 1);
    free(got);
    fm_arena_destroy(a);
}

static flashmem_status fail_read(const fm_source *s, uint64_t offset, void *to, size_t bytes, flashmem_error *err) {
    (void)s, (void)offset, (void)to, (void)bytes;
    return fm_fail(err, FLASHMEM_IO, "the disk is gone");
}

static void test_recipe__passes_read_errors_on(void **state) {
    (void)state;
    fm_arena        *a = fm_arena_create();
    fm_shape         s = { 1, { 8 } };
    fm_source        source = { .read = fail_read, .bytes = 32 };
    const fm_recipe *leaf = fm_recipe_leaf(a, &source, FLASHMEM_F32, &s);
    const fm_recipe *r = fm_recipe_cast(a, fm_recipe_add(a, leaf, leaf), FLASHMEM_F16);
    flashmem_error   error = { 0 };
    uint16_t         got[8];
    assert_int_equal(fm_recipe_read_all(r, FLASHMEM_F16, got, &error), FLASHMEM_IO);
    assert_string_equal(error.message, "the disk is gone");
    fm_arena_destroy(a);
}

/* Values of the published formula, computed by another implementation. */
static void test_source_fill__matches_reference(void **state) {
    (void)state;
    fm_arena *a = fm_arena_create();
    double    doubles[4];
    uint16_t  halves[4];
    uint32_t  floats[3];
    fm_source *s = fm_source_fill(a, "wte.weight", 0.02, FLASHMEM_F64, 1 << 20);
    assert_int_equal(s->read(s, 0, doubles, sizeof doubles, NULL), FLASHMEM_OK);
    assert_true(doubles[0] == -0x1.5acc93b2e4d3fp-6 && doubles[1] == 0x1.b63449f602ae5p-7 &&
                doubles[2] == -0x1.82b9e05ce7fabp-8 && doubles[3] == 0x1.c7d8674eb4c78p-7);
    s = fm_source_fill(a, "wte.weight", 0.02, FLASHMEM_F16, 1 << 20);
    assert_int_equal(s->read(s, 0, halves, sizeof halves, NULL), FLASHMEM_OK);
    static const uint16_t half_bits[] = { 42347, 8921, 40459, 8991 };
    assert_memory_equal(halves, half_bits, sizeof halves);
    s = fm_source_fill(a, "a", 1.5, FLASHMEM_F32, (uint64_t)1 << 40);
    assert_int_equal(s->read(s, 4 * (uint64_t)1000000007, floats, sizeof floats, NULL), FLASHMEM_OK);
    static const uint32_t float_bits[] = { 1071830478, 1075686962, 1065659681 };
    assert_memory_equal(floats, float_bits, sizeof floats);
    fm_arena_destroy(a);
}

/* ---- conversion ---- */

static void test_convert__rounds_once(void **state) {
    (void)state;
    /* Just above the middle between two halves, but exactly the middle after rounding to float. */
    double   x = 1 + 0x1p-11 + 0x1p-40;
    uint16_t half, brain;
    fm_convert(&half, FLASHMEM_F16, &x, FLASHMEM_F64, 1);
    assert_int_equal(half, 0x3c01);
    x = 1 + 0x1p-8 + 0x1p-40;
    fm_convert(&brain, FLASHMEM_BF16, &x, FLASHMEM_F64, 1);
    assert_int_equal(brain, 0x3f81);
    int64_t whole = (int64_t)0x0020000000000001; /* 2^53 + 1: a double first would make it 2^53 */
    float   f;
    whole = whole * 512 + (1 << 8); /* a tie of floats only after rounding to double */
    fm_convert(&f, FLASHMEM_F32, &whole, FLASHMEM_I64, 1);
    assert_true(f == (float)whole);
}

static void test_convert__saturates_and_truncates(void **state) {
    (void)state;
    float   in[] = { 3.9f, -3.9f, 1e30f, -1e30f, NAN, 0.5f };
    int32_t i32[6];
    int8_t  i8[6];
    uint8_t flags[6];
    fm_convert(i32, FLASHMEM_I32, in, FLASHMEM_F32, 6);
    assert_int_equal(i32[0], 3);
    assert_int_equal(i32[1], -3);
    assert_int_equal(i32[2], INT32_MAX);
    assert_int_equal(i32[3], INT32_MIN);
    assert_int_equal(i32[4], 0);
    fm_convert(i8, FLASHMEM_I8, in, FLASHMEM_F32, 6);
    assert_int_equal(i8[2], 127);
    fm_convert(flags, FLASHMEM_BOOL, in, FLASHMEM_F32, 6);
    assert_int_equal(flags[5], 1);
    int64_t wide = -1;
    uint8_t byte;
    fm_convert(&byte, FLASHMEM_U8, &wide, FLASHMEM_I64, 1);
    assert_int_equal(byte, 255);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recipe__boxes_of_random_trees),  cmocka_unit_test(test_recipe__reads_in_long_runs),
        cmocka_unit_test(test_recipe__passes_read_errors_on),  cmocka_unit_test(test_source_fill__matches_reference),
        cmocka_unit_test(test_convert__rounds_once),           cmocka_unit_test(test_convert__saturates_and_truncates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
