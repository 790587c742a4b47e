/* The simulator against real runs: simulator_error PACK PERCENT [SAMPLES].
 *
 * Every sample is a process of its own that runs the pack once from a cold page cache, then simulates the very plan that it
 * ran, fed with that run's disk rate (bytes over the time with a read in flight), checks, start-up and kernel step times.
 * Integrated latency counts from before the process was made; what came before the first read (loading the program,
 * opening, planning) is no matter of the plan and is added to the simulated latency as it was measured.  Prints one JSON
 * object per sample; bench/simulator_error.py makes the table. */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "run/model.h"
#include "schedule/simulate.h"

extern char **environ;

static int fail(const flashmem_error *error) { return fprintf(stderr, "simulator_error: %s\n", error->message), 1; }

/* --- one sample --------------------------------------------------------------------------------------------------- */

/* Valid values: indices in range, masks of ones, small numbers. */
static void fill(const flashmem_tensor_info *info, unsigned char *data) {
    bool   whole = info->dtype == FLASHMEM_I64 || info->dtype == FLASHMEM_I32;
    size_t size = info->dtype == FLASHMEM_I64 ? 8 : info->dtype == FLASHMEM_F32 || whole ? 4 : 1;
    for (uint64_t i = 0; i < info->bytes / size; i++) {
        int64_t number = info->is_mask ? 1 : info->limit ? (int64_t)(i * 37 % info->limit) : 0;
        float   real = 0.01f * (float)(i % 17);
        if (info->dtype == FLASHMEM_F32) memcpy(data + 4 * i, &real, 4);
        else memcpy(data + size * i, &number, size);
    }
}

static flashmem_status bind_inputs(flashmem_model *model, flashmem_error *err) {
    for (uint32_t i = 0; i < flashmem_model_input_count(model); i++) {
        flashmem_tensor_info info;
        flashmem_model_input_info(model, i, &info);
        unsigned char *data = aligned_alloc(64, (info.bytes + 63) / 64 * 64);
        if (!data) return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "no memory for input '%s'", info.name);
        fill(&info, data);
        FM_TRY(flashmem_model_bind_input(model, i, data, info.bytes, err));
    }
    return FLASHMEM_OK;
}

/* The device as that run found it; *step_seconds: of whole kernel steps. */
static flashmem_device observe(const flashmem_model *model, uint64_t first_read, double *step_seconds) {
    const flashmem_stats *s = &model->stats;
    flashmem_device       d = model->request.device;
    d.disk_bytes_per_second = (double)s->bytes_read / s->read_seconds;
    d.startup_seconds = s->device_ready - (double)(first_read - model->opened) * 1e-9;
    d.check_bytes_per_second = s->verify_seconds > 0 ? (double)s->bytes_read / s->verify_seconds : 0;
    d.launch_seconds = 0; /* in the step times */
    for (uint32_t k = 0; k < model->replay.step_count; k++) {
        const fm_step_record *record = &model->executor.records[k];
        step_seconds[model->replay.steps[k].step] += (double)(record->end - record->begin) * 1e-9;
        /* What ran before the last program was there ran in the start-up. */
        double begin = (double)(record->begin - model->opened) * 1e-9,
               end = (double)(record->end - model->opened) * 1e-9;
        if (record->end && begin < s->device_ready)
            d.startup_seconds -= (end < s->device_ready ? end : s->device_ready) - begin;
    }
    if (d.startup_seconds < 0) d.startup_seconds = 0;
    return d;
}

static int run_one(const char *pack, double percent, uint64_t spawned) {
    flashmem_run_options o;
    flashmem_model      *model;
    flashmem_error       error = { 0 };
    flashmem_simulation  s;
    flashmem_run_options_init(&o);
    o.budget_kind = FLASHMEM_BUDGET_PERCENT;
    o.budget_value = percent;
    o.runs = 1;
    if (flashmem_model_open(pack, &o, &model, &error) || bind_inputs(model, &error) ||
        flashmem_model_run(model, &error))
        return fail(&error);
    const fm_read_record *reads = fm_reader_record(model->reader, 0);
    if (!reads->count) return fprintf(stderr, "simulator_error: %s: nothing was read\n", pack), 1;
    uint64_t        first_read = reads->chunks[0].submitted, ready = model->executor.run_end;
    double         *step_seconds = fm_arena_array(model->plan_arena, model->program->step_count, sizeof *step_seconds);
    flashmem_device device = observe(model, first_read, step_seconds);
    fm_simulate_input in = { &model->pack.packed, model->program, &model->replay, &device, step_seconds };
    if (fm_simulate(&in, model->plan_arena, &s, &error) || fm_simulate_verify(&in, &s, &error)) return fail(&error);
    double before = (double)(first_read - spawned) * 1e-6;
    printf("{\"measured_ms\": %.3f, \"simulated_ms\": %.3f, \"before_ms\": %.3f, \"measured_stall_ms\": %.3f, "
           "\"simulated_stall_ms\": %.3f, \"disk_gb_s\": %.3f, \"startup_ms\": %.3f, \"kernels_ms\": %.3f, "
           "\"average_mb\": %.3f, \"simulated_average_mb\": %.3f, \"launches\": %u}\n",
           (double)(ready - spawned) * 1e-6, before + s.latency * 1e3, before, model->stats.stall * 1e3, s.stall * 1e3,
           device.disk_bytes_per_second * 1e-9, device.startup_seconds * 1e3, s.compute_seconds * 1e3,
           model->stats.average_bytes * 1e-6, s.average_bytes * 1e-6, s.step_count);
    flashmem_model_close(model);
    return 0;
}

/* --- samples ------------------------------------------------------------------------------------------------------ */

static int drop(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return perror(path), 1;
    fsync(fd);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    return close(fd);
}

static int sample(char *pack, char *percent, int silent) {
    char                       now[32];
    char                      *arguments[] = { (char *)"simulator_error", pack, percent, (char *)"--one", now, NULL };
    posix_spawn_file_actions_t actions;
    pid_t                      child;
    int                        status;
    if (drop(pack)) return 1;
    posix_spawn_file_actions_init(&actions);
    if (silent) posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    snprintf(now, sizeof now, "%llu", (unsigned long long)fm_clock_ns());
    int why = posix_spawn(&child, "/proc/self/exe", &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (why) return fprintf(stderr, "simulator_error: %s\n", strerror(why)), 1;
    return waitpid(child, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status);
}

int main(int argc, char **argv) {
    if (argc == 5 && !strcmp(argv[3], "--one")) return run_one(argv[1], atof(argv[2]), strtoull(argv[4], NULL, 10));
    if (argc < 3) return fprintf(stderr, "usage: simulator_error PACK PERCENT [SAMPLES]\n"), 2;
    int samples = argc > 3 ? atoi(argv[3]) : 9;
    for (int i = -2; i < samples; i++) { /* two fill program cache and device profile */
        if (sample(argv[1], argv[2], i < 0)) return 1;
    }
    return 0;
}
