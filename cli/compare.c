#include "compare.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench_child.h"
#include "commands.h"
#include "console.h"
#include "pack_cache.h"
#include "report.h"

enum { MOST_ROWS = 16, SAMPLES = 5 };

typedef struct row {
    const char   *policy; /* NULL: ours */
    bool          fits;
    char          why[sizeof((flashmem_error *)0)->message]; /* it does not */
    double        latency, stall, average;                   /* seconds, bytes */
    uint64_t      peak;
    bench_samples measured, measured_stall, measured_average; /* ms, bytes */
} row;

typedef struct comparison {
    const cli_options *options;
    cli_planning      *planning;
    row                rows[MOST_ROWS];
    int                count;
    uint64_t           budget, weights;
    char               device[256];
    cli_pack           pack;
    char               report[512];
} comparison;

static const char *name_of(const row *r) { return r->policy ? r->policy : "timed"; }

/* --- predicted ---------------------------------------------------------------------------------------------------- */

static int predict(comparison *c, row *r) {
    flashmem_error             error = { 0 };
    const flashmem_plan       *plan;
    const flashmem_simulation *s;
    flashmem_plan_options      to = c->planning->to;
    to.policy = r->policy;
    flashmem_status status = flashmem_planner_plan(c->planning->planner, &to, &plan, &error);
    if (r->policy && status == FLASHMEM_BUDGET) return snprintf(r->why, sizeof r->why, "%s", error.message), 0;
    if (status) return cli_fail(&error);
    status = flashmem_simulate(c->planning->planner, plan, NULL, &s, &error);
    if (!status) {
        r->fits = true;
        r->latency = s->latency;
        r->stall = s->stall;
        r->average = s->average_bytes;
        r->peak = plan->peak_bytes;
        if (!r->policy) c->budget = plan->budget_bytes, c->weights = plan->weight_bytes;
        flashmem_simulation_free(s);
    }
    flashmem_plan_free(plan);
    return status ? cli_fail(&error) : 0;
}

/* --- measured ----------------------------------------------------------------------------------------------------- */

static double value_at(const json_t *report, const char *object, const char *field) {
    const json_t *value = json_object_get(json_object_get(report, object), field);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static bool is_run(const row *r) { return r->fits && (!r->policy || strcmp(r->policy, "published")); }

static int sample(comparison *c, row *r) {
    const cli_options *o = c->options;
    char               threads[24];
    const char        *arguments[32] = { "run", c->pack.path, "--quiet", "--json", c->report, "--random-inputs", "1" };
    int                n = 7;
    const struct {
        const char *flag, *value;
    } texts[] = {
        { "--budget", o->budget },           { "--policy", r->policy },
        { "--device", o->device },           { "--slab", o->slab },
        { "--read-size", o->read_size },     { "--disk-rate", o->disk_rate },
        { "--memory-path", o->memory_path }, { "--cache-dir", o->cache_dir },
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i].value) arguments[n++] = texts[i].flag, arguments[n++] = texts[i].value;
    if (o->no_cache) arguments[n++] = "--no-cache";
    if (o->threads >= 0) {
        snprintf(threads, sizeof threads, "%ld", o->threads);
        arguments[n++] = "--threads";
        arguments[n++] = threads;
    }
    bench_child child;
    int64_t     left = bench_drop(c->pack.path);
    if (left)
        return cli_usage("%s: %" PRId64 " bytes stay in the page cache; a cold start cannot be measured here",
                         c->pack.path, left),
               1;
    if (!bench_run_self(&child, arguments, NULL, c->report)) return 1;
    bench_add(&r->measured, (value_at(child.report, "clock", "outputs_ready_ns") - child.spawn_ns) * 1e-6);
    bench_add(&r->measured_stall, value_at(child.report, "stall_ms", "total"));
    bench_add(&r->measured_average, value_at(child.report, "memory", "average_bytes"));
    json_decref(child.report);
    return 0;
}

