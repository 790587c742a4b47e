/* The verifier of replays rejects every kind of damage, in replays of random and of real-sized models. */
#include "tests/base/cmocka_setup.h"
#include "tests/schedule/models.h"

static flashmem_status make(const model *m, const fm_replay_request *request, fm_arena *arena, fm_replay *out,
                            flashmem_error *err) {
    fm_error_clear(err);
    FM_TRY(fm_replay_make(&m->pack.packed, &m->program, request, NULL, arena, out, err));
    return fm_replay_verify(&m->pack.packed, &m->program, request, out, err);
}

typedef struct context {
    model             m;
    fm_replay_request request;
    fm_replay         r;
} context;

typedef struct damage {
    const char *name;
    bool (*apply)(context *c); /* false: does not apply to this replay */
    const char *message;
} damage;

#define DAMAGE(name, condition, ...)                                                                     \
    static bool name(context *c) {                                                                       \
        fm_replay *r = &c->r;                                                                            \
        uint32_t   o = (uint32_t)model_below(r->object_count), k = (uint32_t)model_below(r->step_count); \
        (void)o, (void)k;                                                                                \
        if (!(condition)) return false;                                                                  \
        __VA_ARGS__;                                                                                     \
        return true;                                                                                     \
    }

static uint32_t placed_value(const context *c) {
    for (int i = 0; i < 1000; i++) {
        uint32_t v = (uint32_t)model_below(c->m.program.value_count);
        if (c->r.values[v].placed) return v;
    }
    return FM_NONE;
}
static bool is_slab(const context *c, uint32_t o) {
    const fm_replay_object *x = &c->r.objects[o];
    return x->weight != FM_NONE && c->m.weights[x->weight].kind == FM_WEIGHT_PANELS;
}

DAMAGE(launch_missing, r->step_count > 1, r->step_count--)
DAMAGE(launch_swapped, k + 1 < r->step_count && r->steps[k].step != r->steps[k + 1].step,
       r->steps[k].step = r->steps[k + 1].step)
DAMAGE(panels_skipped, r->steps[k].panels > 1, r->steps[k].panels--)
DAMAGE(panels_twice, r->steps[k].first_panel > 0, r->steps[k].first_panel--)
DAMAGE(object_elsewhere, 1, r->objects[o].object = c->m.pack.packed.object_count)
DAMAGE(object_shifted, 1, r->objects[o].offset += 4096)
DAMAGE(object_short, is_slab(c, o) && r->objects[o].bytes > 4096, r->objects[o].bytes -= 4096)
DAMAGE(object_units, 1, r->objects[o].units++)
DAMAGE(object_first_unit, 1, r->objects[o].first_unit++)
DAMAGE(object_weight, r->objects[o].weight != FM_NONE, r->objects[o].weight = FM_NONE)
DAMAGE(object_panels, is_slab(c, o), r->objects[o].panels++)
DAMAGE(object_life, r->objects[o].last > r->objects[o].first, r->objects[o].first = r->objects[o].last + 1)
DAMAGE(object_last, 1, r->objects[o].last = r->step_count)
DAMAGE(object_dies_early, r->objects[o].last > r->objects[o].first, r->objects[o].last--)
DAMAGE(reads_unordered, o > 0 && r->objects[o].first > r->objects[o - 1].first, fm_replay_object t = r->objects[o];
       r->objects[o] = r->objects[o - 1]; r->objects[o - 1] = t)
DAMAGE(after_range, 1, r->objects[o].after = (int32_t)r->step_count)
DAMAGE(after_late, !r->objects[o].wrap && !r->objects[o].resident, r->objects[o].after = (int32_t)r->objects[o].first)
DAMAGE(after_overtakes,
       o > 0 && !r->objects[o].wrap && !r->objects[o - 1].wrap && r->objects[o - 1].after >= 0 &&
           !r->objects[o].resident,
       r->objects[o].after = FM_AFTER_START)
DAMAGE(after_over_itself, r->objects[o].wrap && r->objects[o].last > 0 && !r->objects[o].images,
       r->objects[o].after = (int32_t)r->objects[o].last - 1)
