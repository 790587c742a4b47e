/* Models for planning tests: packs whose tables are in memory and whose weights are nowhere. */
#ifndef TESTS_SCHEDULE_MODELS_H
#define TESTS_SCHEDULE_MODELS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contract/pack.h"
#include "contract/program_builder.h"
#include "schedule/replay.h"

typedef struct model {
    fm_arena          *arena;
    fm_program_builder builder;
    fm_weight         *weights;
    size_t             weight_count, weight_capacity;
    fm_object         *objects;
    size_t             object_count, object_capacity;
    uint64_t           bundle; /* bytes of the open bundle, 0: none */
    bool               texture, half;
    uint32_t           matmul, other; /* kernels */
    int64_t            tokens;
    fm_program         program;
    fm_pack            pack;
} model;

static inline void model_init(model *m, bool texture, bool half, int64_t tokens) {
    *m = (model){ .arena = fm_arena_create(), .texture = texture, .half = half, .tokens = tokens };
    fm_builder_init(&m->builder, m->arena);
    m->matmul = fm_builder_kernel(&m->builder, "matmul.cl", "", "matmul", 0);
    m->other = fm_builder_kernel(&m->builder, "other.cl", "", "other", 0);
}

static inline uint64_t model_round(uint64_t x, uint64_t to) { return (x + to - 1) / to * to; }

/* Ends the open bundle. */
static inline void model_close_bundle(model *m) {
    if (!m->bundle) return;
    fm_object *o = &m->objects[m->object_count - 1];
    o->bytes = o->unit_bytes = model_round(m->bundle, 4096);
    m->bundle = 0;
}

static inline uint32_t model_put(model *m, fm_weight w) {
    uint32_t index = (uint32_t)m->weight_count;
    bool     alone = w.bytes >= 1 << 20;
    if (alone) {
        uint64_t unit = w.kind == FM_WEIGHT_PANELS ? w.unit_panels * w.panel_bytes : model_round(w.bytes, 4096);
        if (w.kind == FM_WEIGHT_PANELS) w.bytes = model_round(w.bytes, 4096);
        model_close_bundle(m);
        w.object = (uint32_t)m->object_count;
        FM_PUSH(m->arena, m->objects, m->object_count, m->object_capacity) = (fm_object){
            .bytes = model_round(w.bytes, 4096), .weight = index, .unit_bytes = unit
        };
        if (m->objects[w.object].unit_bytes > m->objects[w.object].bytes) m->objects[w.object].bytes = unit;
        w.bytes = m->objects[w.object].bytes;
    } else {
        if (!m->bundle)
            FM_PUSH(m->arena, m->objects, m->object_count, m->object_capacity) = (fm_object){ .weight = FM_NONE };
        w.object = (uint32_t)m->object_count - 1;
        w.object_offset = model_round(m->bundle, FM_WEIGHT_ALIGN);
        m->bundle = w.object_offset + w.bytes;
    }
    w.name = fm_builder_string(&m->builder, "w");
    FM_PUSH(m->arena, m->weights, m->weight_count, m->weight_capacity) = w;
    return index;
}

static inline uint32_t model_panels(model *m, uint64_t k, uint64_t n) {
    uint64_t  columns = m->texture ? 4 : 16, element = m->half ? 2 : 4;
    fm_weight w = { .kind = FM_WEIGHT_PANELS,
                    .format = m->half ? FM_WEIGHT_F16 : FM_WEIGHT_F32,
                    .k = k,
                    .n = n,
                    .panels = (n + columns - 1) / columns,
                    .panel_bytes = k * columns * element,
                    .unit_panels = 1 };
    while (w.unit_panels * w.panel_bytes % 4096) w.unit_panels++;
    w.bytes = w.panels * w.panel_bytes;
    if (w.bytes >= 1 << 20) w.bytes = model_round(w.panels, w.unit_panels) * w.panel_bytes;
    return model_put(m, w);
}

