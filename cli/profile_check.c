#include "profile_check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "console.h"
#include "inputs.h"
#include "pack_cache.h"

enum { RUNS = 10 }; /* the first is not counted */

static flashmem_model *running; /* for the interrupt handler */
static void            cancel_running(void) {
               if (running) flashmem_model_cancel(running);
    cli_pack_interrupt();
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(double *values, uint32_t count, double part) {
    qsort(values, count, sizeof *values, compare);
    return values[(uint32_t)(count * part)];
}

void cli_check_free(cli_check *check) {
    free(check->launches);
    check->launches = NULL;
}

/* times: [RUNS - 1][count], of which the lower quartiles replace the first: as the profile was measured. */
static bool measure(flashmem_step_time **times, uint32_t *count) {
    flashmem_error error = { 0 };
    for (int run = 0; run < RUNS; run++) {
        if (cli_interrupted()) return cli_usage("interrupted");
        if (flashmem_model_run(running, &error)) return cli_fail(&error), false;
        if (run == 0) {
            *count = flashmem_model_step_times(running, NULL, 0);
            *times = calloc((size_t)*count * (RUNS - 1) + 1, sizeof **times);
            if (!*times) return cli_usage("no memory for %u times", *count);
            continue;
        }
        flashmem_model_step_times(running, *times + (size_t)(run - 1) * *count, *count);
    }
    for (uint32_t i = 0; i < *count; i++) {
        double seconds[RUNS - 1];
        for (int run = 0; run < RUNS - 1; run++) {
            const flashmem_step_time *t = *times + (size_t)run * *count + i;
            seconds[run] = t->end - t->begin;
        }
        (*times)[i].begin = 0;
        (*times)[i].end = quantile(seconds, RUNS - 1, 0.25);
    }
    return true;
}

static int summarise(cli_check *check) {
    double *errors = calloc(check->count + 1u, sizeof *errors);
    if (!errors) return cli_usage("no memory for %u launches", check->count), 1;
    for (uint32_t i = 0; i < check->count; i++) {
        const cli_check_launch *l = &check->launches[i];
        errors[i] = fabs(l->predicted - l->measured) / l->measured;
        check->measured += l->measured;
        check->predicted += l->predicted;
        check->mean += errors[i] / check->count;
        if (errors[i] > check->most) check->most = errors[i];
    }
    if (check->count) check->middle = quantile(errors, check->count, 0.5);
    free(errors);
    return 0;
}

static int compare_times(cli_check *check, const flashmem_profile *profile, const char *pack,
                         const flashmem_step_time *times, uint32_t count) {
    flashmem_error            error = { 0 };
    flashmem_step_prediction *predictions = calloc(count + 1u, sizeof *predictions);
    check->launches = calloc(count + 1u, sizeof *check->launches);
    int code = predictions && check->launches ? 0 : (cli_usage("no memory for %u launches", count), 1);
    if (!code && flashmem_profile_predict(profile, pack, 0, times, count, predictions, &error)) code = cli_fail(&error);
    for (uint32_t i = 0; i < count && !code; i++)
        if (predictions[i].known && times[i].end > 0)
            check->launches[check->count++] = (cli_check_launch){ predictions[i].cost_class, times[i].step,
                                                                  times[i].end, predictions[i].seconds };
    free(predictions);
    return code ? code : summarise(check);
}

static int run_pack(cli_check *check, const cli_profile_request *r, const flashmem_profile *profile, const char *pack) {
    static cli_options   random; /* inputs are made up */
    flashmem_run_options run;
    flashmem_error       error = { 0 };
    flashmem_step_time  *times = NULL;
    cli_arrays           arrays = { 0 };
    uint32_t             count = 0;
    if (!cli_run_options(r->options, &run)) return 2;
    run.budget_kind = FLASHMEM_BUDGET_OFF;
    run.runs = RUNS;
    if (r->profile.layout == FLASHMEM_LAYOUT_TEXTURE) run.memory_path = FLASHMEM_PATH_TEXTURE_COPY;
    if (flashmem_model_open(pack, &run, &running, &error)) return cli_fail(&error);
    random.random_inputs = "1";
    int code = cli_inputs_bind(&arrays, running, &random);
    if (!code) code = measure(&times, &count) ? compare_times(check, profile, pack, times, count) : 1;
    flashmem_model *closing = running;
    running = NULL;
    flashmem_model_close(closing);
    cli_arrays_free(&arrays);
    free(times);
    return code;
}

int cli_check_model(cli_check *check, const cli_profile_request *r, const flashmem_profile *profile,
                    const char *model) {
    static cli_options options; /* of a compilation for the profile's device */
    static cli_pack    pack;
    const char        *slash = strrchr(model, '/');
    *check = (cli_check){ .count = 0 };
    snprintf(check->model, sizeof check->model, "%s", slash ? slash + 1 : model);
    options = *r->options;
    options.path = model;
    if (!cli_is_pack(model)) options.layout = r->profile.layout == FLASHMEM_LAYOUT_TEXTURE ? "texture" : "cpu";
    cli_catch_interrupt(cancel_running);
    int code = cli_pack_get(&pack, &options, &options.shapes);
    if (code) return code;
    code = run_pack(check, r, profile, pack.path);
    cli_pack_release(&pack);
    return code;
}

/* ---- reports ---- */

void cli_check_print(const cli_check *checks, uint32_t count) {
    printf("\n%-24s %8s %12s %13s %7s   %s\n", "model", "launches", "measured ms", "predicted ms", "off by",
           "of a launch: mean, median, most");
    for (uint32_t i = 0; i < count; i++) {
        const cli_check *c = &checks[i];
        printf("%-24s %8u %12.2f %13.2f %6.1f%%   %.1f%%, %.1f%%, %.1f%%\n", c->model, c->count, c->measured * 1e3,
               c->predicted * 1e3, c->measured > 0 ? (c->predicted / c->measured - 1) * 100 : 0, c->mean * 100,
               c->middle * 100, c->most * 100);
    }
}

json_t *cli_check_json(const cli_check *c) {
    json_t *launches = json_array(), *classes = json_object();
    double  measured[FLASHMEM_COST_CLASSES] = { 0 }, predicted[FLASHMEM_COST_CLASSES] = { 0 };
    for (uint32_t i = 0; i < c->count; i++) {
        const cli_check_launch *l = &c->launches[i];
        measured[l->cost_class] += l->measured;
        predicted[l->cost_class] += l->predicted;
        json_array_append_new(launches, json_pack("{s:i,s:s,s:f,s:f}", "step", (int)l->step, "class",
                                                  flashmem_cost_class_name(l->cost_class), "measured_us",
                                                  l->measured * 1e6, "predicted_us", l->predicted * 1e6));
    }
    for (uint32_t k = 0; k < FLASHMEM_COST_CLASSES; k++)
        if (measured[k] > 0)
            json_object_set_new(
                classes, flashmem_cost_class_name(k),
                json_pack("{s:f,s:f}", "measured_ms", measured[k] * 1e3, "predicted_ms", predicted[k] * 1e3));
    return json_pack("{s:o?,s:f,s:f,s:f,s:f,s:f,s:o,s:o}", "model", json_string(c->model), "measured_ms",
                     c->measured * 1e3, "predicted_ms", c->predicted * 1e3, "mean_error", c->mean, "median_error",
                     c->middle, "most_error", c->most, "classes", classes, "launches", launches);
}
