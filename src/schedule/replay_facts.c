/* What planning needs to know of a program before any slab size is chosen: which steps use each weight, object and value. */
#include <inttypes.h>
#include <stdlib.h>

#include "schedule/replay_internal.h"

static uint64_t align_up(uint64_t x, uint64_t to) { return (x + to - 1) / to * to; }

static uint32_t root_of(const fm_program *p, uint32_t v) {
    return p->values[v].alias == FM_NONE ? v : p->values[v].alias;
}

static void touch(uint32_t step, uint32_t *first, uint32_t *last) {
    if (*first == FM_NONE) *first = step;
    *last = step;
}

static flashmem_status use_weight(fm_replay_facts *f, uint32_t s, const fm_arg *arg, flashmem_error *err) {
    const fm_program *p = f->program;
    const fm_step    *step = &p->steps[s];
    uint32_t          w = p->values[arg->value].weight;
    const fm_weight  *weight = &f->pack->weights[w];
    fm_weight_use    *use = &f->weights[w];
    if (weight->kind == FM_WEIGHT_ROWS) {
        uint64_t bytes = FM_ROW_SLOTS * fm_replay_row_slot_bytes(weight->row_bytes);
        if (bytes > f->staging) f->staging = bytes;
        return FLASHMEM_OK;
    }
    if (use->first == FM_NONE)
        use->cuttable = weight->kind == FM_WEIGHT_PANELS && f->pack->objects[weight->object].weight == w;
    use->cuttable = use->cuttable && step->split_value == arg->value;
    touch(s, &use->first, &use->last);
    if (arg->kind == FM_ARG_IMAGE && f->request->device.memory_path != FLASHMEM_PATH_TEXTURE_COPY)
        return fm_fail(err, FLASHMEM_UNSUPPORTED,
                       "step %u ('%s') reads weights as images: use the memory path texture-copy", s,
                       fm_program_string(p, step->name));
    if (arg->kind == FM_ARG_IMAGE) use->image = true;
    else use->buffer = true;
    return FLASHMEM_OK;
}

static flashmem_status check_image(const fm_replay_facts *f, uint32_t w, flashmem_error *err) {
    const fm_weight *weight = &f->pack->weights[w];
    uint64_t         limit = f->request->device.image_limit ? f->request->device.image_limit : UINT32_MAX;
    uint64_t         height = f->weights[w].cuttable ? weight->unit_panels : weight->panels;
    if (weight->k <= limit && height <= limit) return FLASHMEM_OK;
    return fm_fail(err, FLASHMEM_UNSUPPORTED,
                   "weight '%s': an image of %" PRIu64 " x %" PRIu64 " texels, this device has at most %" PRIu64
                   " a side: use another memory path",
                   fm_program_string(f->program, weight->name), weight->k, height, limit);
}

static void analyse_values(fm_replay_facts *f) {
    const fm_program *p = f->program;
    for (uint32_t v = 0; v < p->value_count; v++) {
        const fm_value *value = &p->values[v];
        fm_value_use   *use = &f->values[v], *root = &f->values[root_of(p, v)];
        bool            external = f->request->external && f->request->external[v];
        if (value->kind == FM_VALUE_WEIGHT) continue;
        use->bytes = align_up((uint64_t)fm_program_expr(p, value->bytes), f->request->device.value_align);
        use->placed = root == use && !external &&
                      (use->first != FM_NONE || value->kind == FM_VALUE_INPUT || value->kind == FM_VALUE_OUTPUT ||
                       value->kind == FM_VALUE_STATE);
        if (value->kind == FM_VALUE_CONSTANT || value->kind == FM_VALUE_STATE) root->always = true;
        if (value->kind == FM_VALUE_INPUT) root->from_begin = true;
        if (value->kind == FM_VALUE_OUTPUT) root->to_end = true;
    }
}

static int by_first(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void order_objects(fm_replay_facts *f) {
    uint32_t  count = f->pack->object_count;
    uint64_t *keys = fm_arena_array(f->arena, count, sizeof *keys);
    for (uint32_t o = 0; o < count; o++) f->object_first[o] = FM_NONE;
    for (uint32_t w = 0; w < f->pack->weight_count; w++) {
        const fm_weight_use *use = &f->weights[w];
        if (use->first == FM_NONE) continue;
        uint32_t o = f->pack->weights[w].object;
        if (use->first < f->object_first[o]) f->object_first[o] = use->first;
        if (use->last > f->object_last[o]) f->object_last[o] = use->last;
    }
    for (uint32_t o = 0; o < count; o++)
        if (f->object_first[o] != FM_NONE) keys[f->order_count++] = (uint64_t)f->object_first[o] << 32 | o;
    qsort(keys, f->order_count, sizeof *keys, by_first);
    for (uint32_t i = 0; i < f->order_count; i++) f->order[i] = (uint32_t)keys[i];
}

flashmem_status fm_replay_check_images(const fm_replay_facts *f, flashmem_error *err) {
    for (uint32_t w = 0; w < f->pack->weight_count; w++)
        if (f->weights[w].image) FM_TRY(check_image(f, w, err));
    return FLASHMEM_OK;
}

static flashmem_status check_device(const flashmem_device *device, flashmem_error *err) {
    if (device->value_align & (device->value_align - 1) || device->disk_bytes_per_second <= 0)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT,
                       "alignment of %" PRIu64 " bytes, disk rate of %g bytes per second", device->value_align,
                       device->disk_bytes_per_second);
    if (device->memory_path != FLASHMEM_PATH_IN_PLACE && device->memory_path != FLASHMEM_PATH_TEXTURE_COPY)
        return fm_fail(err, FLASHMEM_UNSUPPORTED, "memory path %d is not built yet: use in-place or texture-copy",
                       device->memory_path);
    return FLASHMEM_OK;
}

flashmem_status fm_replay_analyse(fm_replay_facts *f, const fm_packed *pack, const fm_program *p,
                                  const fm_replay_request *request, fm_arena *arena, flashmem_error *err) {
    *f = (fm_replay_facts){ .pack = pack, .program = p, .checked = *request, .arena = arena };
    f->request = &f->checked;
    if (f->checked.device.value_align == 0) f->checked.device.value_align = 128;
    FM_TRY(check_device(&f->checked.device, err));
    f->weights = fm_arena_array(f->arena, f->pack->weight_count, sizeof *f->weights);
    f->values = fm_arena_array(f->arena, p->value_count, sizeof *f->values);
    f->order = fm_arena_array(f->arena, f->pack->object_count, sizeof *f->order);
    f->object_first = fm_arena_array(f->arena, f->pack->object_count, sizeof *f->object_first);
    f->object_last = fm_arena_array(f->arena, f->pack->object_count, sizeof *f->object_last);
    for (uint32_t w = 0; w < f->pack->weight_count; w++) f->weights[w].first = FM_NONE;
    for (uint32_t v = 0; v < p->value_count; v++) f->values[v].first = FM_NONE;
    for (uint32_t s = 0; s < p->step_count; s++) {
        const fm_step *step = &p->steps[s];
        for (uint32_t a = step->first_arg; a < step->first_arg + step->arg_count; a++) {
            const fm_arg *arg = &p->args[a];
            if (arg->kind > FM_ARG_IMAGE) continue;
            if (p->values[arg->value].kind == FM_VALUE_WEIGHT) FM_TRY(use_weight(f, s, arg, err));
            else touch(s, &f->values[root_of(p, arg->value)].first, &f->values[root_of(p, arg->value)].last);
        }
    }
    FM_TRY(fm_replay_check_images(f, err));
    analyse_values(f);
    order_objects(f);
    return FLASHMEM_OK;
}