static inline uint32_t model_dense(model *m, uint64_t bytes) {
    return model_put(
        m, (fm_weight){ .kind = FM_WEIGHT_DENSE, .format = FM_WEIGHT_RAW, .bytes = bytes, .k = 1, .n = bytes });
}

static inline uint32_t model_table(model *m, uint64_t rows, uint64_t columns) {
    uint32_t  index = (uint32_t)m->weight_count;
    fm_weight w = { .name = fm_builder_string(&m->builder, "table"),
                    .kind = FM_WEIGHT_ROWS,
                    .format = m->half ? FM_WEIGHT_F16 : FM_WEIGHT_F32,
                    .object = FM_NONE,
                    .k = rows,
                    .n = columns,
                    .row_bytes = columns * (m->half ? 2 : 4) };
    w.bytes = w.k * w.row_bytes;
    FM_PUSH(m->arena, m->weights, m->weight_count, m->weight_capacity) = w;
    return index;
}

static inline uint32_t model_value(model *m, fm_value_kind kind, int64_t bytes, const char *name) {
    fm_shape shape = { 1, { bytes / 4 } };
    return fm_builder_value(&m->builder, kind, FLASHMEM_F32, bytes, name, name ? &shape : NULL);
}

/* out = x * weight (+ bias), split over the weight's panels. */
static inline void model_matmul(model *m, uint32_t x, uint32_t weight, uint32_t bias, uint32_t out) {
    fm_program_builder *b = &m->builder;
    const fm_weight     w = m->weights[weight];
    uint32_t            value = fm_builder_weight(b, weight, FLASHMEM_F32, (int64_t)(w.panels * w.panel_bytes), NULL);
    uint32_t            bias_value = bias == FM_NONE
                                         ? FM_NONE
                                         : fm_builder_weight(b, bias, FLASHMEM_F32, (int64_t)m->weights[bias].bytes, NULL);
    fm_builder_begin(b, "matmul", m->matmul, FLASHMEM_COST_MATMUL);
    fm_builder_read(b, x);
    if (m->texture) fm_builder_image(b, value);
    else fm_builder_read(b, value);
    if (bias != FM_NONE) fm_builder_read(b, bias_value);
    fm_builder_write(b, out);
    fm_builder_arg_panels(b);
    fm_builder_global(b, (int64_t)w.panels, 1, 1);
    fm_builder_split(b, value, 0, 1, 1);
    fm_builder_work(b, 2.0 * (double)(w.k * w.n) * (double)m->tokens, (double)(w.k + w.n) * 4 * (double)m->tokens);
    fm_builder_end(b);
}

/* out = f(a, b), with an optional dense weight and scratch. */
static inline void model_step(model *m, uint32_t a, uint32_t b2, uint32_t weight, uint32_t scratch, uint32_t out,
                              double bytes) {
    fm_program_builder *b = &m->builder;
    uint32_t            value = weight == FM_NONE
                                    ? FM_NONE
                                    : fm_builder_weight(b, weight, FLASHMEM_F32, (int64_t)m->weights[weight].bytes, NULL);
    fm_builder_begin(b, "step", m->other, FLASHMEM_COST_ELEMENTWISE);
    fm_builder_read(b, a);
    if (b2 != FM_NONE) fm_builder_read(b, b2);
    if (weight != FM_NONE) fm_builder_read(b, value);
    if (scratch != FM_NONE) fm_builder_write(b, scratch);
    fm_builder_write(b, out);
    fm_builder_work(b, bytes, bytes);
    fm_builder_end(b);
}

static inline void model_finish(model *m) {
    uint64_t offset = 1 << 20, checksums = 0;
    model_close_bundle(m);
    for (size_t i = 0; i < m->object_count; i++) {
        m->objects[i].file_offset = offset;
        m->objects[i].first_checksum = checksums;
        offset += m->objects[i].bytes;
        checksums += (m->objects[i].bytes + m->objects[i].unit_bytes - 1) / m->objects[i].unit_bytes;
    }
    m->program = fm_builder_program(&m->builder);
    m->pack = (fm_pack){ .fd = -1,
                         .path = (char *)"model",
                         .packed = { m->weights, (uint32_t)m->weight_count, m->objects, (uint32_t)m->object_count },
                         .strings = m->program.strings,
                         .string_bytes = m->program.string_bytes,
                         .programs = &m->program,
                         .program_count = 1 };
    m->pack.header.layout = m->texture ? FLASHMEM_LAYOUT_TEXTURE : FLASHMEM_LAYOUT_CPU;
}

