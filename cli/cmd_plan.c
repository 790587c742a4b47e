/* flashmem plan: a plan as text or data, of a pack for the present device or of a model, which needs no weights. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "console.h"
#include "curve.h"
#include "flashmem/planner.h"
#include "inputs.h"
#include "pack_cache.h"
#include "plan_html.h"
#include "plan_json.h"
#include "plan_text.h"

/* Every plan was verified when it was made; --verify of a pack asks the run half again. */
static int show(const cli_options *options, const char *cache, const flashmem_plan *plan, const cli_curve *curve) {
    int code = 0;
    if (options->minimum) printf("%" PRIu64 "\n", plan->minimum_bytes);
    else if (curve) cli_curve_text(curve, stdout);
    else cli_plan_text(plan, stdout);
    if (options->verify && !options->minimum)
        puts("verified: every constraint of the plan and of the replayed program holds");
    if (options->json) code = cli_plan_json(options->json, plan, curve, cache);
    if (!code && options->html) code = cli_plan_html(options->html, plan, curve);
    if (!code && options->dump_problem) code = cli_plan_dump(options->dump_problem, plan);
    return code;
}

static int describe_device(const cli_options *options, const flashmem_run_options *run, flashmem_layout layout,
                           flashmem_device *device) {
    flashmem_error error = { 0 };
    if (run->host_budget) return cli_usage("--host-budget: the memory paths of this version do not stage"), 1;
    if (run->memory_path == FLASHMEM_PATH_TEXTURE_EMBEDDED || run->memory_path == FLASHMEM_PATH_DMA)
        return cli_usage("memory path '%s' is not built in this version; 'in-place' and 'texture-copy' are",
                         options->memory_path),
               1;
    if (flashmem_device_describe(options->device, run->threads, run->cache_dir, layout, device, &error))
        return cli_fail(&error);
    if (run->memory_path != FLASHMEM_PATH_DEFAULT) device->memory_path = run->memory_path;
    if (run->disk_rate > 0) device->disk_bytes_per_second = run->disk_rate;
    device->read_depth = run->read_depth;
    device->read_bytes = run->read_bytes;
    return 0;
}

static void run_options_too(const flashmem_run_options *run, const flashmem_device *device, flashmem_plan_options *to) {
    to->device = device;
    to->budget_kind = run->budget_kind;
    to->budget_value = run->budget_value;
    to->slab_bytes = run->slab_bytes;
    to->runs = run->runs;
    to->program = run->program;
}

/* ---- a pack: as a run would plan it ---- */

static int make_pack_curve(const cli_options *options, const cli_pack *pack, const flashmem_run_options *run,
                           cli_curve *curve) {
    flashmem_plan_options to;
    flashmem_planner     *planner = NULL;
    flashmem_device       device;
    flashmem_error        error = { 0 };
    flashmem_layout       layout = FLASHMEM_LAYOUT_CPU;
    int                   code = cli_choose_layout(options, &layout);
    if (!code) code = describe_device(options, run, layout, &device);
    if (code) return code;
    flashmem_plan_options_init(&to);
    run_options_too(run, &device, &to);
    if (flashmem_planner_open(pack->path, NULL, &planner, &error) || cli_curve_make(planner, &to, curve, &error))
        code = cli_fail(&error);
    flashmem_planner_close(planner);
    return code;
}

static int plan_pack(const cli_options *options, const cli_pack *pack, const flashmem_run_options *run) {
    flashmem_model      *model = NULL;
    flashmem_error       error = { 0 };
    const flashmem_plan *plan;
    cli_curve            curve;
    int                  code = options->curve ? make_pack_curve(options, pack, run, &curve) : 0;
    if (code) return code;
    if (flashmem_model_open(pack->path, run, &model, &error) ||
        (options->verify && flashmem_model_verify_plan(model, &error)) || flashmem_model_plan(model, &plan, &error))
        code = cli_fail(&error);
    else code = show(options, pack->cache, plan, options->curve ? &curve : NULL);
    cli_pack_distrust(pack, &error);
    flashmem_model_close(model);
    return code;
}

