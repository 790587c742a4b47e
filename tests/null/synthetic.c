#include "tests/null/synthetic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "contract/pack.h"
#include "contract/program_builder.h"
#include "tests/base/cmocka_setup.h"

enum { MOST = 512, VALUE_BYTES = 96 << 10 };

typedef struct maker {
    const fm_synthetic *what;
    uint64_t            state;
    fm_arena           *arena;
    fm_program_builder  b;
    fm_weight           weights[MOST];
    fm_object           objects[MOST];
    uint32_t            weight_count, object_count;
    uint32_t            bundle, bundle_weights; /* open bundle, or FM_NONE */
    uint32_t            kernel;
    uint32_t            recent[4]; /* values written last */
    uint32_t            first_large;
} maker;

static uint64_t next(maker *m, uint64_t below) {
    m->state = m->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (m->state >> 33) % below;
}

static uint64_t up(uint64_t bytes, uint64_t to) { return (bytes + to - 1) / to * to; }

static uint32_t activation(maker *m, uint64_t bytes) {
    return fm_builder_value(&m->b, FM_VALUE_ACTIVATION, FLASHMEM_F32, (int64_t)up(bytes, 4), NULL, NULL);
}

static void push(maker *m, uint32_t value) {
    memmove(m->recent + 1, m->recent, 3 * sizeof *m->recent);
    m->recent[0] = value;
}

static uint32_t name_of(maker *m, const char *what, uint32_t index) {
    char text[64];
    snprintf(text, sizeof text, "%s.%u", what, index);
    return fm_builder_string(&m->b, text);
}

/* A large weight in panels, an object of its own. */
static uint32_t large_weight(maker *m) {
    static const uint32_t ks[] = { 64, 96, 128, 160, 256, 320 };
    uint64_t              element = m->what->half ? 2 : 4, columns = m->what->texture ? 4 : 16, k = ks[next(m, 6)];
    uint64_t              panel = k * columns * element, unit = 1;
    while (unit * panel % 4096) unit++;
    uint64_t panels = m->what->weight_bytes / panel + next(m, 7), units = (panels + unit - 1) / unit;
    uint32_t w = m->weight_count++, o = m->object_count++;
    m->weights[w] = (fm_weight){ .name = name_of(m, "large", w),
                                 .kind = FM_WEIGHT_PANELS,
                                 .format = m->what->half ? FM_WEIGHT_F16 : FM_WEIGHT_F32,
                                 .object = o,
                                 .bytes = units * unit * panel,
                                 .k = k,
                                 .n = panels * columns - next(m, columns),
                                 .panels = panels,
                                 .panel_bytes = panel,
                                 .unit_panels = (uint32_t)unit };
    m->objects[o] = (fm_object){ .bytes = units * unit * panel, .weight = w, .unit_bytes = unit * panel };
    m->bundle = FM_NONE;
    return w;
}

/* A small dense weight in the bundle at hand. */
static uint32_t small_weight(maker *m) {
    uint64_t bytes = 64 * (1 + next(m, 200));
    uint32_t w = m->weight_count++;
    if (m->bundle == FM_NONE || m->bundle_weights == 4) {
        m->bundle = m->object_count++;
        m->bundle_weights = 0;
        m->objects[m->bundle] = (fm_object){ .weight = FM_NONE };
    }
    fm_object *o = &m->objects[m->bundle];
    uint64_t offset = m->bundle_weights ? up(m->weights[w - 1].object_offset + m->weights[w - 1].bytes, FM_WEIGHT_ALIGN)
                                        : 0;
    m->bundle_weights++;
    m->weights[w] = (fm_weight){ .name = name_of(m, "small", w),
                                 .kind = FM_WEIGHT_DENSE,
                                 .format = FM_WEIGHT_F32,
                                 .object = m->bundle,
                                 .object_offset = offset,
                                 .bytes = bytes };
    o->bytes = o->unit_bytes = up(offset + bytes, 4096);
    return w;
}