DAMAGE(resident_waits, r->objects[o].resident, r->objects[o].after = 0)
DAMAGE(resident_released, r->objects[o].resident && r->objects[o].first > 0, r->objects[o].wrap = 1)
DAMAGE(staged_in_place, !r->objects[o].staged, r->objects[o].staged = 1)
DAMAGE(staged_not, r->objects[o].staged, r->objects[o].staged = 0)
DAMAGE(use_missing, r->steps[k].object_count > 0, r->steps[k].object_count--)
DAMAGE(use_range, r->steps[k].object_count > 0, r->steps[k].first_object = r->use_count)
DAMAGE(use_index, r->steps[k].object_count > 0, r->uses[r->steps[k].first_object] = r->object_count)
DAMAGE(value_unplaced, placed_value(c) != FM_NONE, r->values[placed_value(c)].placed = false)
DAMAGE(value_small, placed_value(c) != FM_NONE, r->values[placed_value(c)].bytes = 0)
DAMAGE(value_short_life, placed_value(c) != FM_NONE, uint32_t v = placed_value(c);
       r->values[v].to = r->values[v].from - 1)
DAMAGE(value_misplaced, placed_value(c) != FM_NONE, r->values[placed_value(c)].offset += 1)
DAMAGE(value_outside, placed_value(c) != FM_NONE,
       r->values[placed_value(c)].offset = r->region_bytes[0] / 4096 * 4096 + 4096)
DAMAGE(value_region, placed_value(c) != FM_NONE, r->values[placed_value(c)].region = r->region_count)
DAMAGE(place_misaligned, 1, r->objects[o].place += 512)
DAMAGE(place_outside, 1, r->objects[o].place = UINT64_MAX / 4096 * 4096)
DAMAGE(region_small, 1, r->region_bytes[0]--)
DAMAGE(regions_many, 1, r->region_count = 65)
DAMAGE(peak_wrong, 1, r->peak++)
DAMAGE(over_budget, 1, c->request.minimum = false; c->request.budget = r->peak - 1)
DAMAGE(staging_wrong, 1, r->staging_bytes += 4096)
DAMAGE(minimum_wrong, r->minimum_bound > 0, r->minimum = r->minimum_bound - 1)
DAMAGE(depth_zero, 1, r->read_depth = 0)
DAMAGE(request_early, o > 0, r->objects[o].request = r->objects[o - 1].request - 1; r->objects[o].arrival += 0)
DAMAGE(arrival_early, r->objects[o].bytes > 1 << 16, r->objects[o].arrival = r->objects[o].request)
DAMAGE(start_early, k > 0, r->steps[k].start = r->steps[k - 1].end - 1e-6)
DAMAGE(image_missing, r->objects[o].images > 0, r->objects[o].images--)
DAMAGE(image_count, r->image_count > 0, r->image_count--)
DAMAGE(image_panels, r->image_count > 0, r->images[model_below(r->image_count)].panels++)
DAMAGE(image_source, r->image_count > 0, r->images[model_below(r->image_count)].source += 64)
DAMAGE(image_object, r->image_count > 0, r->images[model_below(r->image_count)].object++)
DAMAGE(image_late, r->convert_count > 0, r->converts[model_below(r->convert_count)].before_step++)
DAMAGE(image_early, r->convert_count > 0, fm_replay_convert *x = &r->converts[model_below(r->convert_count)];
       if (x->before_step == 0 || x->before_step > r->objects[r->images[x->image].object].first) return false;
       x->before_step--)
DAMAGE(convert_missing, r->convert_count > 0, r->convert_count--)
DAMAGE(convert_none, r->image_count > 0, r->images[model_below(r->image_count)].converts = 0)
DAMAGE(convert_twice, r->image_count > 1, r->images[model_below(r->image_count - 1) + 1].first_convert--)
DAMAGE(convert_part, r->convert_count > 0, r->converts[model_below(r->convert_count)].panels--)
DAMAGE(convert_shifted, r->convert_count > 0, r->converts[model_below(r->convert_count)].first_panel++)
DAMAGE(convert_elsewhere, r->image_count > 1, r->converts[model_below(r->convert_count)].image ^= 1)
DAMAGE(freed_early, r->objects[o].freed > 0, r->objects[o].freed--)
DAMAGE(freed_late, r->objects[o].staged, r->objects[o].freed++)
DAMAGE(image_pool, r->image_count > 0, r->images[model_below(r->image_count)].image = r->pool_count)
DAMAGE(pool_small, r->pool_count > 0, fm_replay_pool_image *p = &r->pool[model_below(r->pool_count)]; p->height = 1)
DAMAGE(pool_bytes, r->pool_count > 0, r->pool[model_below(r->pool_count)].bytes++)
DAMAGE(pool_sum, r->pool_count > 0, r->image_bytes += 4096; r->peak += 4096)
DAMAGE(pool_limit, r->pool_count > 0, c->request.device.image_limit = r->pool[0].width > 1 ? r->pool[0].width - 1 : 1)

