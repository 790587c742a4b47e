/* flashmem bench: cold samples in fresh processes, the machine's limits, a serial run and a peer, all in turns; then
 * warm.  Definitions: docs/measuring.md. */
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench_child.h"
#include "bench_limits.h"
#include "commands.h"
#include "console.h"
#include "inputs.h"
#include "pack_cache.h"
#include "report.h"

typedef struct bench {
    const cli_options *options;
    cli_pack           pack;
    char               folder[512], report[640]; /* temporary */
    char               files[64][1024];          /* the model's, dropped for the peer */
    int                file_count;
    bench_disk         disk_setting;
    bench_samples integrated, serial, serial_read, serial_compute, serial_startup, startup, disk, disk_budget, bare,
        bare_memory, memory, average, stall, verify, cache_left, peer, peer_memory, warm, peer_warm, first_run;
    double peak_rate, flops, bytes_read, budget, planned, minimum, bound, predicted_stall, predicted_latency, weights,
        steps, direct;
    char peer_label[128], device[256], weight_type[8]; /* "fp32" */
} bench;

static double value_at(const json_t *report, const char *object, const char *field) {
    const json_t *in = object ? json_object_get(report, object) : report, *value = json_object_get(in, field);
    return json_is_number(value) ? json_number_value(value) : json_is_boolean(value) ? json_is_true(value) : NAN;
}

static int note_file(void *user, const char *path) {
    bench *b = user;
    if (b->file_count < 64) snprintf(b->files[b->file_count++], sizeof b->files[0], "%s", path);
    return 0;
}

/* Arguments of one measured `run`, NULL-terminated. */
static void run_arguments(const bench *b, const char *pack, const char *const *extra, const char **arguments) {
    const cli_options *o = b->options;
    static char        threads[24], depth[24], program[24];
    int                n = 0;
    arguments[n++] = "run";
    arguments[n++] = pack;
    arguments[n++] = "--quiet";
    arguments[n++] = "--json";
    arguments[n++] = b->report;
    const struct {
        const char *flag, *value;
    } texts[] = {
        { "--budget", o->budget },           { "--device", o->device },
        { "--memory-path", o->memory_path }, { "--slab", o->slab },
        { "--read-size", o->read_size },     { "--disk-rate", o->disk_rate },
        { "--host-budget", o->host_budget }, { "--cache-dir", o->cache_dir },
        { "--objective", o->objective },
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i].value) arguments[n++] = texts[i].flag, arguments[n++] = texts[i].value;
    if (o->threads >= 0)
        snprintf(threads, sizeof threads, "%ld", o->threads), arguments[n++] = "--threads", arguments[n++] = threads;
    if (o->read_depth >= 0)
        snprintf(depth, sizeof depth, "%ld", o->read_depth), arguments[n++] = "--read-depth", arguments[n++] = depth;
    if (o->program >= 0)
        snprintf(program, sizeof program, "%ld", o->program), arguments[n++] = "--program", arguments[n++] = program;
    if (o->no_cache) arguments[n++] = "--no-cache";
    for (int i = 0; i < o->inputs.count; i++) arguments[n++] = "--input", arguments[n++] = o->inputs.items[i];
    if (!o->inputs.count || o->random_inputs)
        arguments[n++] = "--random-inputs", arguments[n++] = o->random_inputs ? o->random_inputs : "1";
    while (extra && *extra) arguments[n++] = *extra++;
    arguments[n] = NULL;
}

/* Of the pack, given or compiled: `inspect` has a line "weights    fp16, N bytes". */
static int find_weight_type(bench *b) {
    char          *text = NULL;
    size_t         bytes = 0;
    flashmem_error error = { 0 };
    FILE          *to = open_memstream(&text, &bytes);
    if (!to) return cli_usage("no memory to inspect %s", b->pack.path), 1;
    bool ok = !flashmem_pack_inspect(b->pack.path, 0, to, &error);
    fclose(to);
    const char *line = ok ? strstr(text, "\nweights ") : NULL;
    if (!line || sscanf(line, " weights %7[a-z0-9]", b->weight_type) != 1)
        snprintf(b->weight_type, sizeof b->weight_type, "fp32");
    free(text);
    return ok ? 0 : cli_fail(&error);
}

static bool drop_pack(const bench *b) {
    int64_t left = bench_drop(b->pack.path);
    return !left || cli_usage("%s: %" PRId64 " bytes stay in the page cache; a cold start cannot be measured here",
                              b->pack.path, left);
}

