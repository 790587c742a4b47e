/* flashmem plan: the plan as text, verified on request; the minimum budget. */
#include <inttypes.h>
#include <stdio.h>

#include "commands.h"
#include "console.h"
#include "inputs.h"
#include "pack_cache.h"
#include "report.h"

static int show(const cli_options *options, const cli_pack *pack, flashmem_model *model) {
    flashmem_error error = { 0 };
    flashmem_stats stats;
    flashmem_model_stats(model, &stats);
    if (options->verify && flashmem_model_verify_plan(model, &error)) return cli_fail(&error);
    if (options->minimum) printf("%" PRIu64 "\n", stats.minimum_budget_bytes);
    else if (flashmem_model_print_plan(model, stdout, &error)) return cli_fail(&error);
    if (options->verify && !options->minimum)
        puts("verified: every constraint of the plan and of the replayed program holds");
    return options->json ? cli_report_plan(options->json, pack, &stats) : 0;
}

int cmd_plan(const cli_options *options) {
    cli_pack             pack;
    cli_shape_texts      texts;
    cli_arrays           none = { 0 };
    flashmem_run_options run;
    if (!cli_run_options(options, &run)) return 2;
    run.plan_only = 1;
    cli_catch_interrupt(cli_pack_interrupt);
    int code = cli_inputs_shapes(&texts, &none, options);
    if (code || (code = cli_pack_get(&pack, options, &texts.list))) return code;
    flashmem_model *model = NULL;
    flashmem_error  error = { 0 };
    code = flashmem_model_open(pack.path, &run, &model, &error) ? cli_fail(&error) : show(options, &pack, model);
    cli_pack_distrust(&pack, &error);
    flashmem_model_close(model);
    cli_pack_release(&pack);
    return code;
}
