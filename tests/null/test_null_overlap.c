/* Overlap plans of packs on the null device: outputs are those of the timed plan at every budget and in every run, no
 * launch finds its weights missing, and what cannot be replayed as it is, is refused. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "run/model.h"
#include "tests/base/cmocka_setup.h"
#include "tests/null/synthetic.h"
#include "tests/run/faulty_reads.h"
#include "tests/run/overlap_pack.h"

static char folder[64], path[128];

static int setup(void **state) {
    (void)state;
    strcpy(folder, "/var/tmp/fm-null-overlap-XXXXXX"); /* on a disk: direct reads */
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/a.flm", folder);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static flashmem_run_options options_for(flashmem_objective objective, flashmem_budget_kind kind, double value) {
    flashmem_run_options o;
    flashmem_run_options_init(&o);
    o.device = "null";
    o.cache_dir = "";
    o.objective = objective;
    o.budget_kind = kind;
    o.budget_value = value;
    return o;
}

static flashmem_status run_once(const flashmem_run_options *o, const fm_open_hooks *hooks, int runs, uint64_t *hash,
                                flashmem_stats *stats, flashmem_error *err) {
    flashmem_model     *model;
    fm_synthetic_inputs inputs = { 0 };
    fm_error_clear(err);
    FM_TRY(fm_model_open(path, o, hooks, &model, err));
    flashmem_status status = flashmem_model_verify_plan(model, err);
    fm_synthetic_bind(model, &inputs, 9);
    for (int i = 0; i < runs && status == FLASHMEM_OK; i++) {
        status = flashmem_model_run(model, err);
        if (status != FLASHMEM_OK) break;
        uint64_t found = fm_synthetic_outputs(model);
        if (i && found != *hash) fail_msg("run %d differs from the one before", i);
        *hash = found;
    }
    if (stats) flashmem_model_stats(model, stats);
    flashmem_model_close(model);
    fm_synthetic_free(&inputs);
    return status;
}