static bool measure_once(bench *b, const char *const *extra, char *const *environment, bench_child *child) {
    const char *arguments[BENCH_MOST_ARGUMENTS];
    run_arguments(b, b->pack.path, extra, arguments);
    return drop_pack(b) && bench_run_self(child, arguments, environment, b->report);
}

static double integrated_of(const bench_child *child) {
    return (value_at(child->report, "clock", "outputs_ready_ns") - child->spawn_ns) * 1e-6;
}

/* What is the same in every run. */
static void take_figures(bench *b, const json_t *r) {
    b->budget = value_at(r, "memory", "budget_bytes");
    b->planned = value_at(r, "memory", "planned_peak_bytes");
    b->minimum = value_at(r, "memory", "minimum_budget_bytes");
    b->bound = value_at(r, "memory", "minimum_bound_bytes");
    b->predicted_stall = value_at(r, "stall_ms", "predicted");
    b->predicted_latency = value_at(r, "latency_ms", "predicted");
    b->bytes_read = value_at(r, "io", "bytes_read");
    b->direct = value_at(r, "io", "direct");
    b->flops = value_at(r, NULL, "flops");
    b->weights = value_at(r, NULL, "weights_bytes");
    b->steps = value_at(r, NULL, "steps");
    snprintf(b->device, sizeof b->device, "%s", json_string_value(json_object_get(r, "device")));
}

static bool overlapped_sample(bench *b) {
    bench_child child;
    if (!measure_once(b, NULL, NULL, &child)) return false;
    const json_t *r = child.report;
    bench_add(&b->integrated, integrated_of(&child));
    bench_add(&b->memory, (double)child.peak_bytes);
    bench_add(&b->cache_left, (double)bench_resident(b->pack.path));
    bench_add(&b->average, value_at(r, "memory", "average_bytes"));
    bench_add(&b->stall, value_at(r, "stall_ms", "total"));
    bench_add(&b->verify, value_at(r, "io", "verify_ms"));
    bench_add(&b->startup, value_at(r, "latency_ms", "startup"));
    take_figures(b, r);
    json_decref(child.report);
    return true;
}

static bool serial_sample(bench *b) {
    static const char *const extra[] = { "--serial", NULL };
    bench_child              child;
    if (!measure_once(b, extra, NULL, &child)) return false;
    bench_add(&b->serial, integrated_of(&child));
    bench_add(&b->serial_read, value_at(child.report, "serial_ms", "read"));
    bench_add(&b->serial_compute, value_at(child.report, "serial_ms", "compute"));
    bench_add(&b->serial_startup, value_at(child.report, "serial_ms", "startup"));
    json_decref(child.report);
    return true;
}

static bool peer_sample(bench *b, bool warm) {
    static char warm_runs[64];
    char *const environment[] = { warm_runs, NULL };
    bench_child child;
    if (!b->options->peer) return true;
    snprintf(warm_runs, sizeof warm_runs, "FLASHMEM_PEER_WARM=%ld", warm ? b->options->warm : 0);
    for (int i = 0; i < b->file_count && !warm; i++)
        if (bench_drop(b->files[i]) < 0) return cli_usage("%s: cannot be dropped from the page cache", b->files[i]);
    if (!bench_run_peer(&child, b->options->peer, environment)) return false;
    if (!warm) bench_add(&b->peer, value_at(child.report, NULL, "integrated_ms"));
    if (!warm)
        bench_add(&b->peer_memory, isnan(value_at(child.report, NULL, "peak_bytes"))
                                       ? (double)child.peak_bytes
                                       : value_at(child.report, NULL, "peak_bytes"));
    if (warm) bench_add(&b->peer_warm, value_at(child.report, NULL, "warm_ms"));
    const char *name = json_string_value(json_object_get(child.report, "name"));
    snprintf(b->peer_label, sizeof b->peer_label, "%s", name ? name : "peer");
    json_decref(child.report);
    return true;
}

/* A process that makes a context and runs an empty kernel. */
static bool bare_sample(bench *b) {
    const char *arguments[5] = { "probe", "--quiet", b->options->device ? "--device" : NULL, b->options->device, NULL };
    bench_child child;
    if (!bench_run_self(&child, arguments, NULL, NULL)) return false;
    bench_add(&b->bare, child.seconds * 1e3);
    bench_add(&b->bare_memory, (double)child.peak_bytes);
    return true;
}

