#include "overlap.h"

#include <string.h>

#include "commands.h"
#include "console.h"
#include "pack_cache.h"
#include "profile_make.h"

int cli_describe_device(const cli_options *options, const flashmem_run_options *run, flashmem_layout layout,
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

bool cli_overlap_options(const cli_options *options, flashmem_plan_options *to) {
    double chunk = 0, m_peak = 0;
    to->order = options->order;
    to->profile = options->profile;
    to->placement = options->placement;
    bool overlap = options->objective && !strcmp(options->objective, "opg");
    bool published = options->compare ||
                     (options->policy && !strcmp(options->policy, "published")); /* replay such a plan */
    if (options->objective && !overlap && strcmp(options->objective, "timed"))
        return cli_usage("--objective is timed or opg, not '%s'", options->objective);
    if (options->policy && (overlap || options->instance))
        return cli_usage("--policy and --objective opg: a policy's plan has no other objective");
    if (!overlap && !options->instance && !published) {
        bool        solves = options->order || options->placement;
        const char *only = options->solver                  ? "--solver"
                           : options->time_limit && !solves ? "--time-limit"
                           : options->lambda                ? "--lambda"
                           : options->chunk                 ? "--chunk"
                           : options->m_peak                ? "--m-peak"
                           : options->fusion                ? "--fusion"
                           : options->save                  ? "--save"
                           : options->dump_problem          ? "--dump-problem"
                                                            : NULL;
        if (only) return cli_usage("%s belongs to --objective opg", only);
        return !options->time_limit ||
               cli_parse_number("--time-limit", options->time_limit, 1e-3, 1e6, &to->time_limit);
    }
    if (options->curve) return cli_usage("--curve is over budgets, which --objective opg has not");
    if (options->save && !cli_is_pack(options->path))
        return cli_usage(
            "--save keeps the plan in the pack that it is of: %s is a model; compile it, or compile it with "
            "--objective opg",
            options->path);
    if (!published) to->objective = FLASHMEM_OBJECTIVE_OPG;
    to->solver = options->solver;
    to->fusion = options->fusion;
    to->instance = options->instance;
    if (!options->profile && !published && !to->instance && !cli_is_pack(options->path)) to->instance = "u:A";
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

int cli_overlap_save(const cli_options *options, const char *pack, const flashmem_run_options *run,
                     const flashmem_plan_options *to) {
    flashmem_planner     *planner = NULL;
    flashmem_plan_options with_device = *to;
    flashmem_device       device;
    flashmem_error        error = { 0 };
    const flashmem_plan  *plan = NULL;
    if (flashmem_planner_open(pack, NULL, &planner, &error)) return cli_fail(&error);
    int code = cli_describe_device(options, run, flashmem_planner_layout(planner), &device);
    with_device.device = &device;
    with_device.instance = NULL;
    with_device.fusion = 0;
    if (!code &&
        (flashmem_planner_plan(planner, &with_device, &plan, &error) || flashmem_planner_save(planner, plan, &error)))
        code = cli_fail(&error);
    flashmem_plan_free(plan);
    flashmem_planner_close(planner);
    return code;
}

int cli_overlap_profile(const cli_options *options, flashmem_plan_options *to) {
    static cli_profile_request request;
    static cli_options         plain;
    flashmem_profile          *profile = NULL;
    if (!to->profile || strcmp(to->profile, "device")) return 0;
    plain = *options;
    plain.output = NULL; /* compile's: the profile belongs in the cache */
    int code = cli_profile_request_init(&request, &plain);
    if (!code) code = cli_profile_get(&request, &profile);
    flashmem_profile_close(profile);
    to->profile = request.path;
    return code;
}
