/* Known answers of XXH3-64 (xxHash 0.8) in each of its length ranges; packs depend on every bit of it. */
#include <stdlib.h>

#include "base/hash.h"
#include "tests/base/cmocka_setup.h"

typedef struct known {
    size_t   bytes;
    uint64_t plain, seeded_42;
} known;

static const known knowns[] = {
    { 0, 0x2d06800538d394c2, 0xb029411ff43d84d2 },      { 1, 0x13e608bc156defed, 0xd0c83c4bdeed078b },
    { 3, 0xa9088dda485b481c, 0x3a6eb7a191052c81 },      { 4, 0x6d9253b16c8b1ed3, 0x5d8ddb4735733bab },
    { 8, 0x60539db630471163, 0x53a895ca319fab31 },      { 9, 0xfeff668361d723a8, 0x43f019f90f24f866 },
    { 16, 0xb8c859b0f030b585, 0x6b1b54f65d114c69 },     { 17, 0x714a04408e79b80f, 0x148ada809b3845dd },
    { 128, 0x67425a03650261bf, 0xeef663431a9bf01d },    { 129, 0xc664bf3311c6abc4, 0x4df9521149f6f8c5 },
    { 240, 0x64556dc6b462a6cf, 0x722964f8a7f16de3 },    { 241, 0x8beadd3a8874fe17, 0x59fdc74e63a7aee7 },
    { 1024, 0x9b81661c641c72b1, 0x6015bc0dcadbe10d },   { 1025, 0x806c2072ed713576, 0x734e13ee2b4fcfec },
    { 100000, 0x0c056f6fcc340974, 0x9b054645173d0031 },
};

static void test_hash__known_answers(void **state) {
    (void)state;
    unsigned char *data = malloc(100001);
    for (size_t shift = 0; shift < 2; shift++) { /* alignment does not matter */
        for (size_t i = 0; i < 100000; i++) data[i + shift] = (unsigned char)(i * 7 + 3);
        for (size_t k = 0; k < sizeof knowns / sizeof knowns[0]; k++) {
            assert_true(fm_hash(data + shift, knowns[k].bytes) == knowns[k].plain);
            assert_true(fm_hash_seeded(data + shift, knowns[k].bytes, 42) == knowns[k].seeded_42);
            assert_true(fm_hash_seeded(data + shift, knowns[k].bytes, 0) == knowns[k].plain);
        }
    }
    free(data);
    assert_true(fm_hash("a", 1) == 0xe6c632b61e964e1f);
    assert_true(fm_hash("abc", 3) == 0x78af5f94892f3950);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_hash__known_answers) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
