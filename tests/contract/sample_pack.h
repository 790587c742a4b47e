/* A small valid model: a table read by row, a large splittable weight, a bundle, constants.  Tests of packs only. */
#ifndef SAMPLE_PACK_H
#define SAMPLE_PACK_H

#include "contract/pack.h"
#include "contract/program_builder.h"

enum { SAMPLE_ROWS = 40, SAMPLE_K = 64, SAMPLE_N = 8192, SAMPLE_HIDDEN = 64, SAMPLE_TOKENS = 4 };

typedef struct sample {
    fm_program_builder builder;
    fm_program         program;
    fm_weight          weights[4];                  /* table, large, small, bias */
    fm_object          objects[2];                  /* large alone, bundle of small and bias */
    uint32_t           ids, rows, hidden, out, eps; /* values */
    uint32_t           memory_paths;
    uint64_t           shape_key;
} sample;

static inline uint64_t sample_round(uint64_t x, uint64_t to) { return (x + to - 1) / to * to; }

static inline void sample_weights(sample *s) {
    fm_program_builder *b = &s->builder;
    s->weights[0] = (fm_weight){ .name = fm_builder_string(b, "wte"),
                                 .kind = FM_WEIGHT_ROWS,
                                 .format = FM_WEIGHT_F32,
                                 .object = FM_NONE,
                                 .bytes = SAMPLE_ROWS * SAMPLE_K * 4,
                                 .k = SAMPLE_ROWS,
                                 .n = SAMPLE_K,
                                 .row_bytes = SAMPLE_K * 4 };
    s->weights[1] = (fm_weight){ .name = fm_builder_string(b, "large"),
                                 .kind = FM_WEIGHT_PANELS,
                                 .format = FM_WEIGHT_F32,
                                 .object = 0,
                                 .bytes = SAMPLE_K * SAMPLE_N * 4,
                                 .k = SAMPLE_K,
                                 .n = SAMPLE_N,
                                 .panels = SAMPLE_N / 16,
                                 .panel_bytes = SAMPLE_K * 64,
                                 .unit_panels = 1 };
    s->weights[2] = (fm_weight){ .name = fm_builder_string(b, "small"),
                                 .kind = FM_WEIGHT_PANELS,
                                 .format = FM_WEIGHT_F32,
                                 .object = 1,
                                 .bytes = SAMPLE_K * SAMPLE_HIDDEN * 4,
                                 .k = SAMPLE_K,
                                 .n = SAMPLE_HIDDEN,
                                 .panels = SAMPLE_HIDDEN / 16,
                                 .panel_bytes = SAMPLE_K * 64,
                                 .unit_panels = 1 };
    s->weights[3] = (fm_weight){ .name = fm_builder_string(b, "bias"),
                                 .kind = FM_WEIGHT_DENSE,
                                 .format = FM_WEIGHT_RAW,
                                 .object = 1,
                                 .object_offset = s->weights[2].bytes,
                                 .bytes = SAMPLE_HIDDEN * 4,
                                 .k = 1,
                                 .n = SAMPLE_HIDDEN };
    s->objects[0] = (fm_object){ .bytes = s->weights[1].bytes, .weight = 1, .unit_bytes = s->weights[1].panel_bytes };
    uint64_t bundle = sample_round(s->weights[3].object_offset + s->weights[3].bytes, 4096);
    s->objects[1] = (fm_object){ .bytes = bundle, .weight = FM_NONE, .unit_bytes = bundle };
}

static inline void sample_matmul(sample *s, const char *name, uint32_t kernel, uint32_t x, uint32_t weight,
                                 uint32_t bias, uint32_t out) {
    fm_program_builder *b = &s->builder;
    const fm_weight    *w = &s->weights[weight];
    uint32_t            value = fm_builder_weight(b, weight, FLASHMEM_F32, (int64_t)w->bytes, NULL);
    fm_builder_begin(b, name, kernel, FLASHMEM_COST_MATMUL);
    fm_builder_read(b, x);
    fm_builder_read(b, value);
    if (bias != FM_NONE) fm_builder_read(b, bias);
    fm_builder_write(b, out);
    fm_builder_arg_int(b, (int64_t)w->k);
    fm_builder_arg_panels(b);
    fm_builder_global(b, ((int64_t)w->panels + 1) / 2 * 3, 1, 1);
    fm_builder_split(b, value, 0, 2, 3);
    fm_builder_work(b, 2.0 * SAMPLE_TOKENS * (double)(w->k * w->n), 1024);
    fm_builder_end(b);
}

