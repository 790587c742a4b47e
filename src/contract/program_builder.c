/* The program builder: growing arrays in an arena, with hash tables over strings and integer expressions so that a
 * program of thousands of steps is built in linear time. */
#include "contract/program_builder.h"

#include <string.h>

#include "base/hash.h"

void fm_builder_init(fm_program_builder *b, fm_arena *arena) { *b = (fm_program_builder){ .arena = arena }; }

/* Slots are kept at most half full; a rehash asks for each entry's hash again through hash_of. */
static void slots_insert(uint32_t *slots, size_t count, uint64_t hash, uint32_t entry) {
    size_t at = hash & (count - 1);
    while (slots[at]) at = (at + 1) & (count - 1);
    slots[at] = entry;
}

static uint64_t string_hash(const char *text) { return fm_hash(text, strlen(text)); }
static uint64_t int_hash(int64_t value) { return (uint64_t)value * 0x9E3779B97F4A7C15u >> 20; }

static void grow_string_slots(fm_program_builder *b) {
    if (b->string_entries * 2 < b->string_slot_count) return;
    size_t count = b->string_slot_count ? b->string_slot_count * 2 : 64;
    b->string_slots = fm_arena_array(b->arena, count, sizeof *b->string_slots);
    b->string_slot_count = count;
    for (size_t at = 0; at < b->string_bytes; at += strlen(b->strings + at) + 1)
        slots_insert(b->string_slots, count, string_hash(b->strings + at), (uint32_t)at + 1);
}

static void grow_int_slots(fm_program_builder *b) {
    if (b->expr_count * 2 < b->int_slot_count) return;
    size_t count = b->int_slot_count ? b->int_slot_count * 2 : 64;
    b->int_slots = fm_arena_array(b->arena, count, sizeof *b->int_slots);
    b->int_slot_count = count;
    for (size_t i = 0; i < b->expr_count; i++)
        slots_insert(b->int_slots, count, int_hash(b->exprs[i].value), (uint32_t)i + 1);
}

uint32_t fm_builder_string(fm_program_builder *b, const char *text) {
    if (!text) return FM_NONE;
    grow_string_slots(b);
    uint64_t hash = string_hash(text);
    for (size_t at = hash & (b->string_slot_count - 1); b->string_slots[at]; at = (at + 1) & (b->string_slot_count - 1))
        if (strcmp(b->strings + b->string_slots[at] - 1, text) == 0) return b->string_slots[at] - 1;
    size_t index = b->string_bytes, bytes = strlen(text) + 1;
    assert(index + bytes < FM_NONE);
    while (b->string_capacity < index + bytes)
        b->strings = fm_arena_grow(b->arena, b->strings, b->string_capacity, &b->string_capacity, 1);
    memcpy(b->strings + index, text, bytes);
    b->string_bytes += bytes;
    b->string_entries++;
    slots_insert(b->string_slots, b->string_slot_count, hash, (uint32_t)index + 1);
    return (uint32_t)index;
}

uint32_t fm_builder_int(fm_program_builder *b, int64_t value) {
    grow_int_slots(b);
    uint64_t hash = int_hash(value);
    for (size_t at = hash & (b->int_slot_count - 1); b->int_slots[at]; at = (at + 1) & (b->int_slot_count - 1))
        if (b->exprs[b->int_slots[at] - 1].value == value) return b->int_slots[at] - 1;
    uint32_t index = (uint32_t)b->expr_count;
    FM_PUSH(b->arena, b->exprs, b->expr_count, b->expr_capacity) = (fm_expr){ .kind = FM_EXPR_CONST, .value = value };
    slots_insert(b->int_slots, b->int_slot_count, hash, index + 1);
    return index;
}

uint32_t fm_builder_kernel(fm_program_builder *b, const char *source, const char *options, const char *entry,
                           uint32_t needs) {
    fm_kernel kernel = { fm_builder_string(b, source), fm_builder_string(b, options ? options : ""),
                         fm_builder_string(b, entry), needs, 0 };
    for (size_t i = 0; i < b->kernel_count; i++)
        if (memcmp(&b->kernels[i], &kernel, sizeof kernel) == 0) return (uint32_t)i;
    FM_PUSH(b->arena, b->kernels, b->kernel_count, b->kernel_capacity) = kernel;
    return (uint32_t)b->kernel_count - 1;
}

