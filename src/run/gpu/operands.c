/* Where every argument of every launch lies.  The program says which value; the plan says where values and objects lie
 * at that launch; nothing of it changes while stepping. */
#include "run/gpu/operands.h"

#include <inttypes.h>

#include "base/hash.h"

uint32_t fm_value_root(const fm_program *program, uint32_t v) {
    return program->values[v].alias == FM_NONE ? v : program->values[v].alias; /* aliases have no aliases: verified */
}

/* Numbers distinct memory ranges; open addressing. */
typedef struct range_key {
    uint64_t region, offset, bytes;
} range_key;
typedef struct range_table {
    range_key *keys;
    uint32_t  *slots; /* slot + 1, 0 = empty */
    uint32_t   capacity, count;
} range_table;

static uint32_t range_slot(range_table *table, const fm_operand *operand) {
    uint64_t  where = operand->region == FM_NONE ? operand->value : operand->offset;
    range_key key = { operand->region, where, operand->bytes };
    for (uint32_t at = (uint32_t)(fm_hash(&key, sizeof key) % table->capacity);; at = (at + 1) % table->capacity) {
        if (!table->slots[at]) {
            table->keys[at] = key;
            table->slots[at] = ++table->count;
        }
        const range_key *k = &table->keys[at];
        if (k->region == key.region && k->offset == key.offset && k->bytes == key.bytes) return table->slots[at] - 1;
    }
}

typedef struct maker {
    const fm_gpu_setup *setup;
    range_table         ranges;
    flashmem_error     *err;
} maker;

static const char *step_name(const maker *m, uint32_t k) {
    const fm_program *p = m->setup->program;
    return fm_program_string(p, p->steps[m->setup->replay->steps[k].step].name);
}

/* The panels that launch k computes of its split weight. */
static void part_of(const maker *m, uint32_t k, const fm_weight *weight, uint64_t *first, uint64_t *panels) {
    const fm_replay_step *rs = &m->setup->replay->steps[k];
    *first = rs->panels ? rs->first_panel : 0;
    *panels = rs->panels ? rs->panels : weight->panels;
}

/* The range of the weight's object that launch k reads through value v. */
static void needed_range(const maker *m, uint32_t k, uint32_t v, uint64_t *offset, uint64_t *bytes) {
    const fm_program *p = m->setup->program;
    const fm_weight  *weight = &m->setup->pack->packed.weights[p->values[v].weight];
    *offset = weight->object_offset;
    *bytes = (uint64_t)fm_program_expr(p, p->values[v].bytes);
    if (p->steps[m->setup->replay->steps[k].step].split_value != v) return;
    uint64_t first, panels;
    part_of(m, k, weight, &first, &panels);
    *offset += first * weight->panel_bytes;
    *bytes = panels * weight->panel_bytes;
}

static flashmem_status find_object(const maker *m, uint32_t k, uint32_t v, fm_operand *operand) {
    const fm_replay *r = m->setup->replay;
    const fm_weight *weight = &m->setup->pack->packed.weights[m->setup->program->values[v].weight];
    uint64_t         offset, bytes;
    needed_range(m, k, v, &offset, &bytes);
    for (uint32_t u = 0; u < r->steps[k].object_count; u++) {
        uint32_t                index = r->uses[r->steps[k].first_object + u];
        const fm_replay_object *object = &r->objects[index];
        if (object->object != weight->object || offset < object->offset ||
            offset + bytes > object->offset + object->bytes)
            continue;
        operand->object = index;
        operand->region = object->region;
        operand->offset = object->place + (offset - object->offset);
        operand->bytes = bytes;
        return FLASHMEM_OK;
    }
    return fm_fail(m->err, FLASHMEM_INTERNAL, "launch %u ('%s'): no object of the plan holds its weight %u", k,
                   step_name(m, k), m->setup->program->values[v].weight);
}

static flashmem_status find_image(const maker *m, uint32_t k, uint32_t v, fm_operand *operand) {
    const fm_replay  *r = m->setup->replay;
    const fm_program *p = m->setup->program;
    uint32_t          w = p->values[v].weight;
    uint64_t          first = 0, panels = m->setup->pack->packed.weights[w].panels;
    if (p->steps[r->steps[k].step].split_value == v) part_of(m, k, &m->setup->pack->packed.weights[w], &first, &panels);
    for (uint32_t u = 0; u < r->steps[k].object_count; u++) {
        uint32_t                index = r->uses[r->steps[k].first_object + u];
        const fm_replay_object *object = &r->objects[index];
        for (uint32_t i = object->first_image; i < object->first_image + object->images; i++) {
            const fm_replay_image *image = &r->images[i];
            if (image->weight != w || image->first_panel != first || image->panels != panels) continue;
            operand->object = index;
            operand->image = i;
            return FLASHMEM_OK;
        }
    }
    return fm_fail(m->err, FLASHMEM_INTERNAL, "launch %u ('%s'): no image of the plan holds its weight %u", k,
                   step_name(m, k), w);
}

static flashmem_status resolve_memory(maker *m, uint32_t k, const fm_arg *arg, fm_operand *operand) {
    const fm_program *p = m->setup->program;
    const fm_replay  *r = m->setup->replay;
    uint32_t          root = fm_value_root(p, arg->value);
    operand->value = root;
    operand->write = arg->kind == FM_ARG_WRITE;
    operand->kind = arg->kind == FM_ARG_IMAGE ? FM_OPERAND_IMAGE : FM_OPERAND_MEMORY;
    if (operand->kind == FM_OPERAND_IMAGE) return find_image(m, k, arg->value, operand);
    if (p->values[arg->value].kind == FM_VALUE_WEIGHT) {
        FM_TRY(find_object(m, k, arg->value, operand));
    } else {
        operand->bytes = (uint64_t)fm_program_expr(p, p->values[root].bytes);
        operand->region = r->values[root].placed ? r->values[root].region : FM_NONE;
        operand->offset = r->values[root].placed ? r->values[root].offset : 0;
    }
    if (operand->region != FM_NONE &&
        (operand->region >= r->region_count || operand->offset > r->region_bytes[operand->region] ||
         operand->bytes > r->region_bytes[operand->region] - operand->offset))
        return fm_fail(m->err, FLASHMEM_INTERNAL, "launch %u ('%s'): value %u lies outside region %u", k,
                       step_name(m, k), arg->value, operand->region);
    operand->slot = range_slot(&m->ranges, operand);
    return FLASHMEM_OK;
}

