/* Loads against the host. */
#include <stdlib.h>

#include "tests/base/cmocka_setup.h"
#include "tests/kernels/rows_case.h"

static fm_load_desc load_of(fm_rows_case *c, int64_t from_bytes, int64_t to_bytes, fm_view *from, fm_view *to) {
    *from = fm_rows_view(c, FLASHMEM_F32, 1, (int64_t[]){ from_bytes / 4 }, FM_DENSE, 0);
    *to = fm_rows_view(c, FLASHMEM_F32, 1, (int64_t[]){ to_bytes / 4 }, FM_DENSE, 0);
    return (fm_load_desc){ .name = "load", .from = from->value, .to = to->value };
}

static void test_load__copies_what_it_is_told_and_no_more(void **state) {
    static const struct {
        int64_t from, to, offset, bytes;
    } cases[] = {
        { 16, 16, 0, 16 },
        { 64, 48, 16, 48 },
        { 4096, 4096, 0, 4096 },
        { 4096, 8192, 48, 2000 }, /* beyond it stays as it was */
        { 100000, 100000, 16, 99984 },
        { 1 << 20, 1 << 20, 0, 1 << 20 },
        { (1 << 20) + 48, 1 << 20, 48, (1 << 20) - 16 },
    };
    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        fm_rows_case c;
        fm_view      from, to;
        if (fm_rows_small() && cases[k].from > 100000) continue;
        fm_rows_open(&c, "load %d bytes from %d", (int)cases[k].bytes, (int)cases[k].offset);
        fm_load_desc d = load_of(&c, cases[k].from, cases[k].to, &from, &to);
        d.offset = cases[k].offset;
        d.bytes = cases[k].bytes;
        double *want = malloc((size_t)cases[k].to / 4 * sizeof *want);
        for (int64_t i = 0; i < cases[k].to / 4; i++)
            want[i] = i < d.bytes / 4 ? fm_rows_at(&c, &from, (int64_t[]){ i + d.offset / 4 })
                                      : fm_rows_at(&c, &to, (int64_t[]){ i });
        fm_rows_check(&c, FM_FAMILY_LOAD, &d, &to, want, 0);
        fm_rows_close(&c);
        free(want);
    }
}

static void refuses(int64_t offset, int64_t bytes, bool same, const char *reason) {
    fm_rows_case c;
    fm_view      from, to;
    fm_rows_open(&c, "load refused: %s", reason);
    fm_load_desc d = load_of(&c, 1024, 512, &from, &to);
    d.offset = offset;
    d.bytes = bytes;
    if (same) d.to = d.from;
    fm_rows_refuses(&c, FM_FAMILY_LOAD, &d, reason);
    fm_rows_close(&c);
}

static void test_load__refuses_what_does_not_fit(void **state) {
    (void)state;
    refuses(0, 0, false, "multiples of 16 are wanted");
    refuses(0, 24, false, "multiples of 16 are wanted");
    refuses(8, 16, false, "multiples of 16 are wanted");
    refuses(-16, 16, false, "multiples of 16 are wanted");
    refuses(0, 528, false, "to a value of 512");
    refuses(768, 512, false, "to a value of 512");
    refuses(INT64_MAX - 15, 16, false, "to a value of 512");
    refuses(0, 512, true, "two different values");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load__copies_what_it_is_told_and_no_more),
        cmocka_unit_test(test_load__refuses_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, fm_rows_setup, fm_rows_teardown);
}