static uint32_t table_weight(maker *m) {
    uint64_t element = m->what->half ? 2 : 4, n = 200 + next(m, 600);
    uint32_t w = m->weight_count++;
    m->bundle = FM_NONE;
    m->weights[w] = (fm_weight){ .name = name_of(m, "table", w),
                                 .kind = FM_WEIGHT_ROWS,
                                 .format = m->what->half ? FM_WEIGHT_F16 : FM_WEIGHT_F32,
                                 .object = FM_NONE,
                                 .bytes = FM_SYNTHETIC_TABLE_ROWS * n * element,
                                 .k = FM_SYNTHETIC_TABLE_ROWS,
                                 .n = n,
                                 .row_bytes = n * element };
    return w;
}

static uint32_t weight_value(maker *m, uint32_t w) {
    return fm_builder_weight(&m->b, w, m->weights[w].format == FM_WEIGHT_F16 ? FLASHMEM_F16 : FLASHMEM_F32,
                             (int64_t)m->weights[w].bytes, NULL);
}

static void gather(maker *m, uint32_t indices, uint32_t rows) {
    uint32_t table = table_weight(m);
    uint32_t out = activation(m, (uint64_t)rows * m->weights[table].n * 4);
    fm_builder_gather_rows(&m->b, "gather", indices, weight_value(m, table), out, rows);
    push(m, out);
}

static void split_step(maker *m, uint32_t w, uint32_t out) {
    uint32_t value = weight_value(m, w), scratch = FM_NONE;
    uint64_t panels = m->weights[w].panels, each = 1 + next(m, 2);
    char     name[32];
    snprintf(name, sizeof name, "split %zu", m->b.step_count);
    if (next(m, 3) == 0)
        scratch = fm_builder_value(&m->b, FM_VALUE_SCRATCH, FLASHMEM_F32, (int64_t)(4096 + 64 * next(m, 300)), NULL,
                                   NULL);
    fm_builder_begin(&m->b, name, m->kernel, FLASHMEM_COST_MATMUL);
    fm_builder_read(&m->b, m->recent[0]);
    if (m->what->texture) fm_builder_image(&m->b, value);
    else fm_builder_read(&m->b, value);
    if (next(m, 2)) fm_builder_read(&m->b, m->recent[1 + next(m, 3)]);
    fm_builder_write(&m->b, out);
    if (scratch != FM_NONE) fm_builder_write(&m->b, scratch);
    fm_builder_arg_panels(&m->b);
    fm_builder_arg_float(&m->b, (float)next(m, 100));
    fm_builder_global(&m->b, (int64_t)((panels + each - 1) / each), 1, 1);
    fm_builder_work(&m->b, 2.0 * 64 * (double)m->weights[w].k * (double)m->weights[w].n, 1 << 16);
    fm_builder_split(&m->b, value, 0, (uint32_t)each, 1);
    fm_builder_end(&m->b);
    push(m, out);
}

static void plain_step(maker *m, uint32_t out) {
    char name[32];
    snprintf(name, sizeof name, "plain %zu", m->b.step_count);
    uint32_t small[3], count = (uint32_t)next(m, 3);
    float    scale = 2;
    for (uint32_t i = 0; i < count; i++) small[i] = weight_value(m, small_weight(m));
    uint32_t constant = next(m, 4) ? FM_NONE : fm_builder_constant(&m->b, FLASHMEM_F32, &scale, sizeof scale);
    fm_builder_begin(&m->b, name, m->kernel, FLASHMEM_COST_ELEMENTWISE);
    fm_builder_read(&m->b, m->recent[0]);
    for (uint32_t i = 0; i < count; i++) fm_builder_read(&m->b, small[i]);
    if (constant != FM_NONE) fm_builder_read(&m->b, constant);
    fm_builder_read(&m->b, m->recent[next(m, 4)]);
    fm_builder_write(&m->b, out);
    fm_builder_global(&m->b, 1024, 1, 1);
    fm_builder_work(&m->b, 1e5, 1 << 17);
    fm_builder_end(&m->b);
    push(m, out);
}

