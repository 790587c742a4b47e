/* The budget/latency curve over a planner of our own: latency falls with the budget, from a minimum to all resident. */
#include <string.h>

#include "cli/console.h"
#include "cli/curve.h"
#include "tests/base/cmocka_setup.h"

struct flashmem_planner {
    uint64_t minimum, whole; /* bytes */
    uint32_t plans, freed, fail_at;
};
static flashmem_planner *planner_of_plans; /* flashmem_plan_free is not told */

flashmem_status flashmem_planner_plan(flashmem_planner *planner, const flashmem_plan_options *options,
                                      const flashmem_plan **out, flashmem_error *error) {
    static flashmem_plan plan;
    uint64_t             budget = (uint64_t)options->budget_value;
    if (++planner->plans == planner->fail_at) {
        strcpy(error->message, "refused");
        return error->status = FLASHMEM_UNSUPPORTED;
    }
    if (options->budget_kind == FLASHMEM_BUDGET_MINIMUM) budget = planner->minimum;
    if (options->budget_kind == FLASHMEM_BUDGET_OFF) budget = planner->whole;
    assert_true(budget >= planner->minimum && budget <= planner->whole);
    plan = (flashmem_plan){ .peak_bytes = budget - (options->budget_kind == FLASHMEM_BUDGET_BYTES ? 100 : 0),
                            .latency = 1e9 / (double)budget,
                            .stall = 1e8 / (double)budget,
                            .average_bytes = (double)budget / 2,
                            .resident_bytes = budget / 4 };
    planner_of_plans = planner;
    *out = &plan;
    return FLASHMEM_OK;
}
void flashmem_plan_free(const flashmem_plan *plan) {
    assert_non_null(plan);
    planner_of_plans->freed++;
}

static void test_curve__from_the_minimum_to_all(void **state) {
    (void)state;
    flashmem_planner      planner = { .minimum = 20 << 20, .whole = 900 << 20 };
    flashmem_plan_options options = { .size = sizeof options };
    flashmem_error        error = { 0 };
    cli_curve             curve;
    assert_int_equal(cli_curve_make(&planner, &options, &curve, &error), FLASHMEM_OK);
    assert_int_equal(curve.count, CLI_CURVE_ROWS);
    assert_int_equal(planner.plans, CLI_CURVE_ROWS);
    assert_int_equal(planner.freed, CLI_CURVE_ROWS);
    assert_int_equal(curve.rows[0].budget, planner.minimum);
    assert_int_equal(curve.rows[CLI_CURVE_ROWS - 1].budget, planner.whole);
    for (uint32_t i = 1; i < curve.count; i++) {
        const cli_curve_row *r = &curve.rows[i];
        double               ratio = (double)r->budget / (double)r[-1].budget;
        assert_true(ratio > 1.40 && ratio < 1.42); /* 45 ^ (1 / 11) */
        if (i + 1 < curve.count) assert_int_equal(r->peak, r->budget - 100);
        assert_true(r->latency == 1e9 / (double)r->budget && r->stall == 1e8 / (double)r->budget);
        assert_true(r->average == (double)r->budget / 2 && r->resident == r->budget / 4);
    }
}

static void test_curve__one_row_where_all_is_the_minimum(void **state) {
    (void)state;
    flashmem_planner      planner = { .minimum = 5 << 20, .whole = 5 << 20 };
    flashmem_plan_options options = { .size = sizeof options };
    flashmem_error        error = { 0 };
    cli_curve             curve;
    assert_int_equal(cli_curve_make(&planner, &options, &curve, &error), FLASHMEM_OK);
    assert_int_equal(curve.count, 1);
}

static void test_curve__few_rows_where_they_lie_close(void **state) {
    (void)state;
    flashmem_planner      planner = { .minimum = 1 << 20, .whole = (1 << 20) + (3 << 16) };
    flashmem_plan_options options = { .size = sizeof options };
    flashmem_error        error = { 0 };
    cli_curve             curve;
    assert_int_equal(cli_curve_make(&planner, &options, &curve, &error), FLASHMEM_OK);
    assert_true(curve.count >= 2 && curve.count <= 4);
    for (uint32_t i = 1; i < curve.count; i++) assert_true(curve.rows[i].budget > curve.rows[i - 1].budget);
}

static void test_curve__errors_are_forwarded(void **state) {
    (void)state;
    for (uint32_t at = 1; at <= CLI_CURVE_ROWS; at++) {
        flashmem_planner      planner = { .minimum = 20 << 20, .whole = 900 << 20, .fail_at = at };
        flashmem_plan_options options = { .size = sizeof options };
        flashmem_error        error = { 0 };
        cli_curve             curve;
        assert_int_equal(cli_curve_make(&planner, &options, &curve, &error), FLASHMEM_UNSUPPORTED);
        assert_string_equal(error.message, "refused");
        assert_int_equal(planner.freed, at - 1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_curve__from_the_minimum_to_all),
        cmocka_unit_test(test_curve__one_row_where_all_is_the_minimum),
        cmocka_unit_test(test_curve__few_rows_where_they_lie_close),
        cmocka_unit_test(test_curve__errors_are_forwarded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