/* Two things that live at the same time get the same place. */
static bool objects_collide(context *c) {
    fm_replay *r = &c->r;
    for (uint32_t o = 1; o < r->object_count; o++)
        if (!r->objects[o].images && !r->objects[o - 1].images && r->objects[o].first <= r->objects[o - 1].last &&
            r->objects[o].bytes <= r->objects[o - 1].bytes) {
            r->objects[o].place = r->objects[o - 1].place;
            r->objects[o].region = r->objects[o - 1].region;
            return true;
        }
    return false;
}
static bool object_on_value(context *c) {
    fm_replay *r = &c->r;
    for (uint32_t v = 0; v < c->m.program.value_count; v++)
        for (uint32_t o = 0; o < r->object_count && r->values[v].placed; o++)
            if (r->values[v].from <= (int32_t)r->objects[o].first && (int32_t)r->objects[o].first <= r->values[v].to) {
                r->values[v].offset = r->objects[o].place;
                r->values[v].region = r->objects[o].region;
                return r->values[v].offset + r->values[v].bytes <= r->region_bytes[r->values[v].region];
            }
    return false;
}
/* Read one step too early, into memory that is still used. */
static bool read_too_soon(context *c) {
    fm_replay *r = &c->r;
    for (uint32_t o = 0; o < r->object_count; o++) {
        fm_replay_object *x = &r->objects[o];
        if (x->resident || x->wrap || x->after < 0) continue;
        bool first = true; /* of the reads that wait for its step */
        for (uint32_t p = 0; p < o; p++)
            first = first && (r->objects[p].resident || r->objects[p].wrap || r->objects[p].after < x->after);
        for (uint32_t p = 0; p < o && first; p++)
            if (!r->objects[p].resident && !r->objects[p].images && (int32_t)r->objects[p].last == x->after &&
                r->objects[p].region == x->region && r->objects[p].place < x->place + x->bytes &&
                x->place < r->objects[p].place + r->objects[p].bytes) {
                x->after--;
                return true;
            }
    }
    return false;
}
/* The image of a weight that is used again later is overwritten in between. */
static bool pool_shared(context *c) {
    fm_replay *r = &c->r;
    for (uint32_t o = 0; o < r->object_count; o++) {
        const fm_replay_object *object = &r->objects[o];
        if (!object->images || object->weight == FM_NONE || r->steps[object->last].image != object->first_image)
            continue;
        const fm_replay_image      *kept = &r->images[object->first_image];
        const fm_replay_pool_image *pool = &r->pool[kept->image];
        for (uint32_t i = 0; i < r->image_count; i++) {
            fm_replay_image *x = &r->images[i];
            const fm_weight *w = &c->m.weights[x->weight];
            uint32_t         made = r->converts[x->first_convert].before_step;
            if (x == kept || made <= r->converts[kept->first_convert].before_step || made > object->last) continue;
            if (pool->width < w->k || pool->height < x->panels || (pool->half != 0) != (w->format == FM_WEIGHT_F16))
                continue;
            x->image = kept->image;
            return true;
        }
    }
    return false;
}