/* The options of the overlap problem.  False: bad usage, message printed. */
static bool overlap_options(const cli_options *options, flashmem_plan_options *to) {
    double chunk = 0, m_peak = 0;
    bool   overlap = options->objective && !strcmp(options->objective, "opg");
    if (options->objective && !overlap && strcmp(options->objective, "timed"))
        return cli_usage("--objective is timed or opg, not '%s'", options->objective);
    if (!overlap && !options->instance) {
        const char *only = options->solver         ? "--solver"
                           : options->time_limit   ? "--time-limit"
                           : options->lambda       ? "--lambda"
                           : options->chunk        ? "--chunk"
                           : options->m_peak       ? "--m-peak"
                           : options->profile      ? "--profile"
                           : options->fusion       ? "--fusion"
                           : options->dump_problem ? "--dump-problem"
                                                   : NULL;
        return only ? cli_usage("%s belongs to --objective opg", only) : true;
    }
    if (options->curve) return cli_usage("--curve is over budgets, which --objective opg has not");
    to->objective = FLASHMEM_OBJECTIVE_OPG;
    to->solver = options->solver;
    to->fusion = options->fusion;
    to->instance = options->instance;
    if (options->profile) to->profile = options->profile;
    else if (!to->instance && !cli_is_pack(options->path)) to->instance = "u:A";
    if (options->time_limit && !cli_parse_number("--time-limit", options->time_limit, 1e-3, 1e6, &to->time_limit))
        return false;
    if (options->lambda && !cli_parse_number("--lambda", options->lambda, 0, 1, &to->lambda)) return false;
    if (options->chunk && !cli_parse_bytes(options->chunk, &chunk)) return false;
    if (options->m_peak && !cli_parse_bytes(options->m_peak, &m_peak)) return false;
    if (options->chunk && (chunk < 4096 || chunk > 1e9)) return cli_usage("--chunk is 4 KiB to 1 GB");
    if (options->m_peak && (m_peak < 1 || m_peak > 1e15)) return cli_usage("--m-peak is 1 byte to 1 PB");
    to->chunk_bytes = (uint64_t)chunk;
    to->m_peak_bytes = (uint64_t)m_peak;
    return true;
}

/* ---- a model: imported and lowered, nothing is packed ---- */

static int plan_with(const cli_options *options, flashmem_planner *planner, flashmem_plan_options *to) {
    flashmem_error       error = { 0 };
    const flashmem_plan *plan;
    cli_curve            curve;
    if ((options->curve && cli_curve_make(planner, to, &curve, &error)) ||
        flashmem_planner_plan(planner, to, &plan, &error))
        return cli_fail(&error);
    int code = show(options, "none", plan, options->curve ? &curve : NULL);
    flashmem_plan_free(plan);
    return code;
}

static int plan_model(const cli_options *options, const cli_shape_texts *texts, const flashmem_run_options *run,
                      flashmem_plan_options *to) {
    static cli_shapes        shapes;
    flashmem_compile_options compile;
    flashmem_planner        *planner;
    flashmem_device          device;
    flashmem_error           error = { 0 };
    cli_options              with_shapes = *options;
    with_shapes.shapes = texts->list;
    if (!cli_compile_options(&with_shapes, &shapes, &compile)) return 2;
    int code = to->instance ? 0 : cli_choose_layout(options, &compile.layout); /* an instance needs no device */
    if (!code && !to->instance) code = describe_device(options, run, compile.layout, &device);
    if (code) return code;
    if (flashmem_planner_open(options->path, &compile, &planner, &error)) return cli_fail(&error);
    run_options_too(run, to->instance ? NULL : &device, to);
    code = plan_with(options, planner, to);
    flashmem_planner_close(planner);
    return code;
}

/* What could not take effect beside --curve is refused. */
static bool check_curve(const cli_options *options) {
    if (!options->curve) return true;
    if (options->minimum) return cli_usage("--minimum and --curve: one thing can be printed");
    if (cli_option_given(options, &options->budget) && !options->json && !options->html)
        return cli_usage(
            "--curve is over all budgets: --budget chooses the plan that --json and --html hold beside it");
    return true;
}

int cmd_plan(const cli_options *options) {
    cli_pack              pack;
    cli_shape_texts       texts;
    cli_arrays            none = { 0 };
    flashmem_run_options  run;
    flashmem_plan_options to;
    flashmem_plan_options_init(&to);
    if (!cli_run_options(options, &run) || !overlap_options(options, &to) || !check_curve(options)) return 2;
    run.plan_only = 1;
    cli_catch_interrupt(cli_pack_interrupt);
    if (!cli_is_pack(options->path)) {
        int code = cli_inputs_shapes(&texts, &none, options);
        return code ? code : plan_model(options, &texts, &run, &to);
    }
    int code = cli_pack_get(&pack, options, &options->shapes);
    if (code) return code;
    code = plan_pack(options, &pack, &run);
    cli_pack_release(&pack);
    return code;
}