static inline void sample_init(sample *s, fm_arena *arena) {
    *s = (sample){ .memory_paths = 1u << 1, .shape_key = 77 };
    fm_program_builder *b = &s->builder;
    fm_builder_init(b, arena);
    sample_weights(s);
    fm_shape ids = { 1, { SAMPLE_TOKENS } }, out = { 2, { SAMPLE_TOKENS, SAMPLE_N } };
    float    eps = 1e-5f;
    s->ids = fm_builder_value(b, FM_VALUE_INPUT, FLASHMEM_I64, SAMPLE_TOKENS * 8, "ids", &ids);
    b->values[s->ids].limit = SAMPLE_ROWS;
    s->rows = fm_builder_value(b, FM_VALUE_ACTIVATION, FLASHMEM_F32, SAMPLE_TOKENS * SAMPLE_K * 4, "rows", NULL);
    s->hidden = fm_builder_value(b, FM_VALUE_ACTIVATION, FLASHMEM_F32, SAMPLE_TOKENS * SAMPLE_HIDDEN * 4, "hidden",
                                 NULL);
    s->out = fm_builder_value(b, FM_VALUE_OUTPUT, FLASHMEM_F32, SAMPLE_TOKENS * SAMPLE_N * 4, "logits", &out);
    s->eps = fm_builder_constant(b, FLASHMEM_F32, &eps, sizeof eps);
    fm_builder_input(b, s->ids);
    fm_builder_output(b, s->out);
    uint32_t table = fm_builder_weight(b, 0, FLASHMEM_F32, (int64_t)s->weights[0].bytes, NULL);
    uint32_t bias = fm_builder_weight(b, 3, FLASHMEM_F32, SAMPLE_HIDDEN * 4, "bias");
    uint32_t matmul = fm_builder_kernel(b, "matmul.cl", "-DACTIVATION=0", "matmul", 0);
    uint32_t norm = fm_builder_kernel(b, "norm.cl", "", "norm", FM_DEVICE_CPU);
    fm_builder_gather_rows(b, "embed", s->ids, table, s->rows, SAMPLE_TOKENS);
    sample_matmul(s, "small", matmul, s->rows, 2, bias, s->hidden);
    uint32_t normed = fm_builder_value(b, FM_VALUE_ACTIVATION, FLASHMEM_F32, SAMPLE_TOKENS * SAMPLE_HIDDEN * 4, NULL,
                                       NULL);
    uint32_t scratch = fm_builder_value(b, FM_VALUE_SCRATCH, FLASHMEM_F32, 64, NULL, NULL);
    fm_builder_begin(b, "norm", norm, FLASHMEM_COST_NORM);
    fm_builder_read(b, s->hidden);
    fm_builder_read(b, s->eps);
    fm_builder_write(b, scratch);
    fm_builder_write(b, normed);
    fm_builder_arg_float(b, 0.5f);
    fm_builder_global(b, 8, 2, 1);
    fm_builder_local(b, 4, 1, 1);
    fm_builder_end(b);
    sample_matmul(s, "head", matmul, normed, 1, FM_NONE, s->out);
    s->program = fm_builder_program(b);
}

static inline fm_pack_contents sample_contents(sample *s) {
    return (fm_pack_contents){ .layout = FLASHMEM_LAYOUT_CPU,
                               .weights = FLASHMEM_WEIGHTS_FP32,
                               .float_weight_bytes = s->weights[1].bytes + s->weights[0].bytes,
                               .strings = s->program.strings,
                               .string_bytes = s->program.string_bytes,
                               .weight_table = s->weights,
                               .weight_count = 4,
                               .object_table = s->objects,
                               .object_count = 2,
                               .programs = &s->program,
                               .memory_paths = &s->memory_paths,
                               .shape_keys = &s->shape_key,
                               .program_count = 1 };
}

/* Byte at a file position of object or table data, so that readers can tell where bytes came from. */
static inline uint8_t sample_byte(uint32_t what, uint64_t at) {
    return (uint8_t)(at * 31 + (at >> 8) * 7 + what * 101);
}

#endif
