/* flashmem profile: measures the device, learns from that, keeps the profile; compares it with models. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "console.h"
#include "profile_check.h"
#include "report.h"

/* ---- what was measured ---- */

static void print_device(const flashmem_profile_info *i) {
    const flashmem_device *d = &i->device;
    printf("%s (%s, driver %s), ", d->name, i->platform, i->driver);
    if (i->threads) printf("%u threads, ", i->threads);
    printf("layout %s, weights %s\n", d->layout == FLASHMEM_LAYOUT_TEXTURE ? "texture" : "cpu",
           i->weights == FLASHMEM_WEIGHTS_FP16 ? "fp16" : "fp32");
    printf("launch %.1f us, of it %.1f us between kernels; start-up %.0f ms\n", d->launch_seconds * 1e6,
           i->gap_seconds * 1e6, d->startup_seconds * 1e3);
    printf("disk %.2f GB/s, checksums %.2f GB/s, copy %.2f GB/s", d->disk_bytes_per_second * 1e-9,
           d->check_bytes_per_second * 1e-9, d->load_bytes_per_second * 1e-9);
    if (d->convert_bytes_per_second > 0) printf(", to images %.2f GB/s", d->convert_bytes_per_second * 1e-9);
    printf(", kernels %.2f GB/s\n", d->bytes_per_second * 1e-9);
}

static void print_rows(const flashmem_profile_row *rows, uint32_t count) {
    printf("\n%-36s %-12s %9s %8s %8s %9s %11s\n", "kernel", "class", "us", "GFLOP/s", "GB/s", "held out",
           "capacity KB");
    for (uint32_t i = 0; i < count; i++) {
        const flashmem_profile_row *r = &rows[i];
        printf("%-36s %-12s %9.1f %8.1f %8.1f ", r->name, flashmem_cost_class_name(r->cost_class), r->seconds * 1e6,
               r->flops / r->seconds * 1e-9, r->bytes / r->seconds * 1e-9);
        if (r->held_out > 0) printf("%+8.1f%%", (r->held_out / r->seconds - 1) * 100);
        else printf("%9s", "-");
        printf(" %11.0f\n", (double)r->capacity_bytes * 1e-3);
    }
}

static void print_learnt(const flashmem_profile_info *i) {
    static const char *const names[] = { "elementwise", "reusable", "hierarchical" };
    printf("\nrates:");
    for (uint32_t c = 0; c < FLASHMEM_COST_CLASSES; c++)
        printf(" %s %.3g%s", flashmem_cost_class_name(c), i->device.flops_per_second[c] * 1e-9,
               c + 1 < FLASHMEM_COST_CLASSES ? "," : " GFLOP/s\n");
    printf("growth allowed:");
    for (int c = 0; c < FLASHMEM_CAPACITY_CLASSES; c++)
        printf(" %s %g %%%s", names[c], i->device.growth[c] * 100, c + 1 < FLASHMEM_CAPACITY_CLASSES ? "," : "\n");
    if (!i->learnt) {
        puts("no trees: kernel times come from the rates, capacities from the class table");
        return;
    }
    printf("on shapes held out: time of %u kernels off by %.1f %% on average (most %.1f %%), growth under %u loads by "
           "%.1f %% (most %.1f %%)\n",
           i->time_error.samples, i->time_error.mean * 100, i->time_error.most * 100, i->growth_error.samples,
           i->growth_error.mean * 100, i->growth_error.most * 100);
}

/* ---- JSON ---- */

static json_t *rows_json(const flashmem_profile *profile) {
    uint32_t              count = flashmem_profile_rows(profile, NULL, 0);
    flashmem_profile_row *rows = calloc(count + 1u, sizeof *rows);
    json_t               *array = json_array();
    if (rows) flashmem_profile_rows(profile, rows, count);
    for (uint32_t i = 0; rows && i < count; i++)
        json_array_append_new(array, json_pack("{s:s,s:s,s:f,s:f,s:f,s:f,s:I}", "kernel", rows[i].name, "class",
                                               flashmem_cost_class_name(rows[i].cost_class), "seconds", rows[i].seconds,
                                               "held_out", rows[i].held_out, "flops", rows[i].flops, "bytes",
                                               rows[i].bytes, "capacity_bytes", (json_int_t)rows[i].capacity_bytes));
    free(rows);
    return array;
}

static json_t *sweeps_json(const flashmem_profile *profile, const char *load_path) {
    uint32_t                count = flashmem_profile_sweeps(profile, NULL, 0);
    flashmem_profile_sweep *sweeps = calloc(count + 1u, sizeof *sweeps);
    json_t                 *array = json_array();
    if (sweeps) flashmem_profile_sweeps(profile, sweeps, count);
    for (uint32_t i = 0; sweeps && i < count; i++)
        json_array_append_new(array, json_pack("{s:s,s:s,s:s,s:f,s:I,s:f,s:f}", "kernel", sweeps[i].name, "class",
                                               flashmem_cost_class_name(sweeps[i].cost_class), "load_path", load_path,
                                               "alone_seconds", sweeps[i].alone_seconds, "load_bytes",
                                               (json_int_t)sweeps[i].load_bytes, "growth", sweeps[i].growth, "held_out",
                                               sweeps[i].held_out));
    free(sweeps);
    return array;
}