/* 0 or 1 on the null device. */
static uint32_t index_step(maker *m, uint32_t count) {
    uint32_t out = fm_builder_value(&m->b, FM_VALUE_ACTIVATION, FLASHMEM_I64, (int64_t)count * 8, NULL, NULL);
    fm_builder_begin(&m->b, "indices", m->kernel, FLASHMEM_COST_ELEMENTWISE);
    fm_builder_read(&m->b, m->recent[0]);
    fm_builder_write(&m->b, out);
    fm_builder_global(&m->b, 64, 1, 1);
    fm_builder_work(&m->b, 100, 100);
    fm_builder_end(&m->b);
    return out;
}

static uint32_t boundary(maker *m, fm_value_kind kind, flashmem_dtype dtype, int64_t count, const char *name,
                         uint64_t limit) {
    fm_shape shape = { 2, { 1, count } };
    uint32_t value = fm_builder_value(&m->b, kind, dtype, count * fm_dtype_bytes(dtype), name, &shape);
    m->b.values[value].limit = limit;
    return value;
}

static void build(maker *m) {
    const fm_synthetic *s = m->what;
    fm_builder_init(&m->b, m->arena);
    m->bundle = m->first_large = FM_NONE;
    m->kernel = fm_builder_kernel(&m->b, s->source ? s->source : "none.cl", "", "step", 0);
    uint32_t x = boundary(m, FM_VALUE_INPUT, FLASHMEM_F32, 3000, "x", 0);
    fm_builder_input(&m->b, x);
    for (int i = 0; i < 4; i++) push(m, x);
    if (s->rows) {
        uint32_t ids = boundary(m, FM_VALUE_INPUT, FLASHMEM_I64, s->rows, "ids", FM_SYNTHETIC_TABLE_ROWS);
        fm_builder_input(&m->b, ids);
        gather(m, ids, s->rows);
    }
    for (uint32_t i = 0; i < s->steps; i++) {
        for (uint64_t plain = next(m, 3); plain; plain--) plain_step(m, activation(m, 4096 + next(m, VALUE_BYTES)));
        if (s->computed_rows && i == s->steps / 2) gather(m, index_step(m, s->computed_rows), s->computed_rows);
        uint32_t w = large_weight(m);
        if (m->first_large == FM_NONE) m->first_large = w;
        split_step(m, w, activation(m, 65536 + next(m, 4 * VALUE_BYTES)));
    }
    uint32_t y = boundary(m, FM_VALUE_OUTPUT, FLASHMEM_F32, 20000 + (int64_t)next(m, 40000), "y", 0);
    uint32_t z = boundary(m, FM_VALUE_OUTPUT, FLASHMEM_F32, 500, "z", 0);
    if (s->tied) split_step(m, m->first_large, y);
    else plain_step(m, y);
    plain_step(m, z);
    uint32_t again = boundary(m, FM_VALUE_OUTPUT, FLASHMEM_F32, 3000, "x_again", 0);
    m->b.values[again].alias = x; /* the model hands its input on */
    fm_builder_output(&m->b, y);
    fm_builder_output(&m->b, z);
    fm_builder_output(&m->b, again);
}

static void fill(maker *m, uint64_t *data, uint64_t bytes) {
    for (uint64_t i = 0; i < bytes / 8; i++) data[i] = next(m, UINT32_MAX) << 32 | next(m, UINT32_MAX);
}