static uint64_t outputs_of(const flashmem_run_options *o, const fm_open_hooks *hooks, int runs, flashmem_stats *stats) {
    flashmem_error err = { 0 };
    uint64_t       hash = 0;
    if (run_once(o, hooks, runs, &hash, stats, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
    return hash;
}

static void add(const overlap_taste *taste, uint64_t slab_bytes) {
    flashmem_run_options o = options_for(FLASHMEM_OBJECTIVE_TIMED, FLASHMEM_BUDGET_OFF, 0);
    flashmem_error       err = { 0 };
    if (fm_overlap_add(path, &o, taste, slab_bytes, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
}

static uint64_t timed_outputs(void) {
    flashmem_run_options o = options_for(FLASHMEM_OBJECTIVE_TIMED, FLASHMEM_BUDGET_PERCENT, 30);
    return outputs_of(&o, NULL, 1, NULL);
}

/* --- replays ------------------------------------------------------------------------------------------------------ */

static void check_replays(const fm_synthetic *what, const overlap_taste *taste, uint64_t slab_bytes) {
    fm_open_hooks  hooks = { .read_ops = taste->seed % 2 ? &fm_read_threads : NULL };
    flashmem_stats stats;
    flashmem_error err;
    uint64_t       expected, unused;
    fm_synthetic_write(what, path);
    expected = timed_outputs();
    add(taste, slab_bytes);
    flashmem_run_options o = options_for(FLASHMEM_OBJECTIVE_OPG, FLASHMEM_BUDGET_OFF, 0);
    assert_true(outputs_of(&o, &hooks, 3, &stats) == expected);
    assert_string_equal(stats.objective, "opg");
    uint64_t minimum = stats.minimum_budget_bytes;
    o.budget_kind = FLASHMEM_BUDGET_MINIMUM;
    assert_true(outputs_of(&o, &hooks, 3, &stats) == expected && stats.planned_peak_bytes == minimum);
    o.budget_kind = FLASHMEM_BUDGET_PERCENT; /* raised */
    o.budget_value = 1;
    assert_true(outputs_of(&o, &hooks, 2, &stats) == expected && stats.planned_peak_bytes == minimum);
    o.budget_kind = FLASHMEM_BUDGET_BYTES;
    o.budget_value = (double)minimum;
    assert_true(outputs_of(&o, &hooks, 2, &stats) == expected);
    o.budget_value = (double)minimum - 1;
    assert_int_equal(run_once(&o, NULL, 1, &unused, NULL, &err), FLASHMEM_BUDGET);
    assert_non_null(strstr(err.message, "the overlap plan needs at least"));
    o.budget_value = (double)minimum * 1.2;
    o.serial = 1;
    assert_true(outputs_of(&o, &hooks, 3, &stats) == expected);
    assert_true(timed_outputs() == expected); /* the default is what it was */
}

static void test_overlap__same_outputs_in_place(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        fm_synthetic  what = { .seed = seed,
                               .steps = 5 + (uint32_t)seed % 3,
                               .weight_bytes = 3u << 19,
                               .rows = seed % 2 ? 40 : 0,
                               .computed_rows = seed % 3 ? 0 : 17,
                               .tied = seed % 2 == 0,
                               .half = seed > 3 };
        overlap_taste taste = { .chunk_bytes = seed % 2 ? 65536 : 100000,
                                .preload = seed % 3 ? 30 : 0,
                                .window = 6,
                                .loads = 4,
                                .seed = seed };
        check_replays(&what, &taste, seed % 2 ? 1 << 20 : 0);
    }
}

static void test_overlap__same_outputs_through_images(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        fm_synthetic  what = { .seed = seed,
                               .steps = 6,
                               .weight_bytes = 3u << 19,
                               .rows = seed % 2 ? 20 : 0,
                               .tied = seed % 3 == 0,
                               .half = seed == 2,
                               .texture = 1 };
        overlap_taste taste = { .chunk_bytes = seed % 2 ? 65536 : 262144,
                                .preload = seed == 4  ? 100
                                           : seed % 3 ? 30
                                                      : 0,
                                .window = 8,
                                .loads = 5,
                                .seed = seed };
        check_replays(&what, &taste, seed % 2 ? 1 << 20 : 0);
    }
}

/* A slow disk: launches and conversions would overtake reads that they do not wait for.  Slow launches: reads would come
 * before their memory is free. */
static void test_overlap__waits_for_every_load_and_release(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 2; seed++) {
        fm_synthetic  what = { .seed = seed, .steps = 6, .weight_bytes = 3u << 19, .texture = seed % 2, .tied = 1 };
        overlap_taste taste = { .chunk_bytes = 65536, .preload = 20, .window = 3, .loads = 3, .seed = seed };
        fm_open_hooks slow_disk = { .read_ops = &faulty_ops }, slow_device = { .null_time_scale = 3 };
        fm_synthetic_write(&what, path);
        uint64_t expected = timed_outputs();
        add(&taste, 1 << 20);
        flashmem_run_options o = options_for(FLASHMEM_OBJECTIVE_OPG, FLASHMEM_BUDGET_MINIMUM, 0);
        assert_true(outputs_of(&o, &slow_device, 4, NULL) == expected);
        o.read_depth = 1;
        o.read_bytes = 64 << 10;
        faulty_reset(fm_read_backends()[0]);
        faulty.delay = 200;
        assert_true(outputs_of(&o, &slow_disk, 3, NULL) == expected);
        o.budget_kind = FLASHMEM_BUDGET_OFF;
        assert_true(outputs_of(&o, &slow_disk, 2, NULL) == expected);
    }
}

/* A step that reads rows ends on the host: that says nothing of the conversions before it. */
static void test_overlap__rows_end_after_their_conversions(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        fm_synthetic  what = { .seed = seed, .steps = 5, .weight_bytes = 3u << 19, .rows = 4, .texture = 1 };
        overlap_taste taste = { .chunk_bytes = 1 << 20, .preload = 50, .window = 3, .loads = 1, .seed = seed };
        fm_open_hooks hooks = { .null_time_scale = 10 };
        fm_synthetic_write(&what, path);
        uint64_t expected = timed_outputs();
        add(&taste, 0);
        flashmem_run_options o = options_for(FLASHMEM_OBJECTIVE_OPG, FLASHMEM_BUDGET_MINIMUM, 0);
        assert_true(outputs_of(&o, &hooks, 2, NULL) == expected);
    }
}

