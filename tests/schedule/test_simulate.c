/* The simulator: by hand, against the recursion where both must agree, and its verifier against damage. */
#include <math.h>

#include "schedule/simulate.h"
#include "tests/base/cmocka_setup.h"
#include "tests/schedule/models.h"
#include "tests/schedule/overlaps.h"

static const fm_log quiet = { 0 };

static void plan(const model *m, const fm_replay_request *request, fm_arena *arena, fm_replay *r) {
    flashmem_error err = { 0 };
    if (fm_replay_make(&m->pack.packed, &m->program, request, &quiet, arena, r, &err) != FLASHMEM_OK ||
        fm_replay_verify(&m->pack.packed, &m->program, request, r, &err) != FLASHMEM_OK)
        fail_msg("%s", err.message);
}

static fm_simulate_input input_of(const model *m, const fm_replay *r, const flashmem_device *device) {
    return (fm_simulate_input){ &m->pack.packed, &m->program, r, device, NULL };
}

static void simulate(const fm_simulate_input *in, fm_arena *arena, flashmem_simulation *s) {
    flashmem_error err = { 0 };
    if (fm_simulate(in, arena, s, &err) != FLASHMEM_OK || fm_simulate_verify(in, s, &err) != FLASHMEM_OK)
        fail_msg("%s", err.message);
}

static bool near(double a, double b) { return fabs(a - b) < 1e-9; }

/* --- by hand ------------------------------------------------------------------------------------------------------ */

enum { MIB = 1 << 20 };

/* Two products, each with a weight of 1 MiB; a disk of 1 MiB/s, requests of 512 KiB. */
static void model_two(model *m, bool texture) {
    model_init(m, texture, false, 1);
    uint32_t x = model_value(m, FM_VALUE_INPUT, 1024, "x"), y = model_value(m, FM_VALUE_ACTIVATION, 4096, NULL),
             z = model_value(m, FM_VALUE_OUTPUT, 4096, "z");
    fm_builder_input(&m->builder, x);
    fm_builder_output(&m->builder, z);
    model_matmul(m, x, model_panels(m, 256, 1024), FM_NONE, y);
    model_matmul(m, y, model_panels(m, 256, 1024), FM_NONE, z);
    model_finish(m);
}

static flashmem_device slow_device(const model *m) {
    flashmem_device d = model_device(m);
    d.disk_bytes_per_second = MIB;
    d.request_seconds = 0.25;
    d.startup_seconds = 0.5;
    d.launch_seconds = 0;
    d.check_bytes_per_second = 2 * MIB;
    d.convert_bytes_per_second = m->texture ? MIB : 0;
    d.idle_watts = 1;
    d.compute_watts = 2;
    d.disk_watts = 4;
    return d;
}

static void test_simulate__by_hand(void **state) {
    (void)state;
    static const double seconds[2] = { 2, 3 };
    for (uint32_t depth = 1; depth <= 2; depth++) {
        model               m;
        fm_arena           *arena = fm_arena_create();
        fm_replay           r;
        flashmem_simulation s;
        model_two(&m, false);
        fm_replay_request request = {
            .device = slow_device(&m), .budget = UINT64_MAX, .read_depth = depth, .read_bytes = MIB / 2
        };
        plan(&m, &request, arena, &r);
        fm_simulate_input in = input_of(&m, &r, &request.device);
        in.step_seconds = seconds;
        simulate(&in, arena, &s);
        /* depth 1: 0.25 + 0.5 per request; depth 2: only the first request's 0.25 is not hidden */
        double first = depth == 1 ? 1.5 : 1.25, second = depth == 1 ? 3 : 2.25;
        assert_true(near(s.objects[0].request, 0) && near(s.objects[0].read_start, 0.25));
        assert_true(near(s.objects[0].read_end, first) && near(s.objects[0].arrival, first + 0.25));
        assert_true(near(s.objects[1].read_end, second) && near(s.objects[1].arrival, second + 0.25));
        assert_true(near(s.steps[0].start, first + 0.25) && near(s.steps[0].stall, first + 0.25 - 0.5));
        assert_true(near(s.steps[1].start, first + 2.25) && near(s.steps[1].stall, 0));
        assert_true(near(s.latency, first + 5.25) && near(s.stall, first - 0.25));
        assert_true(near(s.disk_seconds, 2) && near(s.check_seconds, 1) && near(s.compute_seconds, 5));
        assert_true(near(s.limit, 5.5) && s.read_bytes == 2 * MIB);
        assert_true(near(s.joules, s.latency + 2 * 5 + 4 * 2));
        model_free(&m);
        fm_arena_destroy(arena);
    }
}

