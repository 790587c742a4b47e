/* Shapes and views against the plain definition: element (i0, i1, ...) lies at offset + sum(i * stride). */
#include <stdlib.h>
#include <string.h>

#include "contract/tensor.h"
#include "tests/base/cmocka_setup.h"

/* Offsets of all elements in row-major order; returns how many. */
static int64_t offsets_of(const fm_view *v, int64_t *offsets) {
    int64_t count = fm_shape_count(&v->shape);
    for (int64_t i = 0; i < count; i++) {
        int64_t rest = i, offset = v->offset;
        for (uint32_t axis = v->shape.rank; axis-- > 0;) {
            offset += rest % v->shape.dims[axis] * v->strides[axis];
            rest /= v->shape.dims[axis];
        }
        offsets[i] = offset;
    }
    return count;
}

static fm_view random_view(uint32_t rank) {
    fm_shape shape = { rank, { 0 } };
    fm_view  v;
    for (uint32_t i = 0; i < rank; i++) shape.dims[i] = 1 + rand() % 4;
    fm_view_dense(&v, 3, FLASHMEM_F32, &shape);
    for (int round = 0; round < 2; round++) {
        uint32_t axis = rank ? (uint32_t)rand() % rank : 0, permutation[FM_MAX_RANK];
        if (rank && rand() % 2) {
            int64_t dim = v.shape.dims[axis], start = rand() % dim;
            v = fm_view_slice(&v, axis, start, start ? -1 : 1, start ? start + 1 : dim);
        }
        for (uint32_t i = 0; i < rank; i++) permutation[i] = i;
        for (uint32_t i = rank; i > 1 && rand() % 2; i--) {
            uint32_t j = (uint32_t)rand() % i, t = permutation[i - 1];
            permutation[i - 1] = permutation[j];
            permutation[j] = t;
        }
        v = fm_view_permute(&v, permutation);
    }
    return v;
}

static void test_shape__count_print_broadcast(void **state) {
    (void)state;
    char     text[64], tiny[4];
    fm_shape scalar = { 0, { 0 } }, a = { 3, { 2, 1, 4 } }, b = { 2, { 3, 4 } }, c = { 2, { 2, 4 } }, out;
    fm_shape huge = { 3, { INT64_MAX, 3, 1 } }, zero = { 3, { INT64_MAX, 3, 0 } };
    assert_int_equal(fm_shape_count(&scalar), 1);
    assert_int_equal(fm_shape_count(&a), 8);
    assert_int_equal(fm_shape_count(&huge), -1);
    assert_int_equal(fm_shape_count(&zero), 0);
    assert_string_equal(fm_shape_print(&scalar, text, sizeof text), "scalar");
    assert_string_equal(fm_shape_print(&a, text, sizeof text), "2x1x4");
    assert_string_equal(fm_shape_print(&a, tiny, sizeof tiny), "2x1");
    assert_true(fm_shape_broadcast(&a, &b, &out));
    assert_string_equal(fm_shape_print(&out, text, sizeof text), "2x3x4");
    assert_true(fm_shape_broadcast(&scalar, &b, &out));
    assert_true(fm_shape_equal(&out, &b));
    assert_false(fm_shape_broadcast(&b, &c, &out));
    assert_false(fm_shape_equal(&b, &c));
    assert_string_equal(fm_dtype_name(FLASHMEM_BF16), "bfloat16");
    assert_string_equal(fm_dtype_name((flashmem_dtype)99), "unknown");
    assert_int_equal(fm_dtype_bytes((flashmem_dtype)99), 0);
}

