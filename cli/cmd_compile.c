/* flashmem compile: model to pack. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "commands.h"
#include "console.h"
#include "output.h"
#include "overlap.h"
#include "pack_cache.h"
#include "report.h"

static int print_file(void *user, const char *path) {
    char line[CLI_MANIFEST_LINE];
    return !cli_manifest_line(path, line, sizeof line) || fputs(line, user) < 0;
}

/* The files a compiled pack depends on, one line each: "size mtime_ns inode path", as they are before compilation.
 * This program is one: another build of it may have other kernels. */
static int write_manifest(const char *model, const char *temporary, flashmem_error *error) {
    FILE *file = fopen(temporary, "w");
    if (!file) return cli_usage("%s: %s", temporary, strerror(errno)), 1;
    flashmem_status status = flashmem_model_files(model, print_file, file, error);
    if (!status) print_file(file, "/proc/self/exe");
    if (fclose(file) == 0 && !status) return 0;
    int why = errno;
    unlink(temporary);
    return status ? cli_fail(error) : (cli_usage("%s: %s", temporary, strerror(why)), 1);
}

/* A file that changed meanwhile would be taken for what is in the pack. */
static int commit_manifest(const cli_options *options, const cli_output *output) {
    flashmem_error error = { 0 };
    if (cli_manifest_stale(output->temporary)) {
        unlink(options->output);
        return cli_usage("%s: it or its external data changed while it was compiled", options->path), 1;
    }
    return cli_output_end(output, options->manifest, true, &error) ? 0 : cli_fail(&error);
}

static int compile(const cli_options *options, const flashmem_compile_options *to, flashmem_compile_report *report) {
    cli_output     manifest;
    flashmem_error error = { 0 };
    if (!options->manifest)
        return flashmem_compile(options->path, options->output, to, report, &error) ? cli_fail(&error) : 0;
    if (!cli_output_begin(&manifest, options->manifest, &error)) return cli_fail(&error);
    int code = write_manifest(options->path, manifest.temporary, &error);
    if (code) return code;
    code = flashmem_compile(options->path, options->output, to, report, &error) ? cli_fail(&error)
                                                                                : commit_manifest(options, &manifest);
    if (code) unlink(manifest.temporary);
    return code;
}

/* The overlap plan that the pack gets, and before that, with --fusion, the operators that it wants apart. */
typedef struct overlap {
    flashmem_plan_options to;
    flashmem_run_options  run; /* device, threads, cache */
    flashmem_planner     *planner;
    const flashmem_plan  *plan;
} overlap;

static int adapt_fusion(const cli_options *options, overlap *o, flashmem_compile_options *compile) {
    flashmem_device device;
    flashmem_error  error = { 0 };
    int             code = cli_describe_device(options, &o->run, compile->layout, &device);
    o->to.device = &device;
    if (!code && (flashmem_planner_open(options->path, compile, &o->planner, &error) ||
                  flashmem_planner_plan(o->planner, &o->to, &o->plan, &error)))
        code = cli_fail(&error);
    o->to.device = NULL;
    if (code || !o->plan->split_count) return code;
    compile->apart = o->plan->apart;
    compile->apart_count = o->plan->split_count;
    return 0;
}

static int compile_all(const cli_options *options, overlap *o, flashmem_compile_options *to,
                       flashmem_compile_report *report) {
    int code = cli_choose_layout(options, &to->layout);
    if (!code && o->to.fusion) code = adapt_fusion(options, o, to);
    if (!code) code = compile(options, to, report);
    if (!code && o->to.objective == FLASHMEM_OBJECTIVE_OPG)
        code = cli_overlap_save(options, options->output, &o->run, &o->to);
    flashmem_plan_free(o->plan);
    flashmem_planner_close(o->planner);
    return code;
}

int cmd_compile(const cli_options *options) {
    if (!options->output) return cli_usage("compile needs --output PACK (-o)"), 2;
    static cli_shapes        shapes;
    flashmem_compile_options to;
    flashmem_compile_report  report;
    overlap                  o = { .planner = NULL };
    flashmem_plan_options_init(&o.to);
    if (!cli_compile_options(options, &shapes, &to) || !cli_run_options(options, &o.run) ||
        !cli_overlap_options(options, &o.to))
        return 2;
    o.to.instance = NULL; /* the pack's program is planned */
    cli_catch_interrupt(NULL);
    int code = cli_overlap_profile(options, &o.to);
    if (!code) code = compile_all(options, &o, &to, &report);
    if (code) return code;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    if (!options->quiet)
        printf("%s: %u nodes -> %u steps, %u device programs, weights %.1f MB, pack %.1f MB, %.2f s, peak memory %.0f "
               "MB\n",
               options->output, report.graph_nodes, report.steps, report.kernel_programs,
               (double)report.weight_bytes * 1e-6, (double)report.pack_bytes * 1e-6, report.seconds,
               (double)usage.ru_maxrss * 1024e-6);
    return options->json ? cli_report_compile(options->json, &report, (uint64_t)usage.ru_maxrss * 1024) : 0;
}
