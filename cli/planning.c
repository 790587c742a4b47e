#include "planning.h"

#include <stdlib.h>

#include "console.h"
#include "device_file.h"
#include "overlap.h"
#include "pack_cache.h"

static int described_device(const cli_options *options, flashmem_device *device) {
    const char *other = options->device        ? "--device"
                        : options->memory_path ? "--memory-path"
                        : options->layout      ? "--layout"
                                               : NULL;
    if (other) return cli_usage("--device-file describes the device: %s cannot be given too", other), 2;
    return cli_device_load(options->device_file, device);
}

/* Sets compile's layout too. */
static int choose_device(const cli_options *options, const flashmem_run_options *run, flashmem_layout *layout,
                         flashmem_device *device) {
    if (!options->device_file) {
        int code = cli_choose_layout(options, layout);
        return code ? code : cli_describe_device(options, run, *layout, device);
    }
    int code = described_device(options, device);
    if (code) return code;
    *layout = device->layout;
    if (run->host_budget) return cli_usage("--host-budget: the memory paths of this version do not stage"), 1;
    if (run->disk_rate > 0) device->disk_bytes_per_second = run->disk_rate;
    if (run->read_depth) device->read_depth = run->read_depth;
    if (run->read_bytes) device->read_bytes = run->read_bytes;
    return 0;
}

int cli_planning_open(cli_planning *p, const cli_options *options, const flashmem_run_options *run) {
    static cli_shapes        shapes;
    flashmem_compile_options compile;
    flashmem_error           error = { 0 };
    p->planner = NULL;
    p->step_seconds = NULL;
    if (!cli_compile_options(options, &shapes, &compile)) return 2;
    if (!p->to.instance) { /* which needs no device */
        int code = choose_device(options, run, &compile.layout, &p->device);
        if (code) return code;
        p->to.device = &p->device;
        if (options->device_file) compile.image_limit = p->device.image_limit;
    }
    p->to.budget_kind = run->budget_kind;
    p->to.budget_value = run->budget_value;
    p->to.slab_bytes = run->slab_bytes;
    p->to.runs = run->runs;
    p->to.program = run->program;
    p->to.policy = options->policy;
    if (flashmem_planner_open(options->path, &compile, &p->planner, &error)) return cli_fail(&error);
    return options->step_times && !p->to.instance ? cli_planning_times(p, options->step_times) : 0;
}

void cli_planning_close(cli_planning *p) {
    flashmem_planner_close(p->planner);
    free(p->step_seconds);
}
