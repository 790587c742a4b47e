/* Statuses, messages, and the rule that the first failure wins. */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "tests/base/cmocka_setup.h"

static void test_fail__writes_status_and_message(void **state) {
    (void)state;
    flashmem_error err = { 0 };
    assert_int_equal(fm_fail(&err, FLASHMEM_BAD_MODEL, "tensor '%s': %d dims", "wte", 3), FLASHMEM_BAD_MODEL);
    assert_int_equal(err.status, FLASHMEM_BAD_MODEL);
    assert_string_equal(err.message, "tensor 'wte': 3 dims");
}

static void test_fail__keeps_the_first_failure(void **state) {
    (void)state;
    flashmem_error err = { 0 };
    fm_fail(&err, FLASHMEM_IO, "first");
    assert_int_equal(fm_fail(&err, FLASHMEM_BUDGET, "second"), FLASHMEM_BUDGET);
    assert_int_equal(fm_fail_errno(&err, ENOSPC, "third"), FLASHMEM_DISK_FULL);
    assert_int_equal(err.status, FLASHMEM_IO);
    assert_string_equal(err.message, "first");
    fm_error_clear(&err);
    assert_int_equal(err.status, FLASHMEM_OK);
    fm_fail(&err, FLASHMEM_BUDGET, "second");
    assert_string_equal(err.message, "second");
}

static void test_fail__accepts_null(void **state) {
    (void)state;
    assert_int_equal(fm_fail(NULL, FLASHMEM_IO, "%s", "x"), FLASHMEM_IO);
    assert_int_equal(fm_fail_errno(NULL, EIO, "%s", "x"), FLASHMEM_IO);
    fm_error_clear(NULL);
}

static void test_fail__truncates_long_messages(void **state) {
    (void)state;
    char           text[3000];
    flashmem_error err = { 0 };
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    fm_fail(&err, FLASHMEM_IO, "%s", text);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
    fm_error_clear(&err);
    fm_fail_errno(&err, EIO, "%s", text);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
}

static void test_fail_errno__maps_and_appends_text(void **state) {
    (void)state;
    const struct {
        int             number;
        flashmem_status status;
    } rows[] = { { ENOSPC, FLASHMEM_DISK_FULL },
                 { EDQUOT, FLASHMEM_DISK_FULL },
                 { ENOMEM, FLASHMEM_OUT_OF_MEMORY },
                 { EACCES, FLASHMEM_IO },
                 { ENOENT, FLASHMEM_IO } };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        flashmem_error err = { 0 };
        char           expected[256] = "m.onnx: open: ";
        strcat(expected, strerror(rows[i].number));
        assert_int_equal(fm_fail_errno(&err, rows[i].number, "%s: open", "m.onnx"), rows[i].status);
        assert_int_equal(err.status, rows[i].status);
        assert_string_equal(err.message, expected);
    }
}

static flashmem_status pass(flashmem_status status) { return status; }
static flashmem_status tried(flashmem_status given, int *went_on) {
    FM_TRY(pass(given));
    *went_on = 1;
    return FLASHMEM_OK;
}

static void test_try__forwards_and_goes_on(void **state) {
    (void)state;
    int went_on = 0;
    assert_int_equal(tried(FLASHMEM_DEVICE, &went_on), FLASHMEM_DEVICE);
    assert_int_equal(went_on, 0);
    assert_int_equal(tried(FLASHMEM_OK, &went_on), FLASHMEM_OK);
    assert_int_equal(went_on, 1);
}

static void test_status__names_and_texts(void **state) {
    (void)state;
    assert_string_equal(flashmem_status_name(FLASHMEM_OK), "OK");
    assert_string_equal(flashmem_status_name(FLASHMEM_BAD_PACK), "BAD_PACK");
    assert_string_equal(flashmem_status_text(FLASHMEM_BAD_PACK), "not a valid pack");
    assert_string_equal(flashmem_status_name(FLASHMEM_INTERNAL), "INTERNAL");
    assert_non_null(flashmem_status_name((flashmem_status)-1));
    assert_non_null(flashmem_status_text(FLASHMEM_STATUS_COUNT));
}

typedef struct heard {
    int                lines;
    flashmem_log_level level;
    char               category[16], message[2048];
} heard;

static void hear(void *user, flashmem_log_level level, const char *category, const char *message) {
    heard *h = user;
    h->lines++;
    h->level = level;
    strncpy(h->category, category, sizeof h->category - 1);
    strncpy(h->message, message, sizeof h->message - 1);
}

static void test_log__formats_and_calls_back(void **state) {
    (void)state;
    heard  h = { 0 };
    fm_log log = { hear, &h }, silent = { NULL, NULL };
    fm_warn(&log, "cl", "queue %d: %s", 2, "in order");
    assert_int_equal(h.lines, 1);
    assert_int_equal(h.level, FLASHMEM_LOG_WARN);
    assert_string_equal(h.category, "cl");
    assert_string_equal(h.message, "queue 2: in order");
    fm_warn(&silent, "cl", "unheard");
    fm_log_write(NULL, FLASHMEM_LOG_ERROR, "cl", "unheard");
    assert_int_equal(h.lines, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fail__writes_status_and_message),
        cmocka_unit_test(test_fail__keeps_the_first_failure),
        cmocka_unit_test(test_fail__accepts_null),
        cmocka_unit_test(test_fail__truncates_long_messages),
        cmocka_unit_test(test_fail_errno__maps_and_appends_text),
        cmocka_unit_test(test_try__forwards_and_goes_on),
        cmocka_unit_test(test_status__names_and_texts),
        cmocka_unit_test(test_log__formats_and_calls_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