/* Conversions are on the device, between launches, and wait for the object. */
static void test_simulate__conversions_by_hand(void **state) {
    (void)state;
    static const double seconds[2] = { 2, 3 };
    model               m;
    fm_arena           *arena = fm_arena_create();
    fm_replay           r;
    flashmem_simulation s;
    model_two(&m, true);
    fm_replay_request request = {
        .device = slow_device(&m), .budget = UINT64_MAX, .read_depth = 2, .read_bytes = MIB / 2
    };
    plan(&m, &request, arena, &r);
    fm_simulate_input in = input_of(&m, &r, &request.device);
    in.step_seconds = seconds;
    simulate(&in, arena, &s);
    assert_true(near(s.steps[0].stall, 1) && near(s.steps[0].convert, 1) && near(s.steps[0].start, 2.5));
    assert_true(near(s.steps[1].stall, 0) && near(s.steps[1].convert, 1) && near(s.steps[1].start, 5.5));
    assert_true(near(s.latency, 8.5) && near(s.convert_seconds, 2));
    model_free(&m);
    fm_arena_destroy(arena);
}

/* Rows go before the requests in flight, and delay them. */
static void test_simulate__rows_take_the_disk(void **state) {
    (void)state;
    model               m;
    fm_arena           *arena = fm_arena_create();
    fm_replay           r;
    flashmem_simulation s;
    model_gpt(&m, false, false, 16, 2, 512, 5000);
    fm_replay_request request = model_request(&m, UINT64_MAX);
    request.device.disk_bytes_per_second = 1e6;
    plan(&m, &request, arena, &r);
    fm_simulate_input in = input_of(&m, &r, &request.device);
    simulate(&in, arena, &s);
    double rows = 16 * 4096 / 1e6, first = (double)r.objects[0].bytes / 1e6;
    /* up at 0.035 s, when the second object's first request is on its way; 16 rows of 4 KiB after it */
    assert_true(first < 0.035 && r.objects[1].bytes > r.read_bytes);
    assert_true(near(s.steps[0].start, first + r.read_bytes / 1e6 + request.device.request_seconds));
    assert_true(s.steps[0].end - s.steps[0].start >= rows);
    double weights = 0;
    for (uint32_t o = 0; o < r.object_count; o++) weights += (double)r.objects[o].bytes;
    assert_true(s.objects[r.object_count - 1].read_end >= (weights + 16 * 4096) / 1e6 - 1e-9);
    assert_int_equal(s.read_bytes, (uint64_t)weights + 16 * 4096);
    model_free(&m);
    fm_arena_destroy(arena);
}

/* --- random models ------------------------------------------------------------------------------------------------ */

/* Half of each object's chunks under each of the two steps before its use, or preloaded. */
static const fm_policy_overlap *any_overlap(const fm_replay *ours, fm_arena *arena) {
    fm_policy_overlap *x = fm_arena_array(arena, 1, sizeof *x);
    uint8_t           *preload = fm_arena_array(arena, ours->object_count, 1);
    uint32_t          *z = fm_arena_array(arena, ours->object_count, sizeof *z);
    fm_policy_load    *loads = fm_arena_array(arena, 2 * (size_t)ours->object_count, sizeof *loads);
    for (uint32_t o = 0; o < ours->object_count; o++) {
        const fm_replay_object *object = &ours->objects[o];
        preload[o] = object->first < 2 || model_below(4) == 0;
        if (preload[o]) continue;
        z[o] = object->first - 2;
        loads[x->load_count++] = (fm_policy_load){ o, z[o], object->bytes / 2 };
        loads[x->load_count++] = (fm_policy_load){ o, z[o] + 1, object->bytes - object->bytes / 2 };
    }
    x->preload = preload;
    x->first_load = z;
    x->loads = loads;
    return x;
}

static void make_random(model *m, fm_replay_request *request, int seed) {
    srand((unsigned)seed * 13 + 2);
    if (seed % 8 == 0) model_gpt(m, seed % 16 == 0, true, 16, 3, 256, 9000);
    else model_random(m);
    *request = model_request(m, UINT64_MAX);
    request->once = true;
    request->slab_bytes = 4 << 20;
    request->read_depth = 1 + (uint32_t)model_below(20);
    request->read_bytes = 4096 << model_below(9);
    request->device.disk_bytes_per_second = 1e8 * (double)(1 + model_below(40));
    request->device.request_seconds = model_below(2) ? 1e-4 : 0;
    request->device.check_bytes_per_second = model_below(2) ? 2e9 : 0;
}

