/* Micro-benchmark of kernel rows: times matmul, convolution and batch_matmul shapes of the zoo's models by device
 * events and prints one JSON object per shape and row.
 *
 *   kernels [--list] [--half] [--row NAME] [--repeats N] [--shape NAME]...
 *
 * --list prints the shapes (bench/peers/ort_kernels.py times the same ones); without --shape all are timed; without
 * --row the row that the choice takes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/rows.h"
#include "tests/kernels/harness.h"

/* size: matmul M, K, N; conv C, H, O, kernel, stride, pad, channels-first; batch B, M, K, N, b transposed. */
typedef struct shape {
    const char *model, *name;
    fm_family   family;
    int64_t     size[8];
} shape;

/* clang-format off */
#define MATMUL(model, m, k, n) { model, model "/" #m "x" #k "x" #n, FM_FAMILY_MATMUL, { m, k, n } }
#define CONV(model, c, h, o, kernel, stride, pad, first) \
    { model, model "/" #c "x" #h "-" #o "k" #kernel "s" #stride, FM_FAMILY_CONV, \
      { c, h, o, kernel, stride, pad, first } }
#define BATCH(model, b, m, k, n, t) \
    { model, model "/" #b "x" #m "x" #k "x" #n, FM_FAMILY_BATCH_MATMUL, { b, m, k, n, t } }
/* clang-format on */

static const shape shapes[] = {
    MATMUL("gptn-s", 128, 768, 768),
    MATMUL("gptn-s", 128, 768, 3072),
    MATMUL("gptn-s", 128, 3072, 768),
    MATMUL("gptn-s", 128, 768, 50257),
    MATMUL("vit-b16", 197, 768, 2304),
    MATMUL("vit-b16", 197, 768, 768),
    MATMUL("vit-b16", 197, 768, 3072),
    MATMUL("vit-b16", 197, 3072, 768),
    CONV("vit-b16", 3, 224, 768, 16, 16, 0, 1),
    MATMUL("minilm-l6", 128, 384, 384),
    MATMUL("minilm-l6", 128, 384, 1536),
    MATMUL("minilm-l6", 128, 1536, 384),
    CONV("resnet50", 3, 224, 64, 7, 2, 3, 1),
    CONV("resnet50", 64, 56, 64, 1, 1, 0, 0),
    CONV("resnet50", 64, 56, 64, 3, 1, 1, 0),
    CONV("resnet50", 64, 56, 256, 1, 1, 0, 0),
    CONV("resnet50", 256, 56, 64, 1, 1, 0, 0),
    CONV("resnet50", 256, 56, 128, 1, 1, 0, 0),
    CONV("resnet50", 128, 56, 128, 3, 2, 1, 0),
    CONV("resnet50", 128, 28, 512, 1, 1, 0, 0),
    CONV("resnet50", 256, 56, 512, 1, 2, 0, 0),
    CONV("resnet50", 512, 28, 128, 1, 1, 0, 0),
    CONV("resnet50", 128, 28, 128, 3, 1, 1, 0),
    CONV("resnet50", 512, 28, 256, 1, 1, 0, 0),
    CONV("resnet50", 256, 28, 256, 3, 2, 1, 0),
    CONV("resnet50", 256, 14, 1024, 1, 1, 0, 0),
    CONV("resnet50", 512, 28, 1024, 1, 2, 0, 0),
    CONV("resnet50", 1024, 14, 256, 1, 1, 0, 0),
    CONV("resnet50", 256, 14, 256, 3, 1, 1, 0),
    CONV("resnet50", 1024, 14, 512, 1, 1, 0, 0),
    CONV("resnet50", 512, 14, 512, 3, 2, 1, 0),
    CONV("resnet50", 512, 7, 2048, 1, 1, 0, 0),
    CONV("resnet50", 1024, 14, 2048, 1, 2, 0, 0),
    CONV("resnet50", 2048, 7, 512, 1, 1, 0, 0),
    CONV("resnet50", 512, 7, 512, 3, 1, 1, 0),
    MATMUL("other", 1, 768, 3072),
    MATMUL("other", 2, 768, 3072),
    MATMUL("other", 4, 768, 3072),
    MATMUL("other", 7, 768, 3072),
    MATMUL("other", 49, 768, 3072),
    MATMUL("other", 512, 1024, 1024),
    BATCH("other", 12, 128, 64, 128, 1),
    BATCH("other", 12, 128, 128, 64, 0),
    BATCH("other", 12, 197, 64, 197, 1),
    BATCH("other", 12, 197, 197, 64, 0),
    BATCH("other", 12, 128, 32, 128, 1),
    BATCH("other", 12, 128, 128, 32, 0),
};
enum { SHAPES = sizeof shapes / sizeof shapes[0], MOST_VALUES = 16, MOST_REPEATS = 10000 };

typedef struct options {
    bool        half, list;
    const char *row;
    uint32_t    repeats;
} options;

/* A program of one operation with its host arrays. */
typedef struct bench {
    fm_arena          *arena;
    fm_program_builder builder;
    fm_weight          weight;
    fm_emit            emit;
    void              *data[MOST_VALUES];
} bench;

static void fill(void *data[], uint32_t value, int64_t count) {
    data[value] = malloc((size_t)count * 4);
    if (!data[value]) abort();
    fm_harness_fill(data[value], (size_t)count, value + 1);
}

/* axes: memory order, outermost first. */
static fm_view view(bench *b, const int64_t *dims, uint32_t rank, const uint32_t *axes) {
    fm_view v = { .dtype = FLASHMEM_F32, .shape = { .rank = rank } };
    int64_t stride = 1;
    memcpy(v.shape.dims, dims, rank * sizeof *dims);
    for (uint32_t i = rank; i-- > 0;) {
        v.strides[axes[i]] = stride;
        stride *= dims[axes[i]];
    }
    v.value = fm_builder_value(&b->builder, FM_VALUE_ACTIVATION, FLASHMEM_F32, stride * 4, NULL, NULL);
    fill(b->data, v.value, stride);
    return v;
}

static uint32_t weight(bench *b, uint64_t k, uint64_t n, bool half) {
    fm_weight_format format = half ? FM_WEIGHT_F16 : FM_WEIGHT_F32;
    float           *matrix = malloc(k * n * 4);
    if (!matrix) abort();
    fm_harness_fill(matrix, k * n, 77);
    void    *packed = fm_harness_pack(&b->weight, b->emit.target.layout, format, matrix, k, n, 0);
    uint32_t value = fm_builder_weight(&b->builder, 0, half ? FLASHMEM_F16 : FLASHMEM_F32, (int64_t)b->weight.bytes,
                                       NULL);
    b->data[value] = packed;
    free(matrix);
    return value;
}

static const uint32_t row_major[4] = { 0, 1, 2, 3 }, channels_last[4] = { 0, 2, 3, 1 }, last_outer[4] = { 0, 1, 3, 2 };

static double describe_matmul(bench *b, const shape *s, bool half, fm_matmul_desc *d) {
    int64_t m = s->size[0], k = s->size[1], n = s->size[2];
    *d = (fm_matmul_desc){ .name = s->name,
                           .x = view(b, (int64_t[]){ 1, m, k }, 3, row_major),
                           .out = view(b, (int64_t[]){ 1, m, n }, 3, row_major),
                           .weight = weight(b, (uint64_t)k, (uint64_t)n, half) };
    fm_epilogue_init(&d->epilogue);
    return 2.0 * (double)m * (double)k * (double)n;
}

static double describe_conv(bench *b, const shape *s, bool half, fm_conv_desc *d) {
    int64_t  c = s->size[0], h = s->size[1], o = s->size[2], kernel = s->size[3], stride = s->size[4], pad = s->size[5];
    int64_t  out = (h + 2 * pad - kernel) / stride + 1;
    uint32_t k32 = (uint32_t)kernel, s32 = (uint32_t)stride;
    *d = (fm_conv_desc){ .name = s->name,
                         .group = 1,
                         .kernel = { k32, k32 },
                         .stride = { s32, s32 },
                         .dilation = { 1, 1 },
                         .pad = { (int32_t)pad, (int32_t)pad, (int32_t)pad, (int32_t)pad },
                         .x = view(b, (int64_t[]){ 1, c, h, h }, 4, s->size[6] ? row_major : channels_last),
                         .out = view(b, (int64_t[]){ 1, o, out, out }, 4, channels_last),
                         .weight = weight(b, (uint64_t)(kernel * kernel * c), (uint64_t)o, half) };
    fm_epilogue_init(&d->epilogue);
    d->epilogue.bias = view(b, &o, 1, row_major);
    return 2.0 * (double)(kernel * kernel * c) * (double)(o * out * out);
}

static double describe_batch(bench *b, const shape *s, fm_batch_matmul_desc *d) {
    int64_t heads = s->size[0], m = s->size[1], k = s->size[2], n = s->size[3];
    *d = (fm_batch_matmul_desc){ .name = s->name,
                                 .a = view(b, (int64_t[]){ 1, heads, m, k }, 4, row_major),
                                 .b = view(b, (int64_t[]){ 1, heads, k, n }, 4, s->size[4] ? last_outer : row_major),
                                 .out = view(b, (int64_t[]){ 1, heads, m, n }, 4, row_major) };
    fm_epilogue_init(&d->epilogue);
    return 2.0 * (double)heads * (double)m * (double)k * (double)n;
}

static const fm_row *pick(const bench *b, const shape *s, const void *desc, const char *name) {
    if (!name) return fm_row_choose(&b->emit, s->family, desc);
    for (size_t i = 0; i < fm_row_count; i++)
        if (fm_rows[i]->family == s->family && strcmp(fm_rows[i]->name, name) == 0 &&
            fm_row_fits(fm_rows[i], &b->emit, desc))
            return fm_rows[i];
    return NULL;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *samples, uint32_t count) {
    qsort(samples, count, sizeof *samples, ascending);
    return samples[count / 2];
}

/* An operation's time is the sum of its steps, per repeat. */
static void report(const shape *s, const fm_row *row, const options *o, const fm_program *p, double *samples,
                   double flops) {
    char steps[256] = "";
    for (uint32_t step = 1; step < p->step_count; step++)
        for (uint32_t r = 0; r < o->repeats; r++) samples[r] += samples[step * o->repeats + r];
    for (uint32_t step = 1; step < p->step_count; step++)
        snprintf(steps + strlen(steps), sizeof steps - strlen(steps), "%s%.2f", step > 1 ? ", " : "",
                 median(samples + step * o->repeats, o->repeats) * 1e6);
    double typical = median(samples, o->repeats), least = samples[0];
    printf("{\"shape\": \"%s\", \"model\": \"%s\", \"row\": \"%s\", \"weights\": \"%s\", \"us_min\": %.2f, "
           "\"us_median\": %.2f, "
           "\"us_later_steps\": [%s], \"gflops_max\": %.2f, \"gflops_median\": %.2f}\n",
           s->name, s->model, row->name, o->half ? "fp16" : "fp32", least * 1e6, typical * 1e6, steps,
           flops / least * 1e-9, flops / typical * 1e-9);
    fflush(stdout);
}

static flashmem_status time_shape(fm_harness *h, const shape *s, const options *o, flashmem_error *err) {
    union {
        fm_matmul_desc       matmul;
        fm_conv_desc         conv;
        fm_batch_matmul_desc batch;
    } desc;
    bench  b = { .arena = fm_arena_create() };
    double flops, *samples = NULL;
    fm_builder_init(&b.builder, b.arena);
    b.emit = (fm_emit){ .builder = &b.builder,
                        .weights = &b.weight,
                        .target = { .layout = o->row && strstr(o->row, "texture") ? FLASHMEM_LAYOUT_TEXTURE
                                                                                  : FLASHMEM_LAYOUT_CPU,
                                    .device = fm_harness_device_bits(h) } };
    if (s->family == FM_FAMILY_MATMUL) flops = describe_matmul(&b, s, o->half, &desc.matmul);
    else if (s->family == FM_FAMILY_CONV) flops = describe_conv(&b, s, o->half, &desc.conv);
    else flops = describe_batch(&b, s, &desc.batch);
    const fm_row   *row = pick(&b, s, &desc, o->row);
    flashmem_status status = row ? row->emit(&b.emit, &desc, err) : FLASHMEM_OK;
    if (row && status == FLASHMEM_OK) {
        fm_program     program = fm_builder_program(&b.builder);
        fm_harness_run run = { .program = &program, .weights = &b.weight, .data = b.data, .repeats = 1 };
        samples = calloc((size_t)program.step_count * o->repeats, sizeof *samples);
        if (!samples) abort();
        status = fm_harness_execute(h, &run, err); /* builds and warms up */
        run.repeats = o->repeats;
        run.samples = samples;
        if (status == FLASHMEM_OK) status = fm_harness_execute(h, &run, err);
        if (status == FLASHMEM_OK) report(s, row, o, &program, samples, flops);
    }
    free(samples);
    for (int i = 0; i < MOST_VALUES; i++) free(b.data[i]);
    fm_arena_destroy(b.arena);
    return status;
}

static void list(void) {
    for (int i = 0; i < SHAPES; i++) {
        const int64_t *n = shapes[i].size;
        printf("{\"shape\": \"%s\", \"model\": \"%s\", \"family\": \"%s\", \"size\": [%lld, %lld, %lld, %lld, %lld, "
               "%lld]}\n",
               shapes[i].name, shapes[i].model, fm_family_name(shapes[i].family), (long long)n[0], (long long)n[1],
               (long long)n[2], (long long)n[3], (long long)n[4], (long long)n[5]);
    }
}

static bool selected(const shape *s, int argc, char **argv) {
    bool any = false;
    for (int i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], "--shape") != 0) continue;
        any = true;
        if (strncmp(argv[i + 1], s->name, strlen(argv[i + 1])) == 0) return true;
    }
    return !any;
}