/* FLOP/s of a 2048-cubed matmul at the run's weight type, the best of its warm runs. */
static bool measure_peak(bench *b) {
    char model[640], pack[640];
    snprintf(model, sizeof model, "%s/matmul.onnx", b->folder);
    snprintf(pack, sizeof pack, "%s/matmul.flm", b->folder);
    if (!bench_write_matmul(model, 2048)) return cli_usage("%s: cannot be written", model);
    const char *compile[16] = { "compile", model, "--output", pack, "--quiet", "--weights", b->weight_type, NULL };
    if (b->options->device) compile[7] = "--device", compile[8] = b->options->device;
    const char *const extra[] = { "--runs", "9", NULL };
    bench_child       child;
    if (!bench_run_self(&child, compile, NULL, NULL)) return false;
    bench       plain = *b;
    cli_options options = *b->options;
    options.inputs.count = 0;
    options.program = -1;
    options.budget = "off";
    options.objective = NULL;
    plain.options = &options;
    const char *arguments[BENCH_MOST_ARGUMENTS];
    run_arguments(&plain, pack, extra, arguments);
    if (!bench_run_self(&child, arguments, NULL, b->report)) return false;
    const json_t *runs = json_object_get(json_object_get(child.report, "latency_ms"), "runs");
    double        best = INFINITY;
    for (size_t i = 1; i < json_array_size(runs); i++) best = fmin(best, json_number_value(json_array_get(runs, i)));
    b->peak_rate = 2.0 * 2048 * 2048 * 2048 / (best * 1e-3);
    json_decref(child.report);
    unlink(model);
    unlink(pack);
    return true;
}

static bool warm_samples(bench *b) {
    char runs[24];
    snprintf(runs, sizeof runs, "%ld", b->options->warm + 1);
    const char *const extra[] = { "--runs", runs, NULL };
    bench_child       child;
    if (b->options->warm < 1) return true;
    if (!measure_once(b, extra, NULL, &child)) return false;
    const json_t *all = json_object_get(json_object_get(child.report, "latency_ms"), "runs");
    for (size_t i = 1; i < json_array_size(all); i++) bench_add(&b->warm, json_number_value(json_array_get(all, i)));
    if (!b->integrated.count) take_figures(b, child.report);
    json_decref(child.report);
    return peer_sample(b, true);
}

/* Every cache empty, pack given. */
static bool first_run_sample(bench *b) {
    char pocl[640], cache[640];
    snprintf(pocl, sizeof pocl, "POCL_CACHE_DIR=%s/pocl", b->folder);
    snprintf(cache, sizeof cache, "%s/cache", b->folder);
    mkdir(strchr(pocl, '=') + 1, 0700);
    char *const       environment[] = { pocl, NULL };
    const char *const extra[] = { "--cache-dir", cache, NULL };
    bench_child       child;
    if (!measure_once(b, extra, environment, &child)) return false;
    bench_add(&b->first_run, integrated_of(&child));
    json_decref(child.report);
    return true;
}

static bool cold_samples(bench *b) {
    long        count = b->options->cold < 0 ? 9 : b->options->cold;
    const char *arguments[BENCH_MOST_ARGUMENTS];
    bench_child warm_up; /* fills the program cache and the device profile; not counted */
    run_arguments(b, b->pack.path, NULL, arguments);
    if (!bench_run_self(&warm_up, arguments, NULL, b->report)) return false;
    b->disk_setting = bench_disk_best(b->pack.path);
    bench_disk into_budget = b->disk_setting;
    into_budget.memory = (size_t)value_at(warm_up.report, "memory", "planned_peak_bytes");
    json_decref(warm_up.report);
    for (long i = 0; i < count; i++) {
        if (cli_interrupted()) return cli_usage("interrupted");
        bench_add(&b->disk, bench_disk_rate(b->pack.path, &b->disk_setting));
        bench_add(&b->disk_budget, bench_disk_rate(b->pack.path, &into_budget));
        if (!overlapped_sample(b) || !serial_sample(b) || !peer_sample(b, false) || !bare_sample(b)) return false;
    }
    return true;
}

static void row(const char *name, const bench_samples *s, double scale, const char *unit) {
    if (s->count)
        printf("| %-34s | %10.1f | %10.1f | %10.1f | %-5s |\n", name, bench_median(s) * scale, bench_min(s) * scale,
               bench_max(s) * scale, unit);
}
static void single(const char *name, double value, double scale, const char *unit) {
    if (!isnan(value)) printf("| %-34s | %10.2f | %10s | %10s | %-5s |\n", name, value * scale, "", "", unit);
}

typedef struct bench_result {
    double limit_ms, read_limit_ms, compute_limit_ms, over_limit, hidden, serial_max_ms, over_serial;
} bench_result;

