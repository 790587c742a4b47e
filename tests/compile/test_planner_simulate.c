/* Plans by policy and their simulation, through the public interface, on models of the zoo. */
#include "flashmem/planner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/compile/skeletons.h"

static flashmem_planner *open_model(const char *name, flashmem_layout layout) {
    char                     path[256];
    flashmem_compile_options options;
    flashmem_planner        *planner;
    flashmem_error           err = { 0 };
    if (!skeleton_exists(name, path)) return NULL;
    flashmem_compile_options_init(&options);
    options.layout = layout;
    options.weights = FLASHMEM_WEIGHTS_FP16;
    if (flashmem_planner_open(path, &options, &planner, &err)) fail_msg("%s", err.message);
    return planner;
}

static flashmem_device texture_device(void) {
    flashmem_device d;
    flashmem_device_init(&d);
    d.layout = FLASHMEM_LAYOUT_TEXTURE;
    d.memory_path = FLASHMEM_PATH_TEXTURE_COPY;
    d.convert_bytes_per_second = 30e9;
    return d;
}

static const flashmem_plan *plan(flashmem_planner *planner, const flashmem_device *device, const char *policy,
                                 double percent) {
    flashmem_plan_options options;
    const flashmem_plan  *made;
    flashmem_error        err = { 0 };
    flashmem_plan_options_init(&options);
    options.device = device;
    options.policy = policy;
    options.runs = 1;
    options.budget_kind = percent > 0 ? FLASHMEM_BUDGET_PERCENT : FLASHMEM_BUDGET_OFF;
    options.budget_value = percent;
    flashmem_status status = flashmem_planner_plan(planner, &options, &made, &err);
    if (status == FLASHMEM_BUDGET) return NULL;
    if (status) fail_msg("%s: %s", policy ? policy : "timed", err.message);
    return made;
}

static void test_simulate__every_policy_of_a_model(void **state) {
    (void)state;
    flashmem_device   device = texture_device();
    flashmem_planner *planner = open_model("vit", FLASHMEM_LAYOUT_TEXTURE);
    double            latency[8] = { 0 }, peak[8] = { 0 };
    const char       *name;
    if (!planner) return skip();
    for (uint32_t i = 0; (name = flashmem_policy_name(i)) && strcmp(name, "published"); i++) {
        flashmem_error             err = { 0 };
        const flashmem_simulation *s;
        const flashmem_plan       *p = plan(planner, &device, name, 0);
        assert_non_null(p);
        assert_string_equal(p->objective_kind, name);
        if (flashmem_simulate(planner, p, NULL, &s, &err)) fail_msg("%s: %s", name, err.message);
        assert_int_equal(s->step_count, p->step_count);
        assert_int_equal(s->object_count, p->object_count);
        assert_true(s->latency >= s->limit && s->peak_bytes <= p->peak_bytes);
        latency[i] = s->latency;
        peak[i] = (double)s->peak_bytes;
        flashmem_simulation_free(s);
        flashmem_plan_free(p);
    }
    /* preload-all, load-before-use, always-next: the more overlap, the sooner; the less is read early, the less memory */
    assert_true(latency[2] < latency[1] && latency[2] < latency[0]);
    assert_true(peak[1] <= peak[2] && peak[2] < peak[0]);
    assert_null(plan(planner, &device, "preload-all", 10));
    flashmem_planner_close(planner);
}

static void test_simulate__another_device_and_given_times(void **state) {
    (void)state;
    flashmem_device            device = texture_device(), slow = device;
    flashmem_planner          *planner = open_model("resnet50", FLASHMEM_LAYOUT_TEXTURE);
    const flashmem_simulation *here, *there, *given;
    flashmem_simulate_options  options;
    flashmem_error             err = { 0 };
    if (!planner) return skip();
    const flashmem_plan *p = plan(planner, &device, NULL, 50);
    double              *seconds = calloc(p->kernel_steps, sizeof *seconds), sum = 0;
    assert_non_null(seconds);
    for (uint32_t s = 0; s < p->kernel_steps; s++) sum += seconds[s] = 1e-3 * (s % 3);
    flashmem_simulate_options_init(&options);
    assert_int_equal(flashmem_simulate(planner, p, &options, &here, &err), FLASHMEM_OK);
    slow.disk_bytes_per_second /= 10;
    options.device = &slow;
    assert_int_equal(flashmem_simulate(planner, p, &options, &there, &err), FLASHMEM_OK);
    assert_true(there->latency > 2 * here->latency && there->read_bytes == here->read_bytes);
    options.device = NULL;
    options.step_seconds = seconds;
    options.step_seconds_count = p->kernel_steps;
    assert_int_equal(flashmem_simulate(planner, p, &options, &given, &err), FLASHMEM_OK);
    assert_true(given->compute_seconds >= sum - 1e-9 && given->compute_seconds < sum + 1e-6 * p->step_count);
    flashmem_simulation_free(here);
    flashmem_simulation_free(there);
    flashmem_simulation_free(given);
    flashmem_simulation_free(NULL);
    free(seconds);
    flashmem_plan_free(p);
    flashmem_planner_close(planner);
}

static void refused(flashmem_planner *planner, const flashmem_plan *p, const flashmem_simulate_options *options,
                    const char *message) {
    const flashmem_simulation *s;
    flashmem_error             err = { 0 };
    assert_int_equal(flashmem_simulate(planner, p, options, &s, &err), FLASHMEM_INVALID_ARGUMENT);
    assert_null(s);
    if (!strstr(err.message, message)) fail_msg("'%s' wants '%s'", err.message, message);
}

static void test_simulate__bad_options(void **state) {
    (void)state;
    flashmem_device           device = texture_device(), other = device;
    flashmem_planner         *planner = open_model("resnet50", FLASHMEM_LAYOUT_TEXTURE);
    flashmem_simulate_options options = { 0 };
    flashmem_plan_options     plans;
    const flashmem_plan      *none;
    flashmem_error            err = { 0 };
    double                    seconds[4] = { 1, 1, -1, NAN };
    if (!planner) return skip();
    const flashmem_plan *p = plan(planner, &device, NULL, 50);
    refused(planner, p, &options, "options of 0 bytes");
    flashmem_simulate_options_init(&options);
    other.memory_path = FLASHMEM_PATH_IN_PLACE;
    options.device = &other;
    refused(planner, p, &options, "memory path");
    other = device;
    other.disk_bytes_per_second = 0;
    refused(planner, p, &options, "disk_bytes_per_second");
    options.device = NULL;
    options.step_seconds = seconds;
    options.step_seconds_count = 4;
    refused(planner, p, &options, "times of 4 kernel steps");
    double *times = calloc(p->kernel_steps, sizeof *times);
    assert_non_null(times);
    times[2] = NAN;
    options.step_seconds = times;
    options.step_seconds_count = p->kernel_steps;
    refused(planner, p, &options, "kernel step 2 takes");
    free(times);
    flashmem_plan_options_init(&plans);
    plans.device = &device;
    plans.policy = "sometimes";
    plans.budget_kind = FLASHMEM_BUDGET_OFF;
    assert_int_equal(flashmem_planner_plan(planner, &plans, &none, &err), FLASHMEM_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "'sometimes'"));
    flashmem_plan_free(p);
    flashmem_planner_close(planner);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_simulate__every_policy_of_a_model),
        cmocka_unit_test(test_simulate__another_device_and_given_times),
        cmocka_unit_test(test_simulate__bad_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
