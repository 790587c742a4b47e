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

#include "compile/profile/shapes.h"
#include "tests/kernels/harness.h"

enum { MOST_VALUES = 16, MOST_REPEATS = 10000 };

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
    bool               half;
    void              *data[MOST_VALUES];
} bench;

static void fill(void *data[], uint32_t value, int64_t count) {
    data[value] = malloc((size_t)count * 4);
    if (!data[value]) abort();
    fm_harness_fill(data[value], (size_t)count, value + 1);
}

static fm_view activation(void *user, const int64_t *dims, uint32_t rank, const uint32_t *axes, bool written) {
    bench  *b = user;
    fm_view v = { .dtype = FLASHMEM_F32, .shape = { .rank = rank } };
    int64_t stride = 1;
    (void)written;
    memcpy(v.shape.dims, dims, rank * sizeof *dims);
    for (uint32_t i = rank; i-- > 0;) {
        v.strides[axes[i]] = stride;
        stride *= dims[axes[i]];
    }
    v.value = fm_builder_value(&b->builder, FM_VALUE_ACTIVATION, FLASHMEM_F32, stride * 4, NULL, NULL);
    fill(b->data, v.value, stride);
    return v;
}

static flashmem_status panels(void *user, int64_t k, int64_t n, uint32_t *value, flashmem_error *err) {
    bench           *b = user;
    fm_weight_format format = b->half ? FM_WEIGHT_F16 : FM_WEIGHT_F32;
    float           *matrix = malloc((size_t)(k * n) * 4);
    if (!matrix) return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "no memory for a matrix");
    fm_harness_fill(matrix, (size_t)(k * n), 77);
    void *packed = fm_harness_pack(&b->weight, b->emit.target.layout, format, matrix, (uint64_t)k, (uint64_t)n, 0);
    *value = fm_builder_weight(&b->builder, 0, b->half ? FLASHMEM_F16 : FLASHMEM_F32, (int64_t)b->weight.bytes, NULL);
    b->data[*value] = packed;
    free(matrix);
    return FLASHMEM_OK;
}

static const fm_row *pick(const bench *b, const fm_shape_row *s, const void *desc, const char *name) {
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
static void report(const fm_shape_row *s, const fm_row *row, const options *o, const fm_program *p, double *samples,
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

static flashmem_status time_shape(fm_harness *h, const fm_shape_row *s, const options *o, flashmem_error *err) {
    fm_shape_desc  desc;
    bench          b = { .arena = fm_arena_create(), .half = o->half };
    fm_shape_maker maker = { .user = &b, .activation = activation, .panels = panels };
    double        *samples = NULL;
    fm_builder_init(&b.builder, b.arena);
    b.emit = (fm_emit){ .builder = &b.builder,
                        .weights = &b.weight,
                        .target = { .layout = o->row && strstr(o->row, "texture") ? FLASHMEM_LAYOUT_TEXTURE
                                                                                  : FLASHMEM_LAYOUT_CPU,
                                    .device = fm_harness_device_bits(h) } };
    flashmem_status status = fm_shape_describe(s, &maker, &desc, err);
    const fm_row   *row = status == FLASHMEM_OK ? pick(&b, s, &desc, o->row) : NULL;
    if (row) status = row->emit(&b.emit, &desc, err);
    if (row && status == FLASHMEM_OK) {
        fm_program     program = fm_builder_program(&b.builder);
        fm_harness_run run = { .program = &program, .weights = &b.weight, .data = b.data, .repeats = 1 };
        samples = calloc((size_t)program.step_count * o->repeats, sizeof *samples);
        if (!samples) abort();
        status = fm_harness_execute(h, &run, err); /* builds and warms up */
        run.repeats = o->repeats;
        run.samples = samples;
        if (status == FLASHMEM_OK) status = fm_harness_execute(h, &run, err);
        if (status == FLASHMEM_OK) report(s, row, o, &program, samples, fm_shape_flops(s));
    }
    free(samples);
    for (int i = 0; i < MOST_VALUES; i++) free(b.data[i]);
    fm_arena_destroy(b.arena);
    return status;
}

/* What this program times; ort_kernels.py knows no others. */
static bool is_product(const fm_shape_row *s) {
    return s->family == FM_FAMILY_MATMUL || s->family == FM_FAMILY_BATCH_MATMUL ||
           (s->family == FM_FAMILY_CONV && s->size[7] == 1);
}

static void list(void) {
    for (uint32_t i = 0; i < fm_shape_row_count; i++) {
        const fm_shape_row *s = &fm_shape_rows[i];
        const int64_t      *n = s->size;
        if (!is_product(s)) continue;
        printf("{\"shape\": \"%s\", \"model\": \"%s\", \"family\": \"%s\", \"size\": [%lld, %lld, %lld, %lld, %lld, "
               "%lld]}\n",
               s->name, s->model, fm_family_name(s->family), (long long)n[0], (long long)n[1], (long long)n[2],
               (long long)n[3], (long long)n[4], (long long)n[5]);
    }
}

static bool selected(const fm_shape_row *s, int argc, char **argv) {
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
    for (uint32_t i = 0; i < fm_shape_row_count && status == FLASHMEM_OK; i++)
        if (is_product(&fm_shape_rows[i]) && selected(&fm_shape_rows[i], argc, argv))
            status = time_shape(h, &fm_shape_rows[i], &o, &err);
    if (status != FLASHMEM_OK) fprintf(stderr, "kernels: %s\n", err.message);
    fm_harness_close(h);
    return status != FLASHMEM_OK;
}