static inline void model_free(model *m) { fm_arena_destroy(m->arena); }

/* A decoder like the smallest GPTs: rows of a table, layers, a head over the whole vocabulary. */
static inline void model_gpt(model *m, bool texture, bool half, int64_t tokens, int layers, uint64_t d,
                             uint64_t vocabulary) {
    model_init(m, texture, half, tokens);
    fm_program_builder *b = &m->builder;
    fm_shape            ids_shape = { 1, { tokens } };
    uint32_t            ids = fm_builder_value(b, FM_VALUE_INPUT, FLASHMEM_I64, tokens * 8, "ids", &ids_shape);
    int64_t             wide = tokens * (int64_t)d * 4;
    uint32_t            x = model_value(m, FM_VALUE_ACTIVATION, wide, NULL), table = model_table(m, vocabulary, d);
    uint32_t            logits = model_value(m, FM_VALUE_OUTPUT, tokens * (int64_t)vocabulary * 4, "logits");
    fm_builder_input(b, ids);
    fm_builder_output(b, logits);
    fm_builder_gather_rows(
        b, "embed", ids, fm_builder_weight(b, table, FLASHMEM_F32, (int64_t)m->weights[table].bytes, NULL), x, tokens);
    for (int l = 0; l < layers; l++) {
        uint32_t values[8];
        for (int i = 0; i < 8; i++)
            values[i] = model_value(m, FM_VALUE_ACTIVATION, i == 1 ? 3 * wide : i == 5 ? 4 * wide : wide, NULL);
        model_close_bundle(m);
        uint32_t gamma = model_dense(m, d * 8), b0 = model_dense(m, d * 12), b1 = model_dense(m, d * 4),
                 gamma2 = model_dense(m, d * 8);
        uint32_t b2 = model_dense(m, d * 16), b3 = model_dense(m, d * 4);
        model_step(m, x, FM_NONE, gamma, FM_NONE, values[0], (double)wide * 2);
        model_matmul(m, values[0], model_panels(m, d, 3 * d), b0, values[1]);
        model_step(m, values[1], FM_NONE, FM_NONE, model_value(m, FM_VALUE_SCRATCH, tokens * tokens * 48, NULL),
                   values[2], (double)wide * 4);
        model_matmul(m, values[2], model_panels(m, d, d), b1, values[3]);
        uint32_t sum = model_value(m, FM_VALUE_ACTIVATION, wide, NULL),
                 out = model_value(m, FM_VALUE_ACTIVATION, wide, NULL);
        model_step(m, x, values[3], FM_NONE, FM_NONE, sum, (double)wide * 3);
        model_step(m, sum, FM_NONE, gamma2, FM_NONE, values[4], (double)wide * 2);
        model_matmul(m, values[4], model_panels(m, d, 4 * d), b2, values[5]);
        model_matmul(m, values[5], model_panels(m, 4 * d, d), b3, values[6]);
        model_step(m, sum, values[6], FM_NONE, FM_NONE, out, (double)wide * 3);
        x = out;
    }
    model_close_bundle(m);
    uint32_t last = model_value(m, FM_VALUE_ACTIVATION, wide, NULL);
    model_step(m, x, FM_NONE, model_dense(m, d * 8), FM_NONE, last, (double)wide * 2);
    model_matmul(m, last, model_panels(m, d, vocabulary), FM_NONE, logits);
    model_finish(m);
}

static inline uint64_t model_below(uint64_t n) { return (uint64_t)rand() % n; }