static bench_result derive(const bench *b) {
    bench_result r;
    double       integrated = bench_median(&b->integrated), read = bench_median(&b->serial_read);
    double       start_compute = bench_median(&b->serial_startup) + bench_median(&b->serial_compute);
    r.read_limit_ms = b->bytes_read / bench_median(&b->disk) * 1e3;
    r.compute_limit_ms = bench_median(&b->bare) + b->flops / b->peak_rate * 1e3;
    r.limit_ms = fmax(r.read_limit_ms, r.compute_limit_ms);
    r.over_limit = integrated / r.limit_ms;
    r.serial_max_ms = fmax(read, start_compute);
    r.over_serial = integrated / r.serial_max_ms;
    r.hidden = (read + start_compute - integrated) / fmin(read, start_compute);
    return r;
}

static void print_table(const bench *b, const bench_result *r) {
    const cli_options *o = b->options;
    char               threads[24] = "all";
    if (o->threads > 0) snprintf(threads, sizeof threads, "%ld", o->threads);
    printf("%s on %s; weights %s %.1f MB, budget %s, threads %s, page cache of pack%s dropped; %d samples, in turns\n",
           o->path, b->device, b->weight_type, b->weights * 1e-6, o->budget ? o->budget : "auto", threads,
           o->peer ? ", model and external data" : "", b->integrated.count);
    printf("| %-34s | %10s | %10s | %10s | %-5s "
           "|\n|------------------------------------|------------|------------|------------|-------|\n",
           "", "median", "min", "max", "unit");
    row("integrated latency", &b->integrated, 1, "ms");
    row("first run ever", &b->first_run, 1, "ms");
    row("warm latency", &b->warm, 1, "ms");
    row("peak memory, process", &b->memory, 1e-6, "MB");
    row("peak memory, bare runtime", &b->bare_memory, 1e-6, "MB");
    single("budget", b->budget, 1e-6, "MB");
    single("planned peak (regions, images)", b->planned, 1e-6, "MB");
    single("minimum budget", b->minimum, 1e-6, "MB");
    single("minimum bound", b->bound, 1e-6, "MB");
    row("page cache left of the pack", &b->cache_left, 1e-6, "MB");
    row("average memory", &b->average, 1e-6, "MB");
    row("disk rate (limit)", &b->disk, 1e-6, "MB/s");
    row("disk rate into the planned memory", &b->disk_budget, 1e-6, "MB/s");
    single("compute peak (2048-cubed matmul)", b->peak_rate, 1e-9, "GF/s");
    row("start-up of the bare runtime", &b->bare, 1, "ms");
    single("limit: bytes / disk", r->read_limit_ms, 1, "ms");
    single("limit: start-up + compute", r->compute_limit_ms, 1, "ms");
    single("integrated / limit", r->over_limit, 1, "x");
    row("serial run", &b->serial, 1, "ms");
    row("serial: start-up", &b->serial_startup, 1, "ms");
    row("serial: read", &b->serial_read, 1, "ms");
    row("serial: compute", &b->serial_compute, 1, "ms");
    single("integrated / serial maximum", r->over_serial, 1, "x");
    single("hidden", r->hidden, 1, "");
    row("exposed stall, measured", &b->stall, 1, "ms");
    single("exposed stall, predicted", b->predicted_stall, 1, "ms");
    row("checksums", &b->verify, 1, "ms");
    if (b->peer.count || b->peer_warm.count) {
        printf("peer: %s\n", b->peer_label);
        row("peer integrated latency", &b->peer, 1, "ms");
        row("peer peak memory", &b->peer_memory, 1e-6, "MB");
        row("peer warm latency", &b->peer_warm, 1, "ms");
        if (b->peer.count) single("integrated / peer", bench_median(&b->integrated) / bench_median(&b->peer), 1, "x");
        if (b->peer_warm.count) single("warm / peer", bench_median(&b->warm) / bench_median(&b->peer_warm), 1, "x");
    }
}

static json_t *spread(const bench_samples *s) {
    if (!s->count || isnan(bench_median(s))) return json_null();
    return json_pack("{s:f,s:f,s:f,s:i}", "median", bench_median(s), "min", bench_min(s), "max", bench_max(s),
                     "samples", s->count);
}
static json_t *real(double x) { return isfinite(x) ? json_real(x) : json_null(); }

