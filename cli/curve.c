#include "curve.h"

#include <inttypes.h>
#include <math.h>

#include "arrays.h"
#include "console.h"

static flashmem_status plan_row(flashmem_planner *planner, flashmem_plan_options options, flashmem_budget_kind kind,
                                uint64_t budget, cli_curve_row *row, flashmem_error *error) {
    const flashmem_plan *plan;
    options.budget_kind = kind;
    options.budget_value = (double)budget;
    flashmem_status status = flashmem_planner_plan(planner, &options, &plan, error);
    if (status) return status;
    *row = (cli_curve_row){ .budget = kind == FLASHMEM_BUDGET_BYTES ? budget : plan->peak_bytes,
                            .peak = plan->peak_bytes,
                            .latency = plan->latency,
                            .stall = plan->stall,
                            .average = plan->average_bytes,
                            .resident = plan->resident_bytes };
    flashmem_plan_free(plan);
    return FLASHMEM_OK;
}

flashmem_status cli_curve_make(flashmem_planner *planner, const flashmem_plan_options *options, cli_curve *curve,
                               flashmem_error *error) {
    cli_curve_row   least, most;
    flashmem_status status = plan_row(planner, *options, FLASHMEM_BUDGET_MINIMUM, 0, &least, error);
    if (!status) status = plan_row(planner, *options, FLASHMEM_BUDGET_OFF, 0, &most, error);
    if (status) return status;
    double ratio = pow((double)most.peak / (double)least.peak, 1.0 / (CLI_CURVE_ROWS - 1));
    curve->count = 0;
    curve->rows[curve->count++] = least;
    for (int i = 1; i < CLI_CURVE_ROWS - 1; i++) {
        uint64_t budget = (uint64_t)((double)least.peak * pow(ratio, i)) & ~(uint64_t)0xffff;
        if (budget <= curve->rows[curve->count - 1].budget || budget >= most.peak) continue;
        if (cli_interrupted()) return cli_error(error, FLASHMEM_CANCELLED, "interrupted");
        status = plan_row(planner, *options, FLASHMEM_BUDGET_BYTES, budget, &curve->rows[curve->count], error);
        if (status) return status;
        curve->count++;
    }
    if (most.peak > least.peak) curve->rows[curve->count++] = most;
    return FLASHMEM_OK;
}

void cli_curve_text(const cli_curve *curve, FILE *to) {
    fprintf(to, "budget and latency, predicted, first run:\n%14s %10s %10s %10s %12s %12s\n", "budget", "peak MB",
            "average MB", "kept MB", "latency", "waits");
    for (uint32_t i = 0; i < curve->count; i++) {
        const cli_curve_row *r = &curve->rows[i];
        fprintf(to, "%14" PRIu64 " %10.2f %10.2f %10.2f %9.2f ms %9.2f ms\n", r->budget, (double)r->peak * 1e-6,
                r->average * 1e-6, (double)r->resident * 1e-6, r->latency * 1e3, r->stall * 1e3);
    }
}