#define ROW(name, message) \
    { #name, name, message }
static const damage damages[] = {
    ROW(launch_missing, ""),
    ROW(launch_swapped, ""),
    ROW(panels_skipped, ""),
    ROW(panels_twice, "is next"),
    ROW(object_elsewhere, "of the pack"),
    ROW(object_shifted, ""),
    ROW(object_short, ""),
    ROW(object_units, "checksum units"),
    ROW(object_first_unit, "checksum units"),
    ROW(object_weight, "the pack says"),
    ROW(object_panels, ""),
    ROW(object_life, "used from step"),
    ROW(object_last, "used from step"),
    ROW(object_dies_early, ""),
    ROW(reads_unordered, ""),
    ROW(after_range, "read after step"),
    ROW(after_late, ""),
    ROW(after_overtakes, "ahead of it"),
    ROW(after_over_itself, ""),
    ROW(resident_waits, "resident and waits"),
    ROW(resident_released, "resident and waits"),
    ROW(staged_in_place, "staged, but read where it lies"),
    ROW(staged_not, "not staged, but only read as images"),
    ROW(use_missing, ""),
    ROW(use_range, "uses"),
    ROW(use_index, "object"),
    ROW(value_unplaced, "has no place"),
    ROW(value_small, "0 bytes"),
    ROW(value_short_life, "kept for steps"),
    ROW(value_misplaced, "aligned"),
    ROW(value_outside, "leaves region"),
    ROW(value_region, "region"),
    ROW(place_misaligned, "aligned"),
    ROW(place_outside, "leaves region"),
    ROW(region_small, ""),
    ROW(regions_many, "65 regions"),
    ROW(peak_wrong, "peak"),
    ROW(over_budget, "above the budget"),
    ROW(staging_wrong, "staging"),
    ROW(minimum_wrong, ""),
    ROW(depth_zero, "0 reads"),
    ROW(request_early, "requested too early"),
    ROW(arrival_early, "arrives too early"),
    ROW(start_early, ""),
    ROW(image_missing, ""),
    ROW(image_count, ""),
    ROW(image_panels, ""),
    ROW(image_source, "do not lie"),
    ROW(image_object, "object"),
    ROW(image_late, ""),
    ROW(image_early, ""),
    ROW(convert_missing, "conversions"),
    ROW(convert_none, "conversions"),
    ROW(convert_twice, "conversions"),
    ROW(convert_part, ""),
    ROW(convert_shifted, "is next"),
    ROW(convert_elsewhere, "is next"),
    ROW(freed_early, "freed after"),
    ROW(freed_late, "freed after"),
    ROW(image_pool, "pool image"),
    ROW(pool_small, "texels in a pool image"),
    ROW(pool_bytes, "pool image"),
    ROW(pool_sum, "counted"),
    ROW(pool_limit, "pool image"),
    ROW(objects_collide, "overlap"),
    ROW(object_on_value, "overlap"),
    ROW(read_too_soon, "overlap"),
    ROW(pool_shared, "at the same time"),
};

static void test_replay_verify__rejects_every_damage(void **state) {
    (void)state;
    for (size_t d = 0; d < sizeof damages / sizeof damages[0]; d++) {
        int done = 0, missed = 0;
        for (int seed = 0; seed < 1500 && done < 15; seed++) {
            context        c;
            fm_arena      *arena = fm_arena_create();
            flashmem_error err = { 0 };
            srand((unsigned)seed * 3 + 1);
            if (seed % 8 == 0) model_gpt(&c.m, seed % 16 == 0, true, 16, 2, 256, 9000);
            else model_random(&c.m);
            c.request = model_request(&c.m, UINT64_MAX);
            c.request.minimum = seed % 3 == 0;
            c.request.automatic = seed % 3 == 1;
            assert_int_equal(make(&c.m, &c.request, arena, &c.r, &err), FLASHMEM_OK);
            if (c.r.object_count && damages[d].apply(&c)) {
                done++;
                flashmem_status status = fm_replay_verify(&c.m.pack.packed, &c.m.program, &c.request, &c.r, &err);
                if (status == FLASHMEM_OK) missed++;
                else if (status != FLASHMEM_INTERNAL || !strstr(err.message, damages[d].message))
                    fail_msg("%s: status %d '%s'", damages[d].name, status, err.message);
            }
            model_free(&c.m);
            fm_arena_destroy(arena);
        }
        if (done < 10 || missed) fail_msg("%s: applied %d times, missed %d", damages[d].name, done, missed);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replay_verify__rejects_every_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