/* Makes the replay of policy i (FM_POLICIES: the timed plan) at some budget; false: it does not fit. */
static bool make_policy(const model *m, fm_replay_request *request, uint32_t i, fm_arena *arena, fm_replay *r) {
    fm_replay      ours;
    flashmem_error err = { 0 };
    request->policy = NULL;
    request->overlap = NULL;
    request->budget = UINT64_MAX;
    plan(m, request, arena, &ours);
    request->budget = model_below(3) ? ours.peak : ours.minimum;
    request->policy = fm_policy_name(i);
    if (i == FM_POLICY_PUBLISHED) request->overlap = any_overlap(&ours, arena);
    flashmem_status status = fm_replay_make(&m->pack.packed, &m->program, request, &quiet, arena, r, &err);
    if (status == FLASHMEM_OK) status = fm_replay_verify(&m->pack.packed, &m->program, request, r, &err);
    if (status != FLASHMEM_OK && status != FLASHMEM_BUDGET) fail_msg("%s: %s", request->policy, err.message);
    return status == FLASHMEM_OK;
}

/* Pieces converted before a step that reads rows. */
static void test_simulate__rows_wait_for_conversions(void **state) {
    (void)state;
    model               m;
    fm_arena           *arena = fm_arena_create();
    fm_replay           ours, r;
    flashmem_simulation s;
    flashmem_error      err = { 0 };
    srand(5);
    model_gpt(&m, true, true, 16, 2, 512, 9000);
    fm_replay_request request = model_request(&m, UINT64_MAX);
    request.device.convert_bytes_per_second = 1e7;
    request.slab_bytes = 4 << 20;
    plan(&m, &request, arena, &ours);
    fm_policy_overlap overlap = *any_overlap(&ours, arena);
    assert_true(overlap.load_count > 0 && overlap.loads[0].step == 0);
    request.policy = "published";
    request.overlap = &overlap;
    if (fm_replay_make(&m.pack.packed, &m.program, &request, &quiet, arena, &r, &err)) fail_msg("%s", err.message);
    fm_simulate_input in = input_of(&m, &r, &request.device);
    simulate(&in, arena, &s);
    assert_true(s.steps[0].convert > 0.01 && s.steps[0].start >= 0.035 + s.steps[0].convert);
    model_free(&m);
    fm_arena_destroy(arena);
}

static void test_simulate__every_policy_verifies(void **state) {
    (void)state;
    int done = 0, stalls = 0;
    for (int seed = 0; seed < 150; seed++) {
        for (uint32_t i = 0; i <= FM_POLICIES; i++) {
            model             m;
            fm_arena         *arena = fm_arena_create();
            fm_replay         r;
            fm_replay_request request;
            make_random(&m, &request, seed);
            if (make_policy(&m, &request, i, arena, &r)) {
                flashmem_simulation s, again;
                fm_simulate_input   in = input_of(&m, &r, &request.device);
                simulate(&in, arena, &s);
                simulate(&in, arena, &again);
                assert_true(s.latency == again.latency && s.average_bytes == again.average_bytes);
                done++;
                stalls += s.stall > 0;
            }
            model_free(&m);
            fm_arena_destroy(arena);
        }
    }
    assert_true(done > 700 && stalls > 300);
}

/* Launches wait for what a stored overlap plan wants there, used by them or not. */
static void test_simulate__stored_overlap_plans(void **state) {
    (void)state;
    int waits = 0;
    for (int seed = 0; seed < 60; seed++) {
        model               m;
        fm_arena           *arena = fm_arena_create();
        fm_replay_request   request;
        fm_replay           r;
        fm_program_cut      cut;
        made_overlap        made;
        flashmem_simulation s, loose;
        flashmem_error      err = { 0 };
        make_random(&m, &request, seed);
        request.device.disk_bytes_per_second = 2e7;
        if (fm_program_cut_make(&m.pack.packed, &m.program, &request, arena, &cut, &err)) fail_msg("%s", err.message);
        overlap_make(
            &made, &cut, &request,
            &(overlap_taste){ .chunk_bytes = 65536, .preload = 20, .window = 6, .loads = 3, .seed = (uint64_t)seed });
        request.stored = &made.stored;
        plan(&m, &request, arena, &r);
        fm_simulate_input in = input_of(&m, &r, &request.device);
        simulate(&in, arena, &s);
        r.arrival_count = 0;
        simulate(&in, arena, &loose);
        for (uint32_t k = 0; k < r.step_count; k++) waits += s.steps[k].start > loose.steps[k].start + 1e-6;
        overlap_free(&made);
        model_free(&m);
        fm_arena_destroy(arena);
    }
    assert_true(waits > 50);
}

