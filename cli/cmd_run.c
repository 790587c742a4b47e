/* flashmem run: inputs, inference inside the budget, outputs, figures. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "commands.h"
#include "console.h"
#include "inputs.h"
#include "pack_cache.h"
#include "report.h"

static flashmem_model *running; /* for the interrupt handler */
static void            cancel_running(void) {
               if (running) flashmem_model_cancel(running);
    cli_pack_interrupt();
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_of(const double *values, int count) {
    if (count < 1) return NAN;
    double *sorted = malloc((size_t)count * sizeof *sorted);
    if (!sorted) return NAN;
    memcpy(sorted, values, (size_t)count * sizeof *sorted);
    qsort(sorted, (size_t)count, sizeof *sorted, compare);
    double middle = count % 2 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
    free(sorted);
    return middle;
}

static void print_summary(const cli_pack *pack, const flashmem_run_options *run, const flashmem_stats *s,
                          const cli_run_figures *f) {
    char budget[64] = "off";
    if (run->budget_kind != FLASHMEM_BUDGET_OFF)
        snprintf(budget, sizeof budget, "%.1f MB", (double)s->budget_bytes * 1e-6);
    printf("weights %.1f MB, budget %s, planned peak %.1f MB (minimum %.1f MB)\n", (double)s->weight_bytes * 1e-6,
           budget, (double)s->planned_peak_bytes * 1e-6, (double)s->minimum_budget_bytes * 1e-6);
    printf("first outputs after %.1f ms", f->integrated_ms);
    if (pack->compile_seconds > 0) printf(" (compiled before in %.2f s)", pack->compile_seconds);
    printf(", read %.1f MB at %.2f GB/s%s, %u launches, stalled %.1f ms\n", (double)s->bytes_read * 1e-6,
           s->disk_rate * 1e-9, s->direct ? "" : " (buffered)", s->steps, s->stall * 1e3);
    if (f->runs > 1) printf("%d further runs: median %.1f ms\n", f->runs - 1, f->warm_median_ms);
    printf("process peak %.1f MB; device %s, %s, programs %s\n", (double)f->process_peak_bytes * 1e-6, s->device_name,
           s->memory_path, s->program_cache_hit ? "cached" : "built");
}

static int fail(const cli_pack *pack, const flashmem_error *error) {
    cli_fail(error);
    cli_pack_distrust(pack, error);
    return 1;
}

/* Runs as often as asked; figures of the first run and of the last. */
static int run_all(const cli_options *options, const cli_pack *pack, flashmem_model *model, cli_arrays *arrays,
                   cli_run_figures *f, flashmem_stats *first, flashmem_stats *last) {
    for (int i = 0; i < f->runs; i++) {
        flashmem_error error = { 0 };
        if (cli_interrupted()) return cli_usage("interrupted"), 1; /* perhaps before there was a model to cancel */
        unsigned long long began = cli_now_ns();
        if (flashmem_model_run(model, &error)) return fail(pack, &error);
        unsigned long long ended = cli_now_ns();
        f->run_ms[i] = (double)(ended - began) * 1e-6;
        flashmem_model_stats(model, last);
        if (i) continue;
        *first = *last;
        f->ready_ns = ended;
    }
    if (!options->output_dir) return 0;
    int code = options->random_inputs ? cli_inputs_write(arrays, options->output_dir) : 0;
    return code ? code : cli_outputs_write(model, options->output_dir);
}

static int run_model(const cli_options *options, const cli_pack *pack, const flashmem_run_options *run,
                     cli_arrays *arrays) {
    flashmem_error     error = { 0 };
    flashmem_stats     first, last;
    cli_run_figures    f = { .runs = options->runs < 0 ? 1 : (int)options->runs };
    unsigned long long opened = cli_now_ns();
    if (flashmem_model_open(pack->path, run, &running, &error)) return fail(pack, &error);
    f.run_ms = calloc((size_t)f.runs, sizeof *f.run_ms);
    int code = f.run_ms ? cli_inputs_bind(arrays, running, options) : 1;
    if (!code && options->trace && flashmem_model_trace_begin(running, &error)) code = cli_fail(&error);
    if (!code) code = run_all(options, pack, running, arrays, &f, &first, &last);
    if (!code) {
        double        compile_ns = pack->compile_seconds * 1e9;
        struct rusage usage;
        getrusage(RUSAGE_SELF, &usage);
        f.process_peak_bytes = (uint64_t)usage.ru_maxrss * 1024;
        f.integrated_ms = ((double)(f.ready_ns - cli_start_ns) - compile_ns) * 1e-6;
        f.startup_ms = ((double)(opened - cli_start_ns) - compile_ns) * 1e-6 + first.device_ready * 1e3;
        f.warm_median_ms = median_of(f.run_ms + 1, f.runs - 1);
        if (!options->quiet) print_summary(pack, run, &first, &f);
        if (options->trace && flashmem_model_trace_write(running, options->trace, &error)) code = cli_fail(&error);
        if (!code && options->json) code = cli_report_run(options->json, pack, &first, &last, &f);
    }
    free(f.run_ms);
    flashmem_model *closing = running;
    running = NULL;
    flashmem_model_close(closing);
    return code;
}

int cmd_run(const cli_options *options) {
    if (!options->runs) return cli_usage("--runs is at least 1"), 2;
    flashmem_run_options run;
    if (!cli_run_options(options, &run) || !cli_objective(options, &run.objective)) return 2;
    if (options->threads >= 0) run.threads = (uint32_t)options->threads;
    cli_catch_interrupt(cancel_running);
    static cli_shape_texts texts;
    cli_arrays             arrays = { 0 };
    cli_pack               pack;
    int                    code = cli_inputs_read(&arrays, options);
    if (!code) code = cli_inputs_shapes(&texts, &arrays, options);
    if (!code && !(code = cli_pack_get(&pack, options, &texts.list))) {
        code = run_model(options, &pack, &run, &arrays);
        cli_pack_release(&pack);
    }
    cli_arrays_free(&arrays);
    return code;
}