/* In turns, so that the machine's moods are everybody's; the first round fills caches. */
static int measure(comparison *c) {
    char folder[] = "/tmp/flashmem-compare-XXXXXX";
    int  code = cli_pack_get(&c->pack, c->options, &c->options->shapes);
    if (code) return code;
    if (!mkdtemp(folder)) return cli_usage("no temporary folder for reports"), 1;
    snprintf(c->report, sizeof c->report, "%s/run.json", folder);
    for (int round = 0; round <= SAMPLES && !code; round++) {
        for (int i = 0; i < c->count && !code; i++) {
            row *r = &c->rows[i];
            if (cli_interrupted()) return cli_usage("interrupted"), 1;
            if (!is_run(r)) continue;
            code = sample(c, r);
            if (round == 0) r->measured.count = r->measured_stall.count = r->measured_average.count = 0;
        }
    }
    unlink(c->report);
    rmdir(folder);
    cli_pack_release(&c->pack);
    return code;
}

/* --- shown -------------------------------------------------------------------------------------------------------- */

static void print(const comparison *c) {
    bool measured = c->rows[0].measured.count;
    printf("%s on %s: budget %.2f MB, weights %.2f MB\n", c->options->path, c->device, (double)c->budget * 1e-6,
           (double)c->weights * 1e-6);
    printf("%-16s %11s %11s %11s %11s", "policy", "latency", "stalls", "average", "peak");
    if (measured) printf("   %11s %11s %11s", "measured", "stalls", "average");
    putchar('\n');
    for (int i = 0; i < c->count; i++) {
        const row *r = &c->rows[i];
        if (!r->fits) {
            const char *needs = strstr(r->why, "needs at least");
            printf("%-16s does not fit: %s\n", name_of(r), needs ? needs : r->why);
            continue;
        }
        printf("%-16s %8.2f ms %8.2f ms %8.2f MB %8.2f MB", name_of(r), r->latency * 1e3, r->stall * 1e3,
               r->average * 1e-6, (double)r->peak * 1e-6);
        if (r->measured.count)
            printf("   %8.2f ms %8.2f ms %8.2f MB", bench_median(&r->measured), bench_median(&r->measured_stall),
                   bench_median(&r->measured_average) * 1e-6);
        putchar('\n');
    }
    if (measured) printf("measured: medians of %d cold runs each, in turns\n", SAMPLES);
}

static json_t *to_json(const row *r) {
    json_t *object = json_pack("{s:s,s:b}", "policy", name_of(r), "fits", r->fits);
    if (!r->fits) {
        json_object_set_new(object, "why", cli_report_text(r->why));
        return object;
    }
    json_object_set_new(object, "predicted",
                        json_pack("{s:f,s:f,s:f,s:I}", "latency_ms", r->latency * 1e3, "stall_ms", r->stall * 1e3,
                                  "average_bytes", r->average, "peak_bytes", (json_int_t)r->peak));
    if (r->measured.count)
        json_object_set_new(object, "measured",
                            json_pack("{s:f,s:f,s:f,s:f,s:f}", "latency_ms", bench_median(&r->measured), "least_ms",
                                      bench_min(&r->measured), "greatest_ms", bench_max(&r->measured), "stall_ms",
                                      bench_median(&r->measured_stall), "average_bytes",
                                      bench_median(&r->measured_average)));
    return object;
}

static int save(const comparison *c, const char *path) {
    json_t *rows = json_array();
    for (int i = 0; i < c->count; i++) json_array_append_new(rows, to_json(&c->rows[i]));
    json_t *root = json_pack("{s:I,s:I,s:o}", "budget_bytes", (json_int_t)c->budget, "weights_bytes",
                             (json_int_t)c->weights, "compare", rows);
    if (root) {
        json_object_set_new(root, "model", cli_report_text(c->options->path));
        json_object_set_new(root, "device", cli_report_text(c->device));
    }
    return cli_report_save(root, path);
}

int cli_compare(const cli_options *options, cli_planning *planning) {
    static comparison c;
    int               code = 0;
    if (options->run && options->device_file)
        return cli_usage("--run measures the present device, --device-file describes another"), 2;
    c = (comparison){ .options = options, .planning = planning, .count = 1 };
    snprintf(c.device, sizeof c.device, "%s", planning->device.name);
    for (uint32_t i = 0; flashmem_policy_name(i) && c.count < MOST_ROWS; i++)
        c.rows[c.count++].policy = flashmem_policy_name(i);
    for (int i = 0; i < c.count && !code; i++) code = predict(&c, &c.rows[i]);
    if (!code && options->run) code = measure(&c);
    if (!code && !options->quiet) print(&c);
    return !code && options->json ? save(&c, options->json) : code;
}