static void write_weights(maker *m, fm_pack_writer *writer) {
    flashmem_error err = { 0 };
    for (uint32_t o = 0; o < m->object_count; o++) {
        uint64_t *data = malloc(m->objects[o].bytes);
        fill(m, data, m->objects[o].bytes);
        assert_int_equal(fm_pack_writer_object(writer, o, 0, data, m->objects[o].bytes, &err), FLASHMEM_OK);
        free(data);
    }
    for (uint32_t w = 0; w < m->weight_count; w++) {
        if (m->weights[w].kind != FM_WEIGHT_ROWS) continue;
        uint64_t  bytes = m->weights[w].k * m->weights[w].row_bytes;
        uint64_t *data = malloc(up(bytes, 8));
        fill(m, data, bytes);
        assert_int_equal(fm_pack_writer_rows(writer, w, 0, data, m->weights[w].k, &err), FLASHMEM_OK);
        free(data);
    }
}

void fm_synthetic_write(const fm_synthetic *what, const char *path) {
    maker         *m = calloc(1, sizeof *m);
    flashmem_error err = { 0 };
    m->what = what;
    m->state = what->seed * 77 + 5;
    m->arena = fm_arena_create();
    build(m);
    fm_program program = fm_builder_program(&m->b);
    uint32_t   paths = what->texture ? 1u << FLASHMEM_PATH_TEXTURE_COPY : 1u << FLASHMEM_PATH_IN_PLACE;
    uint64_t   key = 1, bytes = 0, floats = 0;
    for (uint32_t w = 0; w < m->weight_count; w++) floats += m->weights[w].bytes;
    fm_pack_contents contents = {
        .layout = what->texture ? FLASHMEM_LAYOUT_TEXTURE : FLASHMEM_LAYOUT_CPU,
        .weights = what->half ? FLASHMEM_WEIGHTS_FP16 : FLASHMEM_WEIGHTS_FP32,
        .float_weight_bytes = floats,
        .strings = program.strings,
        .string_bytes = program.string_bytes,
        .weight_table = m->weights,
        .weight_count = m->weight_count,
        .object_table = m->objects,
        .object_count = m->object_count,
        .programs = &program,
        .memory_paths = &paths,
        .shape_keys = &key,
        .program_count = 1,
    };
    fm_pack_writer *writer = NULL;
    if (fm_pack_writer_open(&writer, path, &contents, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
    write_weights(m, writer);
    if (fm_pack_writer_commit(writer, &bytes, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
    fm_arena_destroy(m->arena);
    free(m);
}

void fm_synthetic_bind(flashmem_model *model, fm_synthetic_inputs *inputs, uint64_t seed) {
    flashmem_error err = { 0 };
    for (uint32_t i = 0; i < flashmem_model_input_count(model); i++) {
        flashmem_tensor_info info;
        flashmem_model_input_info(model, i, &info);
        if (!inputs->data[i] && posix_memalign(&inputs->data[i], 64, up(info.bytes, 64)) != 0) fail();
        uint64_t state = seed + i;
        for (uint64_t at = 0; at < info.bytes; at += 8) {
            state = state * UINT64_C(6364136223846793005) + 1;
            uint64_t word = info.limit ? (state >> 33) % info.limit : state;
            memcpy((char *)inputs->data[i] + at, &word, info.bytes - at < 8 ? info.bytes - at : 8);
        }
        if (flashmem_model_bind_input(model, i, inputs->data[i], info.bytes, &err) != FLASHMEM_OK)
            fail_msg("%s", err.message);
    }
}

void fm_synthetic_free(fm_synthetic_inputs *inputs) {
    for (int i = 0; i < 4; i++) {
        free(inputs->data[i]);
        inputs->data[i] = NULL;
    }
}

uint64_t fm_synthetic_outputs(const flashmem_model *model) {
    uint64_t hash = 0;
    for (uint32_t i = 0; i < flashmem_model_output_count(model); i++) {
        flashmem_tensor_info info;
        flashmem_model_output_info(model, i, &info);
        hash = fm_hash_seeded(flashmem_model_output(model, i), info.bytes, hash);
    }
    return hash;
}