static int write_json(const bench *b, const bench_result *r) {
    const struct {
        const char          *name;
        const bench_samples *s;
    } spreads[] = {
        { "integrated_ms", &b->integrated },
        { "first_run_ms", &b->first_run },
        { "warm_ms", &b->warm },
        { "peak_bytes", &b->memory },
        { "bare_peak_bytes", &b->bare_memory },
        { "page_cache_bytes", &b->cache_left },
        { "average_bytes", &b->average },
        { "disk_bytes_per_s", &b->disk },
        { "disk_into_plan_bytes_per_s", &b->disk_budget },
        { "bare_startup_ms", &b->bare },
        { "startup_ms", &b->startup },
        { "serial_ms", &b->serial },
        { "serial_startup_ms", &b->serial_startup },
        { "serial_read_ms", &b->serial_read },
        { "serial_compute_ms", &b->serial_compute },
        { "stall_ms", &b->stall },
        { "verify_ms", &b->verify },
        { "peer_integrated_ms", &b->peer },
        { "peer_peak_bytes", &b->peer_memory },
        { "peer_warm_ms", &b->peer_warm },
    };
    const struct {
        const char *name;
        double      value;
    } singles[] = {
        { "limit_ms", r->limit_ms },
        { "read_limit_ms", r->read_limit_ms },
        { "compute_limit_ms", r->compute_limit_ms },
        { "integrated_over_limit", r->over_limit },
        { "integrated_over_serial_maximum", r->over_serial },
        { "hidden", r->hidden },
        { "peak_flops_per_s", b->peak_rate },
        { "flops", b->flops },
        { "bytes_read", b->bytes_read },
        { "budget_bytes", b->budget },
        { "planned_peak_bytes", b->planned },
        { "minimum_budget_bytes", b->minimum },
        { "minimum_bound_bytes", b->bound },
        { "predicted_stall_ms", b->predicted_stall },
        { "predicted_latency_ms", b->predicted_latency },
        { "weights_bytes", b->weights },
        { "steps", b->steps },
        { "direct", b->direct },
    };
    json_t *root = json_object();
    json_object_set_new(root, "model", cli_report_text(b->options->path));
    json_object_set_new(root, "device", cli_report_text(b->device));
    json_object_set_new(root, "weights", cli_report_text(b->weight_type));
    json_object_set_new(root, "budget", cli_report_text(b->options->budget ? b->options->budget : "auto"));
    if (b->peer.count || b->peer_warm.count) json_object_set_new(root, "peer", cli_report_text(b->peer_label));
    for (size_t i = 0; i < sizeof spreads / sizeof *spreads; i++)
        json_object_set_new(root, spreads[i].name, spread(spreads[i].s));
    for (size_t i = 0; i < sizeof singles / sizeof *singles; i++)
        json_object_set_new(root, singles[i].name, real(singles[i].value));
    return cli_report_save(root, b->options->json);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)st, (void)type, (void)at;
    return remove(path);
}

static int measure(bench *b) {
    bool ok = cold_samples(b) && measure_peak(b) && (!b->options->first_run || first_run_sample(b)) && warm_samples(b);
    if (!ok) return 1;
    bench_result result = derive(b);
    print_table(b, &result);
    return b->options->json ? write_json(b, &result) : 0;
}

int cmd_bench(const cli_options *options) {
    static bench           b; /* large: samples */
    static cli_shape_texts texts;
    b.options = options;
    flashmem_run_options check;
    if (!cli_run_options(options, &check) || !cli_objective(options, &check.objective)) return 2;
    if (!options->cold && options->warm < 1) return cli_usage("--cold 0 without --warm measures nothing"), 2;
    cli_catch_interrupt(cli_pack_interrupt);
    cli_arrays     arrays = { 0 };
    flashmem_error error = { 0 };
    int            code = cli_inputs_read(&arrays, options);
    if (!code) code = cli_inputs_shapes(&texts, &arrays, options);
    cli_arrays_free(&arrays);
    if (code || (code = cli_pack_get(&b.pack, options, &texts.list))) return code;
    if (options->peer && b.pack.model[0] && flashmem_model_files(b.pack.model, note_file, &b, &error))
        return cli_pack_release(&b.pack), cli_fail(&error);
    if ((code = find_weight_type(&b))) return cli_pack_release(&b.pack), code;
    const char *temporary = getenv("TMPDIR");
    snprintf(b.folder, sizeof b.folder, "%.480s/flashmem-bench-XXXXXX", temporary && *temporary ? temporary : "/tmp");
    if (!mkdtemp(b.folder)) return cli_pack_release(&b.pack), cli_usage("%s: %s", b.folder, strerror(errno)), 1;
    snprintf(b.report, sizeof b.report, "%s/report.json", b.folder);
    code = measure(&b);
    nftw(b.folder, remove_one, 8, FTW_DEPTH | FTW_PHYS); /* also what an interrupted or failed step left there */
    cli_pack_release(&b.pack);
    return code;
}
