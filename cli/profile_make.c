#include "profile_make.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "console.h"
#include "inputs.h"
#include "output.h"

#define LARGEST_SLAB ((uint64_t)1 << 40)

static flashmem_model *running; /* for the interrupt handler */
static void            cancel_running(void) {
               if (running) flashmem_model_cancel(running);
}

/* "300,20,0": percent that elementwise, reusable and hierarchical kernels may grow by. */
static bool parse_growth(const char *text, double growth[FLASHMEM_CAPACITY_CLASSES]) {
    const char *at = text;
    for (int c = 0; c < FLASHMEM_CAPACITY_CLASSES; c++) {
        char  *end;
        double percent = strtod(at, &end);
        bool   last = c + 1 == FLASHMEM_CAPACITY_CLASSES;
        if (end == at || !(percent >= 0) || percent > 1e6 || *end != (last ? '\0' : ','))
            return cli_usage("--growth '%s': write three percentages, as 300,20,0", text);
        growth[c] = percent / 100;
        at = end + 1;
    }
    return true;
}

static int choose_layout(const cli_options *options, flashmem_layout *layout) {
    flashmem_error error = { 0 };
    if (!options->layout)
        return flashmem_device_layout(options->device, options->no_cache ? "" : options->cache_dir, layout, &error)
                   ? cli_fail(&error)
                   : 0;
    if (!strcmp(options->layout, "cpu")) *layout = FLASHMEM_LAYOUT_CPU;
    else if (!strcmp(options->layout, "texture")) *layout = FLASHMEM_LAYOUT_TEXTURE;
    else if (!strcmp(options->layout, "gpu")) *layout = FLASHMEM_LAYOUT_GPU;
    else return cli_usage("--layout is cpu, texture or gpu, not '%s'", options->layout), 2;
    return 0;
}

/* Before it is measured what goes there. */
static int check_output(const char *path) {
    cli_output     output;
    flashmem_error error = { 0 };
    if (!cli_output_begin(&output, path, &error)) return cli_fail(&error);
    char *slash = strrchr(output.temporary, '/');
    if (slash) slash[slash == output.temporary] = '\0';
    const char *folder = slash ? output.temporary : ".";
    return access(folder, W_OK | X_OK) ? (cli_usage("%s: %s: %s", path, folder, strerror(errno)), 1) : 0;
}

static int choose_paths(cli_profile_request *r) {
    const cli_options *o = r->options;
    flashmem_error     error = { 0 };
    char               cached[PATH_MAX - 64] = "";
    if (o->no_cache && !o->output) return cli_usage("profile --no-cache needs --output FILE (-o)"), 2;
    if (!o->no_cache && flashmem_profile_path(o->cache_dir, o->device, r->profile.threads, r->profile.layout,
                                              r->profile.weights, cached, sizeof cached, &error))
        return cli_fail(&error);
    if (o->output && strlen(o->output) >= sizeof cached) return cli_usage("%s: the path is too long", o->output), 2;
    snprintf(r->path, sizeof r->path, "%s", o->output ? o->output : cached);
    snprintf(r->pack, sizeof r->pack, "%.*s.%ld.tmp", (int)sizeof cached, *cached ? cached : r->path, (long)getpid());
    return o->output ? check_output(o->output) : 0;
}

int cli_profile_request_init(cli_profile_request *r, const cli_options *options) {
    flashmem_progress_fn progress;
    r->options = options;
    flashmem_profile_options_init(&r->profile);
    if (options->device && !strcmp(options->device, "null"))
        return cli_usage("the null device computes nothing: there is nothing to measure"), 2;
    if (options->growth && !parse_growth(options->growth, r->profile.growth)) return 2;
    if (options->weights && !strcmp(options->weights, "fp16")) r->profile.weights = FLASHMEM_WEIGHTS_FP16;
    else if (options->weights && strcmp(options->weights, "fp32"))
        return cli_usage("--weights is fp32 or fp16, not '%s'", options->weights), 2;
    r->profile.full = options->full;
    if (options->threads >= 0) r->profile.threads = (uint32_t)options->threads;
    cli_console_attach(&r->profile.log, &progress, &r->profile.user);
    int code = choose_layout(options, &r->profile.layout);
    return code ? code : choose_paths(r);
}

/* ---- one pack ---- */

/* Reads of it come from the disk. */
static void drop_from_page_cache(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    fdatasync(fd);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
}

static int observe(flashmem_profiler *profiler, flashmem_model *model, flashmem_step_time **times, uint32_t *room) {
    flashmem_stats stats;
    flashmem_error error = { 0 };
    uint32_t       count = flashmem_model_step_times(model, *times, *room);
    if (count > *room) {
        free(*times);
        *times = calloc(*room = count, sizeof **times);
        if (!*times) return cli_usage("no memory for %u times", count), 1;
        flashmem_model_step_times(model, *times, count);
    }
    flashmem_model_stats(model, &stats);
    return flashmem_profiler_observe(profiler, &stats, *times, count, &error) ? cli_fail(&error) : 0;
}