static json_t *error_json(const flashmem_profile_error *e) {
    return json_pack("{s:f,s:f,s:i}", "mean", e->mean, "most", e->most, "samples", (int)e->samples);
}

static json_t *report(const cli_profile_request *r, const flashmem_profile *profile, double seconds, bool measured) {
    flashmem_profile_info info;
    flashmem_profile_describe(profile, &info);
    const flashmem_device *d = &info.device;
    json_t                *rates = json_object();
    for (uint32_t c = 0; c < FLASHMEM_COST_CLASSES; c++)
        json_object_set_new(rates, flashmem_cost_class_name(c), json_real(d->flops_per_second[c]));
    return json_pack("{s:o,s:o,s:b,s:b,s:b,s:f,s:f,s:f,s:f,s:{s:f,s:f,s:f,s:f},s:o,s:f,s:o,s:o,s:o,s:o}", "profile",
                     cli_report_text(r->path), "device", cli_report_text(d->name), "full", (int)info.full, "learnt",
                     (int)info.learnt, "measured", (int)measured, "seconds", seconds, "launch_us",
                     d->launch_seconds * 1e6, "gap_us", info.gap_seconds * 1e6, "startup_ms", d->startup_seconds * 1e3,
                     "hops", "disk_bytes_per_s", d->disk_bytes_per_second, "copy_bytes_per_s", d->load_bytes_per_second,
                     "image_bytes_per_s", d->convert_bytes_per_second, "check_bytes_per_s", d->check_bytes_per_second,
                     "flops_per_s", rates, "bytes_per_s", d->bytes_per_second, "time_error",
                     error_json(&info.time_error), "growth_error", error_json(&info.growth_error), "rows",
                     rows_json(profile), "sweeps", sweeps_json(profile, info.load_path));
}

/* ---- the command ---- */

static int print_profile(const flashmem_profile *profile) {
    flashmem_profile_info info;
    uint32_t              count = flashmem_profile_rows(profile, NULL, 0);
    flashmem_profile_row *rows = calloc(count + 1u, sizeof *rows);
    if (!rows) return cli_usage("no memory for %u kernels", count), 1;
    flashmem_profile_rows(profile, rows, count);
    flashmem_profile_describe(profile, &info);
    print_device(&info);
    if (count) print_rows(rows, count);
    print_learnt(&info);
    free(rows);
    return 0;
}

static int check_models(const cli_profile_request *r, const flashmem_profile *profile, json_t *root) {
    const option_LIST    *models = &r->options->check;
    cli_check            *checks = calloc((size_t)models->count + 1, sizeof *checks);
    json_t               *array = json_array();
    flashmem_profile_info info;
    int                   code = checks ? 0 : 1;
    flashmem_profile_describe(profile, &info);
    for (int i = 0; i < models->count && !code; i++) {
        code = cli_check_model(&checks[i], r, profile, models->items[i]);
        if (!code) json_array_append_new(array, cli_check_json(&checks[i]));
    }
    if (!code && !r->options->quiet) cli_check_print(checks, (uint32_t)models->count);
    if (!code && r->options->picture)
        code = cli_check_draw(r->options->picture, checks, (uint32_t)models->count, info.device.name);
    for (int i = 0; checks && i < models->count; i++) cli_check_free(&checks[i]);
    free(checks);
    json_object_set_new(root, "check", array);
    return code;
}

static int profile_device(cli_profile_request *r, flashmem_profile **profile) {
    flashmem_error error = { 0 };
    if (r->options->check.count && !r->options->full) return cli_profile_get(r, profile);
    int code = cli_profile_make(r, profile);
    if (!code && flashmem_profile_save(*profile, r->path, &error)) code = cli_fail(&error);
    return code;
}

int cmd_profile(const cli_options *options) {
    static cli_profile_request request;
    flashmem_profile          *profile = NULL;
    if (options->picture && !options->check.count) return cli_usage("--picture draws what --check MODEL compares"), 2;
    int code = cli_profile_request_init(&request, options);
    if (!code) code = profile_device(&request, &profile);
    double seconds = (double)(cli_now_ns() - cli_start_ns) * 1e-9;
    bool   measured = profile && flashmem_profile_rows(profile, NULL, 0) > 0;
    if (!code && !options->quiet) code = print_profile(profile);
    if (!code && !options->quiet) {
        if (measured) printf("measured in %.1f s: %s\n", seconds, request.path);
        else printf("measured before: %s\n", request.path);
        fflush(stdout);
    }
    json_t *root = code ? NULL : report(&request, profile, seconds, measured);
    if (!code && options->check.count) code = check_models(&request, profile, root);
    if (!code && options->json) code = cli_report_save(json_incref(root), options->json);
    json_decref(root);
    flashmem_profile_close(profile);
    return code;
}
