/* flashmem plan: a plan as text or data, of a pack for the present device or of a model, which needs no weights. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "compare.h"
#include "console.h"
#include "curve.h"
#include "flashmem/planner.h"
#include "overlap.h"
#include "pack_cache.h"
#include "plan_html.h"
#include "plan_json.h"
#include "plan_text.h"
#include "planning.h"

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

static void run_options_too(const flashmem_run_options *run, const flashmem_device *device, flashmem_plan_options *to) {
    to->device = device;
    to->budget_kind = run->budget_kind;
    to->budget_value = run->budget_value;
    to->slab_bytes = run->slab_bytes;
    to->runs = run->runs;
    to->program = run->program;
}

/* ---- a pack ---- */

/* What a planner has of it: its budget curve, or an overlap plan of its program. */
static int plan_pack_apart(const cli_options *options, const cli_pack *pack, const flashmem_run_options *run,
                           flashmem_plan_options *to, cli_curve *curve) {
    flashmem_planner    *planner = NULL;
    flashmem_device      device;
    flashmem_error       error = { 0 };
    const flashmem_plan *plan = NULL;
    if (flashmem_planner_open(pack->path, NULL, &planner, &error)) return cli_fail(&error);
    int code = cli_describe_device(options, run, flashmem_planner_layout(planner), &device);
    run_options_too(run, &device, to);
    if (!code && curve && cli_curve_make(planner, to, curve, &error)) code = cli_fail(&error);
    if (!code && !curve) {
        if (flashmem_planner_plan(planner, to, &plan, &error) ||
            (options->save && flashmem_planner_save(planner, plan, &error)))
            code = cli_fail(&error);
        else code = show(options, pack->cache, plan, NULL);
    }
    flashmem_plan_free(plan);
    flashmem_planner_close(planner);
    return code;
}

/* As a run would plan it. */
static int plan_pack(const cli_options *options, const cli_pack *pack, const flashmem_run_options *run,
                     flashmem_plan_options *to) {
    flashmem_model      *model = NULL;
    flashmem_error       error = { 0 };
    const flashmem_plan *plan;
    cli_curve            curve;
    int                  code = 0;
    if (to->objective == FLASHMEM_OBJECTIVE_OPG || to->order || to->placement || to->profile)
        return plan_pack_apart(options, pack, run, to, NULL);
    if (options->curve) code = plan_pack_apart(options, pack, run, to, &curve);
    if (code) return code;
    if (flashmem_model_open(pack->path, run, &model, &error) ||
        (options->verify && flashmem_model_verify_plan(model, &error)) || flashmem_model_plan(model, &plan, &error))
        code = cli_fail(&error);
    else code = show(options, pack->cache, plan, options->curve ? &curve : NULL);
    cli_pack_distrust(pack, &error);
    flashmem_model_close(model);
    return code;
}

/* ---- a model, or any plan but that of a run: nothing is packed or opened ---- */

static int plan_with(const cli_options *options, cli_planning *p) {
    flashmem_error       error = { 0 };
    const flashmem_plan *plan;
    cli_curve            curve;
    if ((options->curve && cli_curve_make(p->planner, &p->to, &curve, &error)) ||
        flashmem_planner_plan(p->planner, &p->to, &plan, &error))
        return cli_fail(&error);
    int code = show(options, "none", plan, options->curve ? &curve : NULL);
    flashmem_plan_free(plan);
    return code;
}

static int plan_model(const cli_options *options, const flashmem_run_options *run, const flashmem_plan_options *to) {
    cli_planning planning = { .to = *to };
    int          code = cli_planning_open(&planning, options, run);
    if (!code) code = options->compare ? cli_compare(options, &planning) : plan_with(options, &planning);
    cli_planning_close(&planning);
    return code;
}

/* What could not take effect beside --curve or --compare is refused. */
static bool check_what(const cli_options *options) {
    if (options->run && !options->compare) return cli_usage("--run belongs to --compare");
    if (options->compare && (options->curve || options->minimum || options->policy || options->html || options->verify))
        return cli_usage(
            "--compare prints one table of all policies: no --curve, --minimum, --policy, --html, --verify");
    if (options->compare && options->objective && !strcmp(options->objective, "opg"))
        return cli_usage("--compare is of timed plans; the published objective is its policy 'published'");
    if (!options->curve) return true;
    if (options->minimum) return cli_usage("--minimum and --curve: one thing can be printed");
    if (cli_option_given(options, &options->budget) && !options->json && !options->html)
        return cli_usage(
            "--curve is over all budgets: --budget chooses the plan that --json and --html hold beside it");
    return true;
}

int cmd_plan(const cli_options *options) {
    cli_pack              pack;
    flashmem_run_options  run;
    flashmem_plan_options to;
    flashmem_plan_options_init(&to);
    if (cli_check_file(options->path)) return 1;
    if (!cli_run_options(options, &run) || !cli_overlap_options(options, &to) || !check_what(options)) return 2;
    run.plan_only = 1;
    cli_catch_interrupt(cli_pack_interrupt);
    int code = cli_overlap_profile(options, &to);
    if (code) return code;
    if (!cli_is_pack(options->path) || options->device_file || options->policy || options->compare)
        return plan_model(options, &run, &to);
    code = cli_pack_get(&pack, options, &options->shapes);
    if (code) return code;
    code = plan_pack(options, &pack, &run, &to);
    cli_pack_release(&pack);
    return code;
}