/* Random steps over random values: skip connections, shared weights, large dense weights, aliases, state, constants. */
static inline void model_random(model *m) {
    model_init(m, model_below(3) == 0, model_below(2), 1 + (int64_t)model_below(64));
    fm_program_builder *b = &m->builder;
    uint32_t            live[64], lives = 0, steps = 1 + (uint32_t)model_below(40), shared[8], shares = 0;
    for (uint32_t i = 0; i < 1 + model_below(2); i++) {
        live[lives] = model_value(m, FM_VALUE_INPUT, 4 * (1 + (int64_t)model_below(100000)), i ? "in1" : "in0");
        fm_builder_input(b, live[lives++]);
    }
    if (model_below(4) == 0) live[lives++] = model_value(m, FM_VALUE_STATE, 4 + 4 * (int64_t)model_below(5000), NULL);
    if (model_below(4) == 0) live[lives++] = fm_builder_constant(b, FLASHMEM_F32, "abcd", 4);
    for (uint32_t s = 0; s < steps; s++) {
        bool     last = s + 1 == steps;
        uint32_t x = live[model_below(lives)], y = model_below(3) ? FM_NONE : live[model_below(lives)];
        uint32_t out = model_value(m, last || model_below(9) == 0 ? FM_VALUE_OUTPUT : FM_VALUE_ACTIVATION,
                                   4 * (1 + (int64_t)model_below(model_below(5) ? 50000 : 2000000)), NULL);
        if (b->values[out].kind == FM_VALUE_OUTPUT) {
            char name[16];
            snprintf(name, sizeof name, "out%u", s);
            b->values[out].name = fm_builder_string(b, name);
            b->values[out].shape_rank = 1;
            b->values[out].shape[0] = fm_builder_int(b, b->exprs[b->values[out].bytes].value / 4);
            fm_builder_output(b, out);
        }
        if (model_below(6) == 0) model_close_bundle(m);
        if (model_below(2)) {
            uint32_t w = shares && model_below(5) == 0
                             ? shared[model_below(shares)]
                             : model_panels(m, 1 + model_below(600), 1 + model_below(model_below(3) ? 3000 : 30000));
            if (shares < 8) shared[shares++] = w;
            model_matmul(m, x, w, model_below(2) ? FM_NONE : model_dense(m, 4 * (1 + model_below(5000))), out);
        } else {
            uint32_t w = model_below(3) ? FM_NONE
                                        : model_dense(m, 4 * (1 + model_below(model_below(4) ? 5000 : 1000000)));
            if (shares && model_below(6) == 0) w = shared[model_below(shares)]; /* read whole: cannot be cut */
            uint32_t scratch = model_below(4)
                                   ? FM_NONE
                                   : model_value(m, FM_VALUE_SCRATCH, 1 + (int64_t)model_below(300000), NULL);
            model_step(m, x, y, w, scratch, out, 1e5);
        }
        if (lives < 60) live[lives++] = out;
        else live[model_below(lives)] = out;
    }
    model_finish(m);
}

static inline flashmem_device model_device(const model *m) {
    flashmem_device d;
    flashmem_device_init(&d);
    d.layout = m->texture ? FLASHMEM_LAYOUT_TEXTURE : FLASHMEM_LAYOUT_CPU;
    d.memory_path = m->texture ? FLASHMEM_PATH_TEXTURE_COPY : FLASHMEM_PATH_IN_PLACE;
    d.launch_seconds = 6e-6;
    d.bytes_per_second = 2e10;
    d.disk_bytes_per_second = 2.5e9;
    d.startup_seconds = 0.035;
    d.convert_bytes_per_second = m->texture ? 1e10 : 0;
    d.image_pitch = 4;
    d.image_limit = 16384;
    for (int i = 0; i < FLASHMEM_COST_CLASSES; i++) d.flops_per_second[i] = 2e11;
    return d;
}

static inline fm_replay_request model_request(const model *m, uint64_t budget) {
    return (fm_replay_request){ .device = model_device(m), .budget = budget };
}

#endif