int main(int argc, char **argv) {
    options        o = { .repeats = 30 };
    fm_harness    *h = NULL;
    flashmem_error err = { 0 };
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--half") == 0) o.half = true;
        else if (strcmp(argv[i], "--list") == 0) o.list = true;
        else if (strcmp(argv[i], "--row") == 0 && i + 1 < argc) o.row = argv[++i];
        else if (strcmp(argv[i], "--repeats") == 0 && i + 1 < argc) o.repeats = (uint32_t)strtoul(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--shape") == 0 && i + 1 < argc) i++;
        else return fprintf(stderr, "kernels: unknown option %s\n", argv[i]), 2;
    }
    if (o.repeats < 1 || o.repeats > MOST_REPEATS)
        return fprintf(stderr, "kernels: --repeats 1 to %d\n", MOST_REPEATS), 2;
    if (o.list) return list(), 0;
    flashmem_status status = fm_harness_open(&h, &err);
    for (int i = 0; i < SHAPES && status == FLASHMEM_OK; i++)
        if (selected(&shapes[i], argc, argv)) status = time_shape(h, &shapes[i], &o, &err);
    if (status != FLASHMEM_OK) fprintf(stderr, "kernels: %s\n", err.message);
    fm_harness_close(h);
    return status != FLASHMEM_OK;
}