/* Without what the recursion does not know (rows on the disk, checks, a bounded number of requests), both say the same; for
 * pieces the recursion waits for the whole object. */
static void test_simulate__agrees_with_the_recursion(void **state) {
    (void)state;
    int done = 0, sooner = 0;
    for (int seed = 1; seed < 200; seed++) {
        if (seed % 8 == 0) continue; /* rows */
        for (uint32_t i = 0; i <= FM_POLICIES; i++) {
            model             m;
            fm_arena         *arena = fm_arena_create();
            fm_replay         r;
            fm_replay_request request;
            make_random(&m, &request, seed);
            request.device.check_bytes_per_second = 0;
            if (seed % 2) request.read_depth = 1, request.device.request_seconds = 0;
            else request.read_depth = 256; /* every cost is hidden */
            if (make_policy(&m, &request, i, arena, &r)) {
                flashmem_simulation s;
                fm_simulate_input   in = input_of(&m, &r, &request.device);
                simulate(&in, arena, &s);
                if (i != FM_POLICY_PUBLISHED) {
                    assert_true(near(s.latency, r.latency) && near(s.stall, r.stall));
                    for (uint32_t k = 0; k < r.step_count; k++)
                        if (!near(s.steps[k].end, r.steps[k].end))
                            fail_msg("seed %d, policy %u, launch %u: ends at %.9f, the recursion's at %.9f", seed, i, k,
                                     s.steps[k].end, r.steps[k].end);
                    /* a request in flight has its memory already */
                    if (request.read_depth == 1 && fabs(s.average_bytes - r.average_bytes) > 1 + 1e-9 * r.average_bytes)
                        fail_msg("seed %d, policy %u: average %f, the recursion's is %f", seed, i, s.average_bytes,
                                 r.average_bytes);
                } else {
                    assert_true(s.latency <= r.latency + 1e-9);
                    sooner += s.latency < r.latency - 1e-9;
                }
                done++;
            }
            model_free(&m);
            fm_arena_destroy(arena);
        }
    }
    assert_true(done > 800 && sooner > 20);
}

/* --- the verifier ------------------------------------------------------------------------------------------------- */

typedef struct context {
    model                      m;
    fm_replay_request          request;
    fm_replay                  r;
    fm_simulate_input          in;
    flashmem_simulation        s;
    flashmem_simulated_step   *steps;
    flashmem_simulated_object *objects;
    flashmem_memory_point     *memory;
} context;

typedef struct damage {
    const char *name;
    bool (*apply)(context *c, uint32_t o, uint32_t k); /* false: does not apply */
    const char *message;
} damage;

#define DAMAGE(name, condition, ...)                       \
    static bool name(context *c, uint32_t o, uint32_t k) { \
        (void)o, (void)k;                                  \
        if (!(condition)) return false;                    \
        __VA_ARGS__;                                       \
        return true;                                       \
    }
DAMAGE(step_early, k > 0, c->steps[k].start -= 1e-3)
DAMAGE(step_short, 1, c->steps[k].end -= 1e-5)
DAMAGE(stall_hidden, c->steps[k].stall > 1e-5, c->steps[k].stall = 0)
DAMAGE(stall_negative, 1, c->steps[k].stall = -1e-4)
DAMAGE(convert_short, c->steps[k].convert > 1e-6, c->steps[k].convert /= 2)
DAMAGE(latency_wrong, 1, c->s.latency += 1e-3)
DAMAGE(requested_early, c->r.objects[o].after >= 0,
       c->objects[o].request = c->s.steps[c->r.objects[o].after].end - 1e-3)
DAMAGE(overtakes, o > 0 && c->objects[o - 1].request > 1e-3, c->objects[o].request = 0)
DAMAGE(read_before_request, 1, c->objects[o].read_start = c->objects[o].request - 1e-3)
DAMAGE(two_reads, o > 0, c->objects[o].read_start = c->objects[o - 1].read_end - 1e-3)
DAMAGE(read_fast, 1,
       c->objects[o].read_end = c->objects[o].read_start +
                                0.9 * (double)c->r.objects[o].bytes / c->in.device->disk_bytes_per_second)