static flashmem_status resolve(maker *m, uint32_t k, const fm_arg *arg, fm_operand *operand) {
    const fm_program *p = m->setup->program;
    const fm_step    *step = &p->steps[m->setup->replay->steps[k].step];
    uint64_t          first = 0, panels = 0;
    *operand = (fm_operand){
        .kind = FM_OPERAND_INT, .value = FM_NONE, .region = FM_NONE, .object = FM_NONE, .image = FM_NONE
    };
    if (step->split_value != FM_NONE)
        part_of(m, k, &m->setup->pack->packed.weights[p->values[step->split_value].weight], &first, &panels);
    switch ((fm_arg_kind)arg->kind) {
    case FM_ARG_READ:
    case FM_ARG_WRITE:
    case FM_ARG_IMAGE: return resolve_memory(m, k, arg, operand);
    case FM_ARG_INT: operand->number = (int32_t)fm_program_expr(p, arg->value); return FLASHMEM_OK;
    case FM_ARG_FIRST_PANEL: operand->number = (int32_t)first; return FLASHMEM_OK;
    case FM_ARG_PANELS: operand->number = (int32_t)panels; return FLASHMEM_OK;
    case FM_ARG_FLOAT: {
        union {
            uint32_t bits;
            float    real;
        } u = { arg->value };
        operand->kind = FM_OPERAND_FLOAT;
        operand->real = u.real;
        return FLASHMEM_OK;
    }
    }
    return fm_fail(m->err, FLASHMEM_BAD_PACK, "launch %u ('%s'): argument of kind %u", k, step_name(m, k), arg->kind);
}

static void set_sizes(const maker *m, uint32_t k, fm_launch *launch) {
    const fm_program *p = m->setup->program;
    const fm_step    *step = &p->steps[m->setup->replay->steps[k].step];
    for (uint32_t d = 0; d < 3; d++) {
        launch->global[d] = (size_t)fm_program_expr(p, step->global[d]);
        launch->local[d] = step->local[d] == FM_NONE ? 0 : (size_t)fm_program_expr(p, step->local[d]);
    }
    if (step->split_value != FM_NONE) {
        uint64_t first, panels;
        part_of(m, k, &m->setup->pack->packed.weights[p->values[step->split_value].weight], &first, &panels);
        launch->global[step->split_dim] = (panels + step->split_panels - 1) / step->split_panels * step->split_scale;
    }
    launch->dims = launch->global[2] > 1 ? 3 : launch->global[1] > 1 ? 2 : 1;
}

flashmem_status fm_launches_make(const fm_gpu_setup *setup, fm_arena *arena, fm_launch **out, uint32_t *slots,
                                 flashmem_error *err) {
    const fm_program *p = setup->program;
    const fm_replay  *r = setup->replay;
    fm_launch        *launches = fm_arena_array(arena, r->step_count, sizeof *launches);
    size_t            operands = 0;
    for (uint32_t k = 0; k < r->step_count; k++) operands += p->steps[r->steps[k].step].arg_count;
    maker m = { .setup = setup, .err = err };
    m.ranges.capacity = (uint32_t)(operands * 2 + 1);
    m.ranges.keys = fm_arena_array(arena, m.ranges.capacity, sizeof *m.ranges.keys);
    m.ranges.slots = fm_arena_array(arena, m.ranges.capacity, sizeof *m.ranges.slots);
    for (uint32_t k = 0; k < r->step_count; k++) {
        const fm_step *step = &p->steps[r->steps[k].step];
        launches[k].kernel = FM_NONE;
        if (step->kind == FM_STEP_GATHER_ROWS) continue;
        launches[k].kernel = step->kernel;
        launches[k].count = step->arg_count;
        launches[k].operands = fm_arena_array(arena, step->arg_count, sizeof *launches[k].operands);
        for (uint32_t a = 0; a < step->arg_count; a++)
            FM_TRY(resolve(&m, k, &p->args[step->first_arg + a], &launches[k].operands[a]));
        set_sizes(&m, k, &launches[k]);
    }
    *out = launches;
    *slots = m.ranges.count;
    return FLASHMEM_OK;
}

flashmem_status fm_gather_of(const fm_pack *pack, const fm_program *program, uint32_t s, fm_gather *out,
                             flashmem_error *err) {
    const fm_step *step = &program->steps[s];
    const fm_arg  *args = &program->args[step->first_arg];
    int64_t        rows = fm_program_expr(program, args[3].value);
    *out = (fm_gather){ .indices = args[0].value,
                        .weight = program->values[args[1].value].weight,
                        .out = args[2].value,
                        .rows = (uint32_t)rows };
    if (rows > UINT32_MAX || pack->packed.weights[out->weight].k > UINT32_MAX)
        return fm_fail(err, FLASHMEM_UNSUPPORTED, "step %u ('%s'): %" PRId64 " rows of a table of %" PRIu64, s,
                       fm_program_string(program, step->name), rows, pack->packed.weights[out->weight].k);
    return FLASHMEM_OK;
}
