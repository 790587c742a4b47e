/* flashmem simulate: a plan played on a described device, event by event. */
#include <stdio.h>

#include "commands.h"
#include "console.h"
#include "pack_cache.h"
#include "overlap.h"
#include "planning.h"
#include "report.h"

static double megabytes(double bytes) { return bytes * 1e-6; }

static void print(const flashmem_plan *plan, const flashmem_simulation *s) {
    printf("%s on %s: %s plan, %u launches, %u objects\n", plan->model, s->device, plan->objective_kind, s->step_count,
           s->object_count);
    printf("latency  %.2f ms, of which %.2f wait for weights; no schedule is below %.2f\n", s->latency * 1e3,
           s->stall * 1e3, s->limit * 1e3);
    printf("at work  disk %.2f ms, checks %.2f, conversions %.2f, kernels %.2f\n", s->disk_seconds * 1e3,
           s->check_seconds * 1e3, s->convert_seconds * 1e3, s->compute_seconds * 1e3);
    printf("memory   average %.2f MB, peak %.2f of %.2f planned; budget %.2f, weights %.2f\n",
           megabytes(s->average_bytes), megabytes((double)s->peak_bytes), megabytes((double)plan->peak_bytes),
           megabytes((double)plan->budget_bytes), megabytes((double)plan->weight_bytes));
    printf("read     %.2f MB\n", megabytes((double)s->read_bytes));
    if (s->joules > 0) printf("energy   %.2f J\n", s->joules);
}

static int simulate(const cli_options *options, cli_planning *p) {
    flashmem_error             error = { 0 };
    const flashmem_plan       *plan = NULL;
    const flashmem_simulation *s = NULL;
    int                        code = 0;
    if (flashmem_planner_plan(p->planner, &p->to, &plan, &error) ||
        flashmem_simulate(p->planner, plan, NULL, &s, &error))
        code = cli_fail(&error);
    if (!code && !options->quiet) print(plan, s);
    if (!code && options->json) code = cli_report_simulation(options->json, plan, s);
    flashmem_simulation_free(s);
    flashmem_plan_free(plan);
    return code;
}

int cmd_simulate(const cli_options *options) {
    cli_planning         planning;
    flashmem_run_options run;
    flashmem_plan_options_init(&planning.to);
    if (cli_check_file(options->path)) return 1;
    if (!cli_run_options(options, &run) || !cli_overlap_options(options, &planning.to)) return 2;
    int code = cli_planning_open(&planning, options, &run);
    if (!code) code = simulate(options, &planning);
    cli_planning_close(&planning);
    return code;
}
