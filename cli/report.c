/* JSON reports.  Field names are an interface: scripts read them. */
#include "report.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "arrays.h"
#include "console.h"
#include "output.h"

static json_t *number(double x) { return isfinite(x) ? json_real(x) : json_null(); }
static json_t *bytes(uint64_t n) { return json_integer((json_int_t)n); }

/* Paths and names need not be UTF-8, JSON must be: what is not becomes '?'. */
json_t *cli_report_text(const char *from) {
    json_t *whole = json_string(from ? from : "");
    if (whole) return whole;
    char *copy = strdup(from);
    for (char *at = copy; at && *at; at++)
        if ((unsigned char)*at > 127) *at = '?';
    whole = json_string(copy);
    free(copy);
    return whole;
}

int cli_report_save(json_t *root, const char *path) {
    cli_output     output;
    flashmem_error error = { 0 };
    bool           ok = root || cli_error(&error, FLASHMEM_OUT_OF_MEMORY, "%s: no memory for the report", path);
    ok = ok && cli_output_begin(&output, path, &error);
    if (ok) {
        errno = 0;
        ok = json_dump_file(root, output.temporary, JSON_INDENT(2) | JSON_REAL_PRECISION(12)) == 0;
        ok = cli_output_end(&output, path, ok, &error);
    }
    json_decref(root);
    return ok ? 0 : cli_fail(&error);
}

static json_t *memory_object(const flashmem_stats *s) {
    json_t *o = json_object();
    json_object_set_new(o, "budget_bytes", bytes(s->budget_bytes));
    json_object_set_new(o, "planned_peak_bytes", bytes(s->planned_peak_bytes));
    json_object_set_new(o, "minimum_budget_bytes", bytes(s->minimum_budget_bytes));
    json_object_set_new(o, "minimum_bound_bytes", bytes(s->minimum_bound_bytes));
    json_object_set_new(o, "resident_bytes", bytes(s->resident_bytes));
    json_object_set_new(o, "staging_bytes", bytes(s->staging_bytes));
    json_object_set_new(o, "activation_bytes", bytes(s->activation_bytes));
    json_object_set_new(o, "slab_bytes", bytes(s->slab_bytes));
    return o;
}

int cli_report_run(const char *path, const cli_pack *pack, const flashmem_stats *first, const flashmem_stats *last,
                   const cli_run_figures *f) {
    json_t *latency = json_object(), *memory = memory_object(first), *runs = json_array();
    json_object_set_new(latency, "startup", number(f->startup_ms));
    json_object_set_new(latency, "compile", number(pack->compile_seconds * 1e3));
    json_object_set_new(latency, "integrated", number(f->integrated_ms));
    json_object_set_new(latency, "warm_median", number(f->warm_median_ms));
    json_object_set_new(latency, "first_launch", number(first->first_launch * 1e3));
    json_object_set_new(latency, "predicted", number(first->predicted_latency * 1e3));
    for (int i = 0; i < f->runs; i++) json_array_append_new(runs, number(f->run_ms[i]));
    json_object_set_new(latency, "runs", runs);
    json_object_set_new(memory, "process_peak_bytes", bytes(f->process_peak_bytes));
    json_object_set_new(memory, "average_bytes", number(first->average_bytes));
    json_t *io = json_pack("{s:I,s:f,s:b,s:s,s:i,s:i,s:b,s:f,s:I}", "bytes_read", (json_int_t)first->bytes_read,
                           "bandwidth_bytes_per_s", first->disk_rate, "direct", first->direct, "reader",
                           first->reader ? first->reader : "", "depth", (int)first->read_depth, "request_bytes",
                           (int)first->read_bytes, "huge_pages", first->huge_pages, "verify_ms",
                           first->verify_seconds * 1e3, "bytes_read_last_run", (json_int_t)last->bytes_read);
    json_t *serial = json_pack("{s:f,s:f,s:f}", "startup", first->serial_startup * 1e3, "read",
                               first->serial_read * 1e3, "compute", first->serial_compute * 1e3);
    json_t *root = json_pack(
        "{s:o,s:o,s:o,s:{s:f,s:f},s:o,s:f,s:i,s:i,s:I,s:f,s:{s:s,s:s},s:o,s:s,s:s,s:{s:o},s:{s:I}}", "latency_ms",
        latency, "memory", memory, "io", io, "stall_ms", "total", first->stall * 1e3, "predicted",
        first->predicted_stall * 1e3, "serial_ms", serial, "compute_ms", first->compute_seconds * 1e3, "steps",
        (int)first->steps, "kernel_steps", (int)first->kernel_steps, "weights_bytes", (json_int_t)first->weight_bytes,
        "flops", first->flops, "cache", "program", first->program_cache_hit ? "hit" : "miss", "pack", pack->cache,
        "device", cli_report_text(first->device_name), "memory_path", first->memory_path ? first->memory_path : "",
        "objective", first->objective ? first->objective : "", "pack", "path", cli_report_text(pack->path), "clock",
        "outputs_ready_ns", (json_int_t)f->ready_ns);
    return cli_report_save(root, path);
}

int cli_report_compile(const char *path, const flashmem_compile_report *r, uint64_t peak_bytes) {
    return cli_report_save(json_pack("{s:i,s:i,s:i,s:I,s:I,s:f,s:I}", "graph_nodes", (int)r->graph_nodes, "steps",
                                     (int)r->steps, "kernel_programs", (int)r->kernel_programs, "weights_bytes",
                                     (json_int_t)r->weight_bytes, "pack_bytes", (json_int_t)r->pack_bytes, "seconds",
                                     r->seconds, "process_peak_bytes", (json_int_t)peak_bytes),
                           path);
}