/* The launch beside which the plan loads bytes waits for them, also in place, where it does not use them; what is
 * preloaded comes before the first. */
static void test_overlap__launches_wait_for_what_the_plan_loads(void **state) {
    (void)state;
    for (int texture = 0; texture < 2; texture++) {
        fm_synthetic        what = { .seed = 8, .steps = 6, .weight_bytes = 3u << 19, .texture = texture };
        overlap_taste       taste = { .chunk_bytes = 65536, .preload = 40, .window = 4, .loads = 3, .seed = 5 };
        fm_open_hooks       hooks = { .read_ops = &faulty_ops };
        flashmem_error      err = { 0 };
        fm_synthetic_inputs inputs = { 0 };
        flashmem_model     *model;
        fm_synthetic_write(&what, path);
        add(&taste, 0);
        flashmem_run_options o = options_for(FLASHMEM_OBJECTIVE_OPG, FLASHMEM_BUDGET_OFF, 0);
        o.read_depth = 1;
        o.read_bytes = 64 << 10;
        faulty_reset(fm_read_backends()[0]);
        faulty.delay = 200;
        if (fm_model_open(path, &o, &hooks, &model, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
        fm_synthetic_bind(model, &inputs, 9);
        assert_int_equal(flashmem_model_trace_begin(model, &err), FLASHMEM_OK);
        for (int run = 0; run < 2; run++) {
            assert_int_equal(flashmem_model_run(model, &err), FLASHMEM_OK);
            const fm_replay      *r = &model->replay;
            const fm_read_record *reads = fm_reader_record(model->reader, (uint64_t)run);
            uint32_t              early = 0, converted = 0;
            for (uint32_t a = 0; a < r->arrival_count; a++) {
                const fm_replay_arrival *row = &r->arrivals[a];
                uint64_t                 at = fm_read_record_arrival(reads, row->object, row->bytes);
                assert_true(at <= model->executor.records[row->before_step].begin);
                early += at > 0 && row->before_step < r->objects[row->object].first;
                if (run) assert_true(at == 0 || !r->objects[row->object].stays); /* read once */
            }
            assert_true(early > 5);
            for (uint32_t c = 0; c < r->convert_count; c++) {
                uint64_t begin, end;
                bool     made = model->gpu->ops->convert_times(model->gpu, c, &begin, &end);
                (void)made; /* times are of a run until it ends: the trace below has them */
                converted += r->objects[r->images[r->converts[c].image].object].stays;
            }
            assert_true(!texture || converted > 0);
        }
        char trace[160];
        snprintf(trace, sizeof trace, "%s/trace.json", folder);
        assert_int_equal(flashmem_model_trace_write(model, trace, &err), FLASHMEM_OK);
        void  *text;
        size_t bytes, images = 0, parts = 0;
        assert_int_equal(fm_file_load(trace, 1 << 26, &text, &bytes, &err), FLASHMEM_OK);
        for (const char *at = text; (at = strstr(at, "\"image ")); at++)
            images++, parts += strchr(at, '[') < strchr(at, ',');
        uint32_t all = model->replay.convert_count, once = 0;
        for (uint32_t c = 0; c < all; c++)
            once += model->replay.objects[model->replay.images[model->replay.converts[c].image].object].stays;
        assert_int_equal(images, 2 * all - once); /* what stays is converted in the first run only */
        assert_true(!texture || (once > 0 && parts > 5));
        free(text);
        unlink(trace);
        flashmem_model_close(model);
        fm_synthetic_free(&inputs);
    }
}

/* The plan as data: what the pack's plan decides, by launches. */
static void test_overlap__described_as_data(void **state) {
    (void)state;
    fm_synthetic         what = { .seed = 2, .steps = 6, .weight_bytes = 5u << 19, .texture = 1 };
    overlap_taste        taste = { .chunk_bytes = 65536, .preload = 30, .window = 4, .loads = 3, .seed = 7 };
    flashmem_run_options o = options_for(FLASHMEM_OBJECTIVE_OPG, FLASHMEM_BUDGET_OFF, 0);
    flashmem_error       err = { 0 };
    flashmem_model      *model;
    const flashmem_plan *plan;
    fm_synthetic_write(&what, path);
    add(&taste, 1 << 20);
    o.plan_only = 1;
    assert_int_equal(flashmem_model_open(path, &o, &model, &err), FLASHMEM_OK);
    assert_int_equal(flashmem_model_plan(model, &plan, &err), FLASHMEM_OK);
    const fm_stored_plan *stored = model->overlap.plan;
    uint32_t              preloads = 0;
    uint64_t              chunks = 0, wanted = 0, bytes = 0, beside = 0;
    assert_string_equal(plan->objective_kind, "opg");
    assert_string_equal(plan->solver, "by chance");
    assert_int_equal(plan->chunk_bytes, 65536);
    assert_int_equal(plan->load_count, stored->load_count);
    assert_int_equal(plan->weight_count, plan->object_count);
    for (uint32_t w = 0; w < plan->weight_count; w++) {
        const flashmem_plan_weight *weight = &plan->weights[w];
        preloads += weight->preload;
        if (weight->preload) continue;
        wanted += weight->chunks;
        bytes += weight->bytes;
        for (uint32_t l = weight->first_load; l < weight->first_load + weight->load_count; l++) {
            assert_true(plan->loads[l].step < weight->first);
            chunks += plan->loads[l].chunks;
        }
    }
    for (uint32_t k = 0; k < plan->step_count; k++) beside += plan->steps[k].load_bytes;
    assert_int_equal(preloads, stored->preload_count);
    assert_int_equal(chunks, wanted);
    assert_int_equal(beside, bytes);
    assert_int_equal((uint64_t)plan->peak_chunks * 65536, stored->m_peak_bytes); /* made for just what it holds */
    assert_true(preloads > 0 && plan->preload_bytes > 0);
    flashmem_model_close(model);
}

/* --- refusals ----------------------------------------------------------------------------------------------------- */

static void expect_refused(const flashmem_run_options *o, flashmem_status status, const char *part) {
    flashmem_error  err = { 0 };
    flashmem_model *model = (void *)1;
    flashmem_status found = flashmem_model_open(path, o, &model, &err);
    if (found != status || !strstr(err.message, part) || !strstr(err.message, path))
        fail_msg("%s '%s', wanted %s '%s'", flashmem_status_name(found), err.message, flashmem_status_name(status),
                 part);
    assert_null(model);
}

static void test_overlap__refuses_with_the_command_that_helps(void **state) {
    (void)state;
    fm_synthetic         what = { .seed = 3, .steps = 4, .weight_bytes = 5u << 19 };
    overlap_taste        taste = { .chunk_bytes = 65536, .window = 4, .loads = 2, .seed = 1 };
    flashmem_run_options o = options_for(FLASHMEM_OBJECTIVE_OPG, FLASHMEM_BUDGET_OFF, 0);
    flashmem_error       err = { 0 };
    char                 command[300];
    fm_synthetic_write(&what, path);
    snprintf(command, sizeof command, "`flashmem plan %s --objective opg --save`", path);
    expect_refused(&o, FLASHMEM_UNSUPPORTED, "no overlap plan for program 0 by memory path 'in-place'");
    expect_refused(&o, FLASHMEM_UNSUPPORTED, command);
    add(&taste, 1 << 20);
    outputs_of(&o, NULL, 1, NULL);
    o.slab_bytes = 2 << 20;
    flashmem_model *model;
    assert_int_equal(flashmem_model_open(path, &o, &model, &err), FLASHMEM_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "in the slabs that it was made for"));
    o.slab_bytes = 0;
    /* The plan of another pack of the same program, cut another way. */
    fm_pack            pack;
    fm_stored_overlaps all;
    fm_stored_overlap  one;
    fm_arena          *arena = fm_arena_create();
    fm_error_clear(&err);
    assert_int_equal(fm_pack_open(&pack, path, &err), FLASHMEM_OK);
    assert_int_equal(fm_pack_read_overlaps(&pack, arena, &all, &err), FLASHMEM_OK);
    assert_true(fm_stored_overlaps_find(&all, 0, FLASHMEM_PATH_IN_PLACE, &one));
    fm_stored_plan other = *one.plan;
    other.slab_bytes = 0;
    fm_pack_close(&pack);
    assert_int_equal(fm_pack_append_overlap(path, &(fm_stored_overlap){ &other, one.preloads, one.loads }, &err),
                     FLASHMEM_OK);
    expect_refused(&o, FLASHMEM_UNSUPPORTED, "made for another cut");
    expect_refused(&o, FLASHMEM_UNSUPPORTED, command);
    other = *one.plan;
    other.m_peak_bytes = 65536;
    assert_int_equal(fm_pack_append_overlap(path, &(fm_stored_overlap){ &other, one.preloads, one.loads }, &err),
                     FLASHMEM_OK);
    expect_refused(&o, FLASHMEM_BAD_PACK, "its M_peak is 1");
    expect_refused(&o, FLASHMEM_BAD_PACK, command);
    fm_arena_destroy(arena);
}

static uint8_t *load(size_t *bytes, fm_pack_header *header) {
    void          *data;
    flashmem_error err = { 0 };
    assert_int_equal(fm_file_load(path, 1 << 28, &data, bytes, &err), FLASHMEM_OK);
    memcpy(header, data, sizeof *header);
    return data;
}

static void write_at(uint64_t offset, const void *from, size_t bytes) {
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, from, bytes, (off_t)offset), bytes);
    close(fd);
}

