#include "tests/compile/profile/fake_device.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/base/cmocka_setup.h"

const fake_device fake_plain = { .launch = 2e-6,
                                 .gap = 1e-6,
                                 .flops_rate = { 100e9, 80e9, 50e9, 40e9, 10e9, 20e9, 20e9 },
                                 .bytes_rate = 20e9,
                                 .copy_rate = 5e9,
                                 .strided = 3,
                                 .disk_rate = 2e9 };

double fake_seconds(const fake_device *d, const fm_step_features *f) {
    double compute = f->work.flops / d->flops_rate[f->work.cost_class];
    double moving = (f->work.bytes + f->work.weight_bytes) / d->bytes_rate;
    return (d->launch + fmax(compute, moving)) * (f->stride > 1 ? d->strided : 1);
}

/* Bytes that a load moves: from, to, first texel, texels. */
static double load_bytes(const fm_program *p, const fm_step *step) {
    return 16 * (double)fm_program_expr(p, p->args[step->first_arg + 3].value);
}

static double step_seconds(const fake_device *d, const fm_pack *pack, uint32_t s) {
    const fm_program *p = &pack->programs[0];
    fm_step_features  features;
    assert_true(fm_step_features_of(&pack->packed, p, s, 0, &features));
    if (strncmp(fm_program_string(p, p->kernels[p->steps[s].kernel].entry), "load", 4) == 0)
        return d->launch + load_bytes(p, &p->steps[s]) / d->copy_rate;
    return fake_seconds(d, &features);
}

flashmem_step_time *fake_run(const fake_device *d, const char *pack_path, uint32_t run, uint32_t *count) {
    fm_pack        pack;
    flashmem_error err = { 0 };
    double         clock = 1 + run, slow = d->slow_run > 0 && run % 3 == 2 ? d->slow_run : 1;
    if (fm_pack_open(&pack, pack_path, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
    const fm_program   *p = &pack.programs[0];
    flashmem_step_time *times = calloc(p->step_count + 1u, sizeof *times);
    for (uint32_t s = 0; s < p->step_count; s++) {
        times[s] = (flashmem_step_time){ .name = "", .kind = FLASHMEM_STEP_KERNEL, .step = s, .begin = clock };
        clock += step_seconds(d, &pack, s) * slow;
        times[s].end = clock;
        clock += d->gap * slow;
    }
    *count = p->step_count;
    fm_pack_close(&pack);
    return times;
}

static void run_pack(flashmem_profiler *profiler, const fake_device *d, const char *path, uint32_t runs) {
    flashmem_error err = { 0 };
    flashmem_stats stats = { .disk_rate = d->disk_rate, .bytes_read = 1 << 20, .verify_seconds = 1e-4 };
    stats.device_ready = 0.03;
    for (uint32_t run = 0; run < runs; run++) {
        uint32_t            count;
        flashmem_step_time *times = fake_run(d, path, run, &count);
        if (flashmem_profiler_observe(profiler, &stats, times, count, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
        free(times);
    }
}

flashmem_profile *fake_profile(const fake_device *d, const flashmem_profile_options *options, const char *folder) {
    flashmem_device_info info = { .platform = "none",
                                  .name = "fake",
                                  .version = "1",
                                  .driver = "2",
                                  .is_cpu = 1,
                                  .compute_units = 2,
                                  .image_width = 4096,
                                  .image_height = 8192,
                                  .max_allocation = 1u << 30 };
    flashmem_profiler   *profiler;
    flashmem_profile    *profile;
    flashmem_error       err = { 0 };
    char                 path[256];
    uint32_t             runs;
    snprintf(path, sizeof path, "%s/sweep.flm", folder);
    if (flashmem_profiler_open(options, &profiler, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
    for (;;) {
        if (flashmem_profiler_next(profiler, path, &runs, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
        if (!runs) break;
        run_pack(profiler, d, path, runs);
        assert_int_equal(unlink(path), 0);
    }
    if (flashmem_profiler_learn(profiler, &info, &profile, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
    flashmem_profiler_close(profiler);
    return profile;
}