DAMAGE(unchecked, c->in.device->check_bytes_per_second > 0, c->objects[o].arrival = c->objects[o].read_end)
DAMAGE(freed_late, !c->r.objects[o].resident, c->objects[o].freed += 1e-3)
DAMAGE(arrives_late, 1, c->objects[o].arrival = c->steps[c->r.step_count - 1].end + 1)
DAMAGE(bytes_wrong, 1, c->s.read_bytes++)
DAMAGE(disk_wrong, 1, c->s.disk_seconds *= 1.01)
DAMAGE(limit_high, 1, c->s.limit = c->s.latency * 1.01)
DAMAGE(memory_hidden, c->memory[0].objects > 0, c->memory[0].objects -= 4096)
DAMAGE(memory_wild, 1, c->memory[0].activations += c->r.peak + 1)
DAMAGE(memory_order, c->s.memory_count > 2, c->memory[1].at = c->s.latency + 1)
DAMAGE(peak_low, 1, c->s.peak_bytes--)
DAMAGE(average_wrong, 1, c->s.average_bytes *= 1.01)
DAMAGE(images_wrong, 1, c->s.image_bytes += 64)
DAMAGE(steps_missing, 1, c->s.step_count--)

static const damage damages[] = {
#define ROW(name, message) \
    { #name, name, message }
    ROW(step_early, ""),
    ROW(step_short, "takes another time"),
    ROW(stall_hidden, ""),
    ROW(stall_negative, "busy"),
    ROW(convert_short, ""),
    ROW(latency_wrong, ""),
    ROW(requested_early, ""),
    ROW(overtakes, ""),
    ROW(read_before_request, "before it is asked for"),
    ROW(two_reads, ""),
    ROW(read_fast, "faster than the disk"),
    ROW(unchecked, "unchecked"),
    ROW(freed_late, "another time than the plan"),
    ROW(arrives_late, "before object"),
    ROW(bytes_wrong, "bytes read"),
    ROW(disk_wrong, "add up"),
    ROW(limit_high, "faster than disk and kernels"),
    ROW(memory_hidden, "memory"),
    ROW(memory_wild, "reserved"),
    ROW(memory_order, "behind the next"),
    ROW(peak_low, "peak"),
    ROW(average_wrong, "average"),
    ROW(images_wrong, "images"),
    ROW(steps_missing, "launches"),
};

static void *copy_of(fm_arena *arena, const void *from, size_t bytes) {
    void *to = fm_arena_array(arena, 1, bytes);
    return memcpy(to, from, bytes);
}

static void test_simulate_verify__rejects_every_damage(void **state) {
    (void)state;
    for (size_t d = 0; d < sizeof damages / sizeof *damages; d++) {
        int done = 0;
        for (int seed = 0; seed < 400 && done < 12; seed++) {
            context        c;
            fm_arena      *arena = fm_arena_create();
            flashmem_error err = { 0 };
            make_random(&c.m, &c.request, seed);
            if (make_policy(&c.m, &c.request, (uint32_t)seed % (FM_POLICIES + 1), arena, &c.r) && c.r.object_count) {
                c.in = input_of(&c.m, &c.r, &c.request.device);
                simulate(&c.in, arena, &c.s);
                c.s.steps = c.steps = copy_of(arena, c.s.steps, c.s.step_count * sizeof *c.steps);
                c.s.objects = c.objects = copy_of(arena, c.s.objects, c.s.object_count * sizeof *c.objects);
                c.s.memory = c.memory = copy_of(arena, c.s.memory, c.s.memory_count * sizeof *c.memory);
                uint32_t o = (uint32_t)model_below(c.r.object_count), k = (uint32_t)model_below(c.r.step_count);
                if (damages[d].apply(&c, o, k)) {
                    done++;
                    flashmem_status status = fm_simulate_verify(&c.in, &c.s, &err);
                    if (status != FLASHMEM_INTERNAL || !strstr(err.message, damages[d].message))
                        fail_msg("%s: status %d '%s'", damages[d].name, status, err.message);
                }
            }
            model_free(&c.m);
            fm_arena_destroy(arena);
        }
        if (done < 8) fail_msg("%s: applied %d times", damages[d].name, done);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_simulate__by_hand),
        cmocka_unit_test(test_simulate__conversions_by_hand),
        cmocka_unit_test(test_simulate__rows_take_the_disk),
        cmocka_unit_test(test_simulate__rows_wait_for_conversions),
        cmocka_unit_test(test_simulate__every_policy_verifies),
        cmocka_unit_test(test_simulate__stored_overlap_plans),
        cmocka_unit_test(test_simulate__agrees_with_the_recursion),
        cmocka_unit_test(test_simulate_verify__rejects_every_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