/* Any words in the section, with or without right checksums: refused, or a plan that still gives the right outputs. */
static void test_overlap__damaged_sections(void **state) {
    (void)state;
    int refused = 0, replayed = 0;
    for (int texture = 0; texture < 2; texture++) {
        fm_synthetic         what = { .seed = 4, .steps = 3, .weight_bytes = 3u << 19, .texture = texture };
        overlap_taste        taste = { .chunk_bytes = 65536, .preload = 20, .window = 4, .loads = 3, .seed = 2 };
        flashmem_run_options o = options_for(FLASHMEM_OBJECTIVE_OPG, FLASHMEM_BUDGET_OFF, 0);
        fm_pack_header       header, good;
        size_t               bytes;
        fm_synthetic_write(&what, path);
        uint64_t expected = timed_outputs();
        add(&taste, 1 << 20);
        uint8_t *data = load(&bytes, &good), *section = data + good.overlaps.offset;
        section[20] ^= 1;
        write_at(good.overlaps.offset, section, good.overlaps.bytes);
        expect_refused(&o, FLASHMEM_BAD_PACK, "do not match their checksum");
        section[20] ^= 1;
        assert_true(timed_outputs() == expected);
        uint8_t *copy = malloc(good.overlaps.bytes);
        srand(3);
        for (int i = 0; i < 150; i++) {
            uint32_t words[] = { 0, 1, UINT32_MAX, (uint32_t)rand(), (uint32_t)rand() % 8, (uint32_t)rand() % 40 };
            uint64_t hash;
            flashmem_error err;
            memcpy(copy, section, good.overlaps.bytes);
            memcpy(copy + (uint64_t)rand() % (good.overlaps.bytes / 4) * 4, &words[rand() % 6], 4);
            header = good;
            header.overlaps_checksum = fm_hash(copy, good.overlaps.bytes);
            header.header_checksum = 0;
            header.header_checksum = fm_hash(&header, sizeof header);
            write_at(good.overlaps.offset, copy, good.overlaps.bytes);
            write_at(0, &header, sizeof header);
            flashmem_status status = run_once(&o, NULL, 1, &hash, NULL, &err);
            if (status == FLASHMEM_OK) assert_true(hash == expected);
            else if (status != FLASHMEM_BAD_PACK && status != FLASHMEM_UNSUPPORTED) fail_msg("%d: %s", i, err.message);
            replayed += status == FLASHMEM_OK;
            refused += status != FLASHMEM_OK;
        }
        free(copy);
        free(data);
    }
    assert_true(refused > 100 && replayed > 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_overlap__same_outputs_in_place),
        cmocka_unit_test(test_overlap__same_outputs_through_images),
        cmocka_unit_test(test_overlap__waits_for_every_load_and_release),
        cmocka_unit_test(test_overlap__rows_end_after_their_conversions),
        cmocka_unit_test(test_overlap__launches_wait_for_what_the_plan_loads),
        cmocka_unit_test(test_overlap__described_as_data),
        cmocka_unit_test(test_overlap__refuses_with_the_command_that_helps),
        cmocka_unit_test(test_overlap__damaged_sections),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