uint32_t fm_builder_value(fm_program_builder *b, fm_value_kind kind, flashmem_dtype dtype, int64_t bytes,
                          const char *name, const fm_shape *shape) {
    fm_value value = { .kind = kind, .dtype = dtype, .weight = FM_NONE, .alias = FM_NONE };
    value.bytes = fm_builder_int(b, bytes);
    value.name = fm_builder_string(b, name);
    if (shape) {
        value.shape_rank = shape->rank;
        for (uint32_t i = 0; i < shape->rank; i++) value.shape[i] = fm_builder_int(b, shape->dims[i]);
    }
    FM_PUSH(b->arena, b->values, b->value_count, b->value_capacity) = value;
    return (uint32_t)b->value_count - 1;
}

uint32_t fm_builder_weight(fm_program_builder *b, uint32_t weight, flashmem_dtype dtype, int64_t bytes,
                           const char *name) {
    uint32_t value = fm_builder_value(b, FM_VALUE_WEIGHT, dtype, bytes, name, NULL);
    b->values[value].weight = weight;
    return value;
}

uint32_t fm_builder_constant(fm_program_builder *b, flashmem_dtype dtype, const void *data, uint32_t bytes) {
    assert(bytes > 0 && bytes <= 64);
    uint32_t value = fm_builder_value(b, FM_VALUE_CONSTANT, dtype, bytes, NULL, NULL);
    size_t   offset = (b->blob_bytes + 63) & ~(size_t)63;
    while (b->blob_capacity < offset + bytes)
        b->blob = fm_arena_grow(b->arena, b->blob, b->blob_capacity, &b->blob_capacity, 1);
    memset(b->blob + b->blob_bytes, 0, offset - b->blob_bytes);
    memcpy(b->blob + offset, data, bytes);
    b->blob_bytes = offset + bytes;
    b->values[value].blob = offset;
    return value;
}

void fm_builder_input(fm_program_builder *b, uint32_t value) {
    FM_PUSH(b->arena, b->inputs, b->input_count, b->input_capacity) = value;
}

void fm_builder_output(fm_program_builder *b, uint32_t value) {
    FM_PUSH(b->arena, b->outputs, b->output_count, b->output_capacity) = value;
}

static fm_step *open_step(fm_program_builder *b) {
    assert(b->open);
    return &b->steps[b->step_count - 1];
}

static void begin(fm_program_builder *b, fm_step_kind kind, const char *name, uint32_t kernel,
                  flashmem_cost_class cost) {
    assert(!b->open);
    uint32_t zero = fm_builder_int(b, 0), one = fm_builder_int(b, 1);
    fm_step  step = { .kind = kind,
                      .name = fm_builder_string(b, name),
                      .kernel = kernel,
                      .first_arg = (uint32_t)b->arg_count,
                      .global = { one, one, one },
                      .local = { FM_NONE, FM_NONE, FM_NONE },
                      .cost_class = cost,
                      .flops = zero,
                      .bytes = zero,
                      .split_value = FM_NONE };
    FM_PUSH(b->arena, b->steps, b->step_count, b->step_capacity) = step;
    b->open = true;
}

void fm_builder_begin(fm_program_builder *b, const char *name, uint32_t kernel, flashmem_cost_class cost_class) {
    begin(b, FM_STEP_KERNEL, name, kernel, cost_class);
}

static void push_arg(fm_program_builder *b, fm_arg_kind kind, uint32_t value) {
    assert(b->open);
    FM_PUSH(b->arena, b->args, b->arg_count, b->arg_capacity) = (fm_arg){ kind, value };
}

void fm_builder_read(fm_program_builder *b, uint32_t value) { push_arg(b, FM_ARG_READ, value); }
void fm_builder_write(fm_program_builder *b, uint32_t value) { push_arg(b, FM_ARG_WRITE, value); }
void fm_builder_image(fm_program_builder *b, uint32_t value) { push_arg(b, FM_ARG_IMAGE, value); }
void fm_builder_arg_int(fm_program_builder *b, int64_t value) { push_arg(b, FM_ARG_INT, fm_builder_int(b, value)); }

