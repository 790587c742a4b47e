/* --step-times: kernel times that somebody measured or published. */
#include <jansson.h>
#include <stdlib.h>

#include "console.h"
#include "planning.h"

/* In proportion to what the device's rates say, launches not counted: a step's work. */
static int spread(cli_planning *p, double sum) {
    flashmem_plan_options options = p->to;
    flashmem_error        error = { 0 };
    const flashmem_plan  *plan;
    double                work = 0;
    options.policy = NULL;
    options.objective = FLASHMEM_OBJECTIVE_TIMED;
    options.budget_kind = FLASHMEM_BUDGET_OFF;
    if (flashmem_planner_plan(p->planner, &options, &plan, &error)) return cli_fail(&error);
    uint32_t count = plan->kernel_steps;
    p->step_seconds = calloc(count ? count : 1, sizeof *p->step_seconds);
    for (uint32_t k = 0; p->step_seconds && k < plan->step_count; k++) {
        const flashmem_plan_step *step = &plan->steps[k];
        double                    seconds = step->seconds - p->device.launch_seconds;
        if (seconds <= 0) continue;
        p->step_seconds[step->step] += seconds;
        work += seconds;
    }
    for (uint32_t s = 0; p->step_seconds && s < count; s++) p->step_seconds[s] *= work > 0 ? sum / work : 0;
    flashmem_plan_free(plan);
    p->to.step_seconds_count = count;
    return p->step_seconds ? 0 : (cli_usage("no memory for times of %u steps", count), 1);
}

static int take_list(cli_planning *p, const char *path, const json_t *list) {
    size_t        count = json_array_size(list), i;
    const json_t *value;
    if (!json_is_array(list) || count > 1000000)
        return cli_usage("%s: not a list of seconds, one for each kernel step", path), 1;
    p->step_seconds = calloc(count ? count : 1, sizeof *p->step_seconds);
    if (!p->step_seconds) return cli_usage("%s: no memory for %zu times", path, count), 1;
    json_array_foreach(list, i, value) {
        p->step_seconds[i] = json_number_value(value);
        if (!json_is_number(value) || !(p->step_seconds[i] >= 0 && p->step_seconds[i] <= 1e9))
            return cli_usage("%s: kernel step %zu: seconds from 0 to 1e9 are wanted", path, i), 1;
    }
    p->to.step_seconds_count = (uint32_t)count;
    return 0;
}

int cli_planning_times(cli_planning *p, const char *text) {
    char        *end;
    double       sum = strtod(text, &end);
    json_error_t error;
    int          code;
    if (end != text && !*end) {
        if (!(sum >= 0 && sum <= 1e9)) return cli_usage("--step-times '%s': seconds from 0 to 1e9, or a file", text), 2;
        code = spread(p, sum);
    } else {
        json_t *list = json_load_file(text, 0, &error);
        if (!list) return cli_usage("%s: %s", text, error.text), 1;
        code = take_list(p, text, list);
        json_decref(list);
    }
    p->to.step_seconds = p->step_seconds;
    return code;
}