static void test_view__permute_slice_broadcast(void **state) {
    (void)state;
    fm_shape shape = { 3, { 2, 3, 4 } }, wide = { 4, { 5, 2, 3, 4 } }, row = { 1, { 4 } };
    fm_view  v, w;
    fm_view_dense(&v, 9, FLASHMEM_F16, &shape);
    assert_true(fm_view_is_dense(&v));
    w = fm_view_permute(&v, (uint32_t[]){ 2, 0, 1 });
    assert_int_equal(w.shape.dims[0], 4);
    assert_int_equal(w.strides[0], 1);
    assert_int_equal(w.strides[1], 12);
    assert_false(fm_view_is_dense(&w));
    w = fm_view_slice(&v, 1, 2, -2, 2);
    assert_int_equal(w.offset, 8);
    assert_int_equal(w.strides[1], -8);
    assert_int_equal(w.shape.dims[1], 2);
    w = fm_view_broadcast(&v, &wide);
    assert_int_equal(w.strides[0], 0);
    assert_int_equal(w.strides[3], 1);
    fm_view_dense(&v, 9, FLASHMEM_F16, &row);
    w = fm_view_broadcast(&v, &shape);
    assert_int_equal(w.strides[1], 0);
    assert_int_equal(w.strides[2], 1);
    assert_int_equal(w.value, 9);
}

static void test_view__reshape_keeps_row_major_order(void **state) {
    (void)state;
    int64_t before[4096], after[4096];
    int     done = 0, refused = 0;
    srand(3);
    for (int round = 0; round < 20000; round++) {
        fm_view  v = random_view((uint32_t)rand() % 5), w;
        fm_shape shape = { 0, { 0 } };
        int64_t  count = offsets_of(&v, before);
        for (int64_t rest = count; shape.rank < 6;) { /* a random factorisation, ones included */
            int64_t f = 1 + rand() % 4;
            if (rest % f) continue;
            shape.dims[shape.rank] = shape.rank == 5 ? rest : f;
            shape.rank++;
            rest /= f;
        }
        if (!fm_view_reshape(&v, &shape, &w)) {
            refused++;
            assert_false(fm_view_is_dense(&v)); /* dense views take any shape */
            continue;
        }
        assert_true(fm_shape_equal(&w.shape, &shape));
        assert_int_equal(offsets_of(&w, after), count);
        assert_memory_equal(before, after, (size_t)count * sizeof before[0]);
        done++;
    }
    assert_true(done > 5000 && refused > 1000);
    fm_shape two = { 2, { 3, 4 } }, other = { 2, { 3, 5 } };
    fm_view  v, w;
    fm_view_dense(&v, 0, FLASHMEM_F32, &two);
    assert_false(fm_view_reshape(&v, &other, &w));
}

static void test_views__collapse_together(void **state) {
    (void)state;
    int64_t before[2][4096], after[4096];
    srand(4);
    int merged = 0;
    for (int round = 0; round < 20000; round++) {
        uint32_t rank = (uint32_t)rand() % 6;
        fm_view  views[2];
        views[0] = random_view(rank);
        fm_view_dense(&views[1], 1, FLASHMEM_F32, &views[0].shape);
        if (rank && rand() % 2) views[1].strides[(uint32_t)rand() % rank] = 0;
        int64_t count = 0;
        for (int i = 0; i < 2; i++) count = offsets_of(&views[i], before[i]);
        fm_views_collapse(views, 2);
        assert_true(fm_shape_equal(&views[0].shape, &views[1].shape));
        assert_true(views[0].shape.rank >= 1);
        merged += views[0].shape.rank < rank;
        for (int i = 0; i < 2; i++) {
            assert_int_equal(offsets_of(&views[i], after), count);
            assert_memory_equal(before[i], after, (size_t)count * sizeof after[0]);
        }
        for (uint32_t a = 0; a + 1 < views[0].shape.rank; a++) /* nothing mergeable is left */
            assert_false(views[0].strides[a] == views[0].strides[a + 1] * views[0].shape.dims[a + 1] &&
                         views[1].strides[a] == views[1].strides[a + 1] * views[1].shape.dims[a + 1]);
    }
    assert_true(merged > 5000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shape__count_print_broadcast),
        cmocka_unit_test(test_view__permute_slice_broadcast),
        cmocka_unit_test(test_view__reshape_keeps_row_major_order),
        cmocka_unit_test(test_views__collapse_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