void fm_builder_arg_float(fm_program_builder *b, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    push_arg(b, FM_ARG_FLOAT, bits);
}

void fm_builder_arg_panels(fm_program_builder *b) {
    push_arg(b, FM_ARG_FIRST_PANEL, 0);
    push_arg(b, FM_ARG_PANELS, 0);
}

void fm_builder_global(fm_program_builder *b, int64_t x, int64_t y, int64_t z) {
    uint32_t sizes[3] = { fm_builder_int(b, x), fm_builder_int(b, y), fm_builder_int(b, z) };
    memcpy(open_step(b)->global, sizes, sizeof sizes);
}

void fm_builder_local(fm_program_builder *b, int64_t x, int64_t y, int64_t z) {
    uint32_t sizes[3] = { fm_builder_int(b, x), fm_builder_int(b, y), fm_builder_int(b, z) };
    memcpy(open_step(b)->local, sizes, sizeof sizes);
}

static int64_t whole(double x) { return x < 0 ? 0 : x >= 9e18 ? INT64_MAX : (int64_t)x; }

void fm_builder_work(fm_program_builder *b, double flops, double bytes) {
    uint32_t flop_expr = fm_builder_int(b, whole(flops)), byte_expr = fm_builder_int(b, whole(bytes));
    fm_step *step = open_step(b);
    step->flops = flop_expr;
    step->bytes = byte_expr;
}

void fm_builder_split(fm_program_builder *b, uint32_t weight_value, uint32_t dim, uint32_t panels, uint32_t scale) {
    fm_step *step = open_step(b);
    step->split_value = weight_value;
    step->split_dim = dim;
    step->split_panels = panels;
    step->split_scale = scale;
}

uint32_t fm_builder_end(fm_program_builder *b) {
    fm_step *step = open_step(b);
    step->arg_count = (uint32_t)b->arg_count - step->first_arg;
    b->open = false;
    return (uint32_t)b->step_count - 1;
}

uint32_t fm_builder_gather_rows(fm_program_builder *b, const char *name, uint32_t indices, uint32_t table, uint32_t out,
                                int64_t rows) {
    begin(b, FM_STEP_GATHER_ROWS, name, FM_NONE, FLASHMEM_COST_GATHER);
    fm_builder_read(b, indices);
    fm_builder_read(b, table);
    fm_builder_write(b, out);
    fm_builder_arg_int(b, rows);
    fm_builder_work(b, 0, (double)b->exprs[b->values[out].bytes].value);
    return fm_builder_end(b);
}

void fm_builder_planned(fm_program_builder *b, const char *name, const char *op, flashmem_cost_class cost_class) {
    begin(b, FM_STEP_PLANNED, name, fm_builder_string(b, op), cost_class);
}

fm_builder_marked fm_builder_mark(const fm_program_builder *b) {
    assert(!b->open);
    return (fm_builder_marked){ b->value_count, b->kernel_count, b->arg_count, b->step_count,
                                b->input_count, b->output_count, b->blob_bytes };
}

void fm_builder_rewind(fm_program_builder *b, const fm_builder_marked *mark) {
    b->value_count = mark->values;
    b->kernel_count = mark->kernels;
    b->arg_count = mark->args;
    b->step_count = mark->steps;
    b->input_count = mark->inputs;
    b->output_count = mark->outputs;
    b->blob_bytes = mark->blob_bytes;
    b->open = false;
}

fm_program fm_builder_program(const fm_program_builder *b) {
    assert(!b->open);
    return (fm_program){
        .strings = b->strings ? b->strings : "",
        .string_bytes = b->string_bytes,
        .exprs = b->exprs,
        .expr_count = (uint32_t)b->expr_count,
        .values = b->values,
        .value_count = (uint32_t)b->value_count,
        .kernels = b->kernels,
        .kernel_count = (uint32_t)b->kernel_count,
        .args = b->args,
        .arg_count = (uint32_t)b->arg_count,
        .steps = b->steps,
        .step_count = (uint32_t)b->step_count,
        .inputs = b->inputs,
        .input_count = (uint32_t)b->input_count,
        .outputs = b->outputs,
        .output_count = (uint32_t)b->output_count,
        .blob = b->blob,
        .blob_bytes = b->blob_bytes,
    };
}