static int run_often(flashmem_profiler *profiler, uint32_t runs) {
    flashmem_log_fn      log;
    flashmem_progress_fn progress;
    void                *user;
    flashmem_step_time  *times = NULL;
    uint32_t             room = 0;
    int                  code = 0;
    flashmem_error       error = { 0 };
    cli_console_attach(&log, &progress, &user);
    for (uint32_t i = 0; i < runs && !code; i++) {
        if (cli_interrupted()) code = (cli_usage("interrupted"), 1);
        else if (flashmem_model_run(running, &error)) code = cli_fail(&error);
        else code = observe(profiler, running, &times, &room);
        progress(user, "profile", i + 1, runs);
    }
    free(times);
    return code;
}

/* The run's options: everything stays, nothing is cut; any weight layout is run on any device that can. */
static bool run_options(const cli_profile_request *r, uint32_t runs, flashmem_run_options *run) {
    if (!cli_run_options(r->options, run)) return false;
    run->budget_kind = FLASHMEM_BUDGET_OFF;
    run->slab_bytes = LARGEST_SLAB;
    run->runs = runs;
    run->progress = NULL;
    if (r->profile.layout == FLASHMEM_LAYOUT_TEXTURE) run->memory_path = FLASHMEM_PATH_TEXTURE_COPY;
    return true;
}

static int run_pack(const cli_profile_request *r, flashmem_profiler *profiler, uint32_t runs, char *device,
                    size_t device_bytes) {
    static cli_options   random; /* inputs are made up */
    flashmem_run_options run;
    flashmem_error       error = { 0 };
    cli_arrays           arrays = { 0 };
    if (!run_options(r, runs, &run)) return 2;
    drop_from_page_cache(r->pack);
    if (flashmem_model_open(r->pack, &run, &running, &error)) return cli_fail(&error);
    random.random_inputs = "1";
    int code = cli_inputs_bind(&arrays, running, &random);
    if (!code) code = run_often(profiler, runs);
    if (!code) {
        flashmem_stats stats;
        flashmem_model_stats(running, &stats);
        snprintf(device, device_bytes, "%s", stats.device_name);
    }
    flashmem_model *closing = running;
    running = NULL;
    flashmem_model_close(closing);
    cli_arrays_free(&arrays);
    return code;
}

/* ---- the profile ---- */

typedef struct device_search {
    const char          *name;
    flashmem_device_info info;
    bool                 found;
} device_search;

static int compare_name(void *user, const flashmem_device_info *info) {
    device_search *search = user;
    search->found = !strcmp(info->name, search->name);
    if (search->found) search->info = *info;
    return search->found;
}

static int measure(const cli_profile_request *r, flashmem_profiler *profiler, flashmem_profile **out) {
    flashmem_error error = { 0 };
    char           name[256] = "";
    device_search  search = { .name = name };
    for (;;) {
        uint32_t runs;
        if (flashmem_profiler_next(profiler, r->pack, &runs, &error)) return cli_fail(&error);
        if (!runs) break;
        int code = run_pack(r, profiler, runs, name, sizeof name);
        if (code) return code;
    }
    if (flashmem_devices(compare_name, &search, &error)) return cli_fail(&error);
    if (!search.found) return cli_usage("device '%s' is gone", name), 1;
    return flashmem_profiler_learn(profiler, &search.info, out, &error) ? cli_fail(&error) : 0;
}

int cli_profile_make(cli_profile_request *r, flashmem_profile **out) {
    flashmem_profiler *profiler;
    flashmem_error     error = { 0 };
    *out = NULL;
    cli_catch_interrupt(cancel_running);
    if (flashmem_profiler_open(&r->profile, &profiler, &error)) return cli_fail(&error);
    int code = measure(r, profiler, out);
    unlink(r->pack);
    flashmem_profiler_close(profiler);
    return code;
}

/* Why a profile is not the one that is asked for, or NULL. */
static const char *stale(const cli_profile_request *r, const flashmem_profile *profile) {
    flashmem_profile_info info;
    flashmem_error        error = { 0 };
    flashmem_profile_describe(profile, &info);
    device_search search = { .name = info.device.name };
    if (!info.current) return "it was measured with other kernels";
    if (info.device.layout != r->profile.layout || info.weights != r->profile.weights ||
        info.threads != r->profile.threads)
        return "it is for other weights, threads or another layout";
    if (flashmem_devices(compare_name, &search, &error)) return NULL; /* none to be asked: the file is all there is */
    if (!search.found) return "it is of another device";
    return strcmp(search.info.driver, info.driver) ? "it was measured with another driver" : NULL;
}

int cli_profile_get(cli_profile_request *r, flashmem_profile **out) {
    char           line[PATH_MAX + 1200];
    flashmem_error error = { 0 };
    const char    *why = "there is none";
    *out = NULL;
    if (!access(r->path, F_OK)) {
        why = flashmem_profile_load(r->path, out, &error) ? error.message : stale(r, *out);
        if (!why) return 0;
        flashmem_profile_close(*out);
        *out = NULL;
    }
    snprintf(line, sizeof line, "device profile %s: MISS: %s: measuring for a few seconds", r->path, why);
    r->profile.log(r->profile.user, FLASHMEM_LOG_INFO, "profile", line);
    int code = cli_profile_make(r, out);
    error = (flashmem_error){ 0 };
    if (code || !flashmem_profile_save(*out, r->path, &error)) return code;
    flashmem_profile_close(*out);
    *out = NULL;
    return cli_fail(&error);
}
