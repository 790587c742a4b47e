/* The table of shapes, and a description for each: one function per family. */
#include "compile/profile/shapes.h"

#include <string.h>

/* clang-format off */
#define FULL  FM_SHAPES_FULL
#define BRIEF FM_SHAPES_BRIEF
#define PROBE FM_SHAPES_PROBE
#define MATMUL(model, m, k, n, level) \
    { model, model "/" #m "x" #k "x" #n, FM_FAMILY_MATMUL, { m, k, n }, level }
#define CONV(model, c, h, o, kernel, stride, pad, first, level) \
    { model, model "/" #c "x" #h "-" #o "k" #kernel "s" #stride, FM_FAMILY_CONV, \
      { c, h, o, kernel, stride, pad, first, 1 }, level }
#define DEPTHWISE(model, c, h, kernel, stride, pad, level) \
    { model, model "/" #c "x" #h "d" #kernel "s" #stride, FM_FAMILY_CONV, \
      { c, h, c, kernel, stride, pad, 0, c }, level }
#define BATCH(model, b, m, k, n, t, level) \
    { model, model "/" #b "x" #m "x" #k "x" #n, FM_FAMILY_BATCH_MATMUL, { b, m, k, n, t }, level }
#define ATTENTION(model, heads, s, t, d, level) \
    { model, model "/attention-" #heads "x" #s "x" #t "x" #d, FM_FAMILY_ATTENTION, { heads, s, t, d }, level }
#define NORM(model, rows, c, rms, level) \
    { model, model "/norm-" #rows "x" #c "-" #rms, FM_FAMILY_NORM, { rows, c, rms }, level }
#define GROUP_NORM(model, groups, c, pixels, level) \
    { model, model "/group-norm-" #groups "x" #c "x" #pixels, FM_FAMILY_GROUP_NORM, { groups, c, pixels }, level }
#define SOFTMAX(model, rows, c, level) \
    { model, model "/softmax-" #rows "x" #c, FM_FAMILY_SOFTMAX, { rows, c }, level }
#define REDUCE(model, rows, c, first, level) \
    { model, model "/mean-" #rows "x" #c "-" #first, FM_FAMILY_REDUCE, { rows, c, first }, level }
#define POOL(model, c, h, kernel, stride, level) \
    { model, model "/pool-" #c "x" #h "k" #kernel "s" #stride, FM_FAMILY_POOL, { c, h, kernel, stride }, level }
#define ELEMENTWISE(model, rows, c, kind, level) \
    { model, model "/" #kind "-" #rows "x" #c, FM_FAMILY_ELEMENTWISE, { rows, c, kind }, level }
#define GATHER(model, table, c, indices, level) \
    { model, model "/gather-" #table "x" #c "-" #indices, FM_FAMILY_GATHER, { table, c, indices }, level }

/* What elementwise shapes do: TURN is a copy across the rows. */
enum { ADD, GELU, COPY, TURN };

const fm_shape_row fm_shape_rows[] = {
    MATMUL("gptn-s", 128, 768, 768, BRIEF),
    MATMUL("gptn-s", 128, 768, 3072, BRIEF),
    MATMUL("gptn-s", 128, 3072, 768, BRIEF),
    MATMUL("gptn-s", 128, 768, 50257, FULL),
    MATMUL("vit-b16", 197, 768, 2304, BRIEF),
    MATMUL("vit-b16", 197, 768, 768, BRIEF),
    MATMUL("vit-b16", 197, 768, 3072, FULL),
    MATMUL("vit-b16", 197, 3072, 768, BRIEF),
    CONV("vit-b16", 3, 224, 768, 16, 16, 0, 1, BRIEF),
    MATMUL("minilm-l6", 128, 384, 384, PROBE),
    MATMUL("minilm-l6", 128, 384, 1536, BRIEF),
    MATMUL("minilm-l6", 128, 1536, 384, BRIEF),
    CONV("resnet50", 3, 224, 64, 7, 2, 3, 1, BRIEF),
    CONV("resnet50", 64, 56, 64, 1, 1, 0, 0, PROBE),
    CONV("resnet50", 64, 56, 64, 3, 1, 1, 0, BRIEF),
    CONV("resnet50", 64, 56, 256, 1, 1, 0, 0, FULL),
    CONV("resnet50", 256, 56, 64, 1, 1, 0, 0, BRIEF),
    CONV("resnet50", 256, 56, 128, 1, 1, 0, 0, FULL),
    CONV("resnet50", 128, 56, 128, 3, 2, 1, 0, BRIEF),
    CONV("resnet50", 128, 28, 512, 1, 1, 0, 0, BRIEF),
    CONV("resnet50", 256, 56, 512, 1, 2, 0, 0, FULL),
    CONV("resnet50", 512, 28, 128, 1, 1, 0, 0, FULL),
    CONV("resnet50", 128, 28, 128, 3, 1, 1, 0, BRIEF),
    CONV("resnet50", 512, 28, 256, 1, 1, 0, 0, FULL),
    CONV("resnet50", 256, 28, 256, 3, 2, 1, 0, FULL),
    CONV("resnet50", 256, 14, 1024, 1, 1, 0, 0, BRIEF),
    CONV("resnet50", 512, 28, 1024, 1, 2, 0, 0, FULL),
    CONV("resnet50", 1024, 14, 256, 1, 1, 0, 0, BRIEF),
    CONV("resnet50", 256, 14, 256, 3, 1, 1, 0, BRIEF),
    CONV("resnet50", 1024, 14, 512, 1, 1, 0, 0, FULL),
    CONV("resnet50", 512, 14, 512, 3, 2, 1, 0, FULL),
    CONV("resnet50", 512, 7, 2048, 1, 1, 0, 0, BRIEF),
    CONV("resnet50", 1024, 14, 2048, 1, 2, 0, 0, FULL),
    CONV("resnet50", 2048, 7, 512, 1, 1, 0, 0, BRIEF),
    CONV("resnet50", 512, 7, 512, 3, 1, 1, 0, FULL),
    MATMUL("other", 1, 768, 3072, BRIEF),
    MATMUL("other", 2, 768, 3072, FULL),
    MATMUL("other", 4, 768, 3072, PROBE),
    MATMUL("other", 7, 768, 3072, FULL),
    MATMUL("other", 49, 768, 3072, BRIEF),
    MATMUL("other", 512, 1024, 1024, BRIEF),
    BATCH("other", 12, 128, 64, 128, 1, BRIEF),
    BATCH("other", 12, 128, 128, 64, 0, BRIEF),
    BATCH("other", 12, 197, 64, 197, 1, BRIEF),
    BATCH("other", 12, 197, 197, 64, 0, BRIEF),
    BATCH("other", 12, 128, 32, 128, 1, PROBE),
    BATCH("other", 12, 128, 128, 32, 0, BRIEF),
    BATCH("other", 8, 64, 40, 64, 1, BRIEF),
    BATCH("other", 16, 256, 64, 256, 1, BRIEF),
    ATTENTION("gptn-s", 12, 128, 128, 64, BRIEF),
    ATTENTION("vit-b16", 12, 197, 197, 64, BRIEF),
    ATTENTION("minilm-l6", 12, 128, 128, 32, BRIEF),
    ATTENTION("whisper-m-enc", 16, 1500, 1500, 64, FULL),
    ATTENTION("sd-unet", 8, 1024, 1024, 40, FULL),
    ATTENTION("sd-unet", 8, 1024, 77, 40, BRIEF),
    ATTENTION("depth-s", 6, 325, 325, 64, BRIEF),
    ATTENTION("other", 12, 16, 16, 64, PROBE),
    ATTENTION("other", 16, 512, 512, 64, BRIEF),
    NORM("other", 1, 768, 0, BRIEF),
    NORM("other", 16, 1024, 0, BRIEF),
    NORM("gptn-s", 128, 768, 0, BRIEF),
    NORM("vit-b16", 197, 768, 0, BRIEF),
    NORM("minilm-l6", 128, 384, 0, PROBE),
    NORM("depth-s", 325, 384, 0, BRIEF),
    NORM("llama2-13b", 128, 5120, 1, BRIEF),
    NORM("other", 512, 1024, 1, BRIEF),
    NORM("whisper-m-enc", 1500, 1024, 0, BRIEF),
    NORM("sam2-hiera-l", 16384, 144, 0, BRIEF),
    GROUP_NORM("sd-unet", 32, 320, 1024, FULL),
    GROUP_NORM("sd-unet", 32, 640, 256, FULL),
    GROUP_NORM("sd-unet", 32, 1280, 64, FULL),
    SOFTMAX("other", 128, 128, FULL),
    SOFTMAX("other", 1536, 128, FULL),
    SOFTMAX("other", 2364, 197, FULL),
    SOFTMAX("other", 1024, 1024, FULL),
    SOFTMAX("other", 128, 50257, FULL),
    REDUCE("resnet50", 49, 2048, 1, FULL),
    REDUCE("other", 196, 768, 1, FULL),
    REDUCE("other", 1024, 768, 0, FULL),
    POOL("resnet50", 64, 112, 3, 2, FULL),
    POOL("other", 128, 56, 2, 2, FULL),
    DEPTHWISE("other", 96, 56, 7, 1, 3, FULL),
    DEPTHWISE("other", 240, 14, 5, 1, 2, FULL),
    DEPTHWISE("other", 144, 56, 3, 1, 1, FULL),
    ELEMENTWISE("other", 1, 768, ADD, BRIEF),
    ELEMENTWISE("other", 16, 768, ADD, BRIEF),
    ELEMENTWISE("minilm-l6", 128, 384, ADD, PROBE),
    ELEMENTWISE("gptn-s", 128, 768, ADD, BRIEF),
    ELEMENTWISE("vit-b16", 197, 768, ADD, BRIEF),
    ELEMENTWISE("resnet50", 784, 512, ADD, BRIEF),
    ELEMENTWISE("resnet50", 3136, 256, ADD, BRIEF),
    ELEMENTWISE("sd-unet", 1024, 1280, ADD, BRIEF),
    ELEMENTWISE("sam2-hiera-l", 16384, 144, ADD, BRIEF),
    ELEMENTWISE("other", 1, 3072, GELU, BRIEF),
    ELEMENTWISE("other", 16, 3072, GELU, PROBE),
    ELEMENTWISE("minilm-l6", 128, 1536, GELU, BRIEF),
    ELEMENTWISE("gptn-s", 128, 3072, GELU, BRIEF),
    ELEMENTWISE("vit-b16", 197, 3072, GELU, BRIEF),
    ELEMENTWISE("sd-unet", 1024, 1280, GELU, BRIEF),
    ELEMENTWISE("other", 4096, 576, GELU, FULL),
    ELEMENTWISE("other", 1, 1024, COPY, BRIEF),
    ELEMENTWISE("other", 16, 1024, COPY, BRIEF),
    ELEMENTWISE("other", 64, 1024, COPY, BRIEF),
    ELEMENTWISE("other", 150, 1024, COPY, BRIEF),
    ELEMENTWISE("other", 400, 1024, COPY, PROBE),
    ELEMENTWISE("other", 1024, 1024, COPY, BRIEF),
    ELEMENTWISE("other", 2048, 1024, COPY, BRIEF),
    ELEMENTWISE("other", 4096, 1024, COPY, FULL),
    ELEMENTWISE("other", 64, 128, TURN, PROBE),
    ELEMENTWISE("other", 384, 196, TURN, BRIEF),
    ELEMENTWISE("vit-b16", 768, 196, TURN, BRIEF),
    ELEMENTWISE("other", 320, 1024, TURN, BRIEF),
    ELEMENTWISE("sam2-hiera-l", 576, 4096, TURN, FULL),
    GATHER("other", 512, 384, 8, BRIEF),
    GATHER("minilm-l6", 512, 384, 128, PROBE),
    GATHER("gptn-s", 2048, 768, 128, BRIEF),
    GATHER("other", 2048, 768, 512, BRIEF),
    GATHER("other", 2048, 64, 1024, BRIEF),
};
/* clang-format on */
const uint32_t fm_shape_row_count = sizeof fm_shape_rows / sizeof *fm_shape_rows;

static const uint32_t row_major[4] = { 0, 1, 2, 3 }, channels_last[4] = { 0, 2, 3, 1 }, last_outer[4] = { 0, 1, 3, 2 };

#define DIMS(...) ((const int64_t[]){ __VA_ARGS__ }), (uint32_t)(sizeof(int64_t[]){ __VA_ARGS__ } / sizeof(int64_t))

static fm_view reads(const fm_shape_maker *m, const int64_t *dims, uint32_t rank, const uint32_t *axes) {
    return m->activation(m->user, dims, rank, axes, false);
}
static fm_view writes(const fm_shape_maker *m, const int64_t *dims, uint32_t rank, const uint32_t *axes) {
    return m->activation(m->user, dims, rank, axes, true);
}
static fm_view absent(void) { return (fm_view){ .value = FM_NONE }; }

static flashmem_status describe_matmul(const fm_shape_row *s, const fm_shape_maker *m, fm_matmul_desc *d,
                                       flashmem_error *err) {
    const int64_t *n = s->size;
    *d = (fm_matmul_desc){ .name = s->name,
                           .x = reads(m, DIMS(1, n[0], n[1]), row_major),
                           .out = writes(m, DIMS(1, n[0], n[2]), row_major) };
    fm_epilogue_init(&d->epilogue);
    return m->panels(m->user, n[1], n[2], &d->weight, err);
}

static flashmem_status describe_conv(const fm_shape_row *s, const fm_shape_maker *m, fm_conv_desc *d,
                                     flashmem_error *err) {
    int64_t  c = s->size[0], h = s->size[1], o = s->size[2], kernel = s->size[3], stride = s->size[4], pad = s->size[5];
    int64_t  out = (h + 2 * pad - kernel) / stride + 1, group = s->size[7];
    uint32_t k32 = (uint32_t)kernel, s32 = (uint32_t)stride;
    *d = (fm_conv_desc){ .name = s->name,
                         .group = (uint32_t)group,
                         .kernel = { k32, k32 },
                         .stride = { s32, s32 },
                         .dilation = { 1, 1 },
                         .pad = { (int32_t)pad, (int32_t)pad, (int32_t)pad, (int32_t)pad },
                         .x = reads(m, DIMS(1, c, h, h), s->size[6] ? row_major : channels_last),
                         .out = writes(m, DIMS(1, o, out, out), channels_last) };
    fm_epilogue_init(&d->epilogue);
    d->epilogue.bias = reads(m, DIMS(o), row_major);
    if (group == 1) return m->panels(m->user, kernel * kernel * c, o, &d->weight, err);
    fm_view weight;
    FM_TRY(m->dense(m->user, kernel * kernel * (c / group) * o, &weight, err));
    d->weight = weight.value;
    return FLASHMEM_OK;
}

static flashmem_status describe_batch(const fm_shape_row *s, const fm_shape_maker *m, fm_batch_matmul_desc *d) {
    const int64_t *n = s->size;
    *d = (fm_batch_matmul_desc){ .name = s->name,
                                 .a = reads(m, DIMS(1, n[0], n[1], n[2]), row_major),
                                 .b = reads(m, DIMS(1, n[0], n[2], n[3]), n[4] ? last_outer : row_major),
                                 .out = writes(m, DIMS(1, n[0], n[1], n[3]), row_major) };
    fm_epilogue_init(&d->epilogue);
    return FLASHMEM_OK;
}

/* Heads lie side by side in a row, as a product leaves them. */
static flashmem_status describe_attention(const fm_shape_row *s, const fm_shape_maker *m, fm_attention_desc *d) {
    static const uint32_t rows_outer[4] = { 0, 2, 1, 3 };
    const int64_t        *n = s->size;
    *d = (fm_attention_desc){ .name = s->name,
                              .q = reads(m, DIMS(1, n[0], n[1], n[3]), rows_outer),
                              .k = reads(m, DIMS(1, n[0], n[2], n[3]), rows_outer),
                              .v = reads(m, DIMS(1, n[0], n[2], n[3]), rows_outer),
                              .mask = absent(),
                              .out = writes(m, DIMS(1, n[0], n[1], n[3]), rows_outer),
                              .scale = 0.125f };
    return FLASHMEM_OK;
}

static flashmem_status describe_norm(const fm_shape_row *s, const fm_shape_maker *m, fm_norm_desc *d,
                                     flashmem_error *err) {
    const int64_t *n = s->size;
    *d = (fm_norm_desc){ .name = s->name,
                         .rms = n[2] != 0,
                         .x = reads(m, DIMS(1, n[0], n[1]), row_major),
                         .add = absent(),
                         .sum = absent(),
                         .beta = absent(),
                         .out = writes(m, DIMS(1, n[0], n[1]), row_major),
                         .epsilon = 1e-5f };
    FM_TRY(m->dense(m->user, n[1], &d->gamma, err));
    if (!d->rms) d->beta = d->gamma;
    return FLASHMEM_OK;
}

static flashmem_status describe_group_norm(const fm_shape_row *s, const fm_shape_maker *m, fm_group_norm_desc *d,
                                           flashmem_error *err) {
    static const uint32_t pixels_outer[4] = { 0, 3, 1, 2 };
    const int64_t         groups = s->size[0], each = s->size[1] / groups, pixels = s->size[2];
    *d = (fm_group_norm_desc){ .name = s->name,
                               .x = reads(m, DIMS(1, groups, each, pixels), pixels_outer),
                               .out = writes(m, DIMS(1, groups, each, pixels), pixels_outer),
                               .epsilon = 1e-5f };
    FM_TRY(m->dense(m->user, groups * each, &d->gamma, err));
    d->gamma.shape = (fm_shape){ 2, { groups, each } };
    d->gamma.strides[0] = each;
    d->gamma.strides[1] = 1;
    d->beta = d->gamma;
    return FLASHMEM_OK;
}

static flashmem_status describe_softmax(const fm_shape_row *s, const fm_shape_maker *m, fm_softmax_desc *d) {
    *d = (fm_softmax_desc){ .name = s->name,
                            .x = reads(m, DIMS(1, 1, s->size[0], s->size[1]), row_major),
                            .mask = absent(),
                            .out = writes(m, DIMS(1, 1, s->size[0], s->size[1]), row_major),
                            .scale = 1 };
    return FLASHMEM_OK;
}

static flashmem_status describe_reduce(const fm_shape_row *s, const fm_shape_maker *m, fm_reduce_desc *d) {
    bool first = s->size[2] != 0;
    *d = (fm_reduce_desc){ .name = s->name,
                           .op = FM_REDUCE_MEAN,
                           .x = reads(m, DIMS(s->size[0], s->size[1]), row_major),
                           .out = writes(m, DIMS(first ? 1 : s->size[0], first ? s->size[1] : 1), row_major),
                           .reduced = first ? 1 : 2 };
    return FLASHMEM_OK;
}

static flashmem_status describe_pool(const fm_shape_row *s, const fm_shape_maker *m, fm_pool_desc *d) {
    int64_t  c = s->size[0], h = s->size[1], kernel = s->size[2], stride = s->size[3], pad = kernel / 2;
    int64_t  out = (h + 2 * pad - kernel) / stride + 1;
    uint32_t k32 = (uint32_t)kernel, s32 = (uint32_t)stride;
    *d = (fm_pool_desc){ .name = s->name,
                         .kernel = { k32, k32 },
                         .stride = { s32, s32 },
                         .dilation = { 1, 1 },
                         .pad = { (int32_t)pad, (int32_t)pad, (int32_t)pad, (int32_t)pad },
                         .x = reads(m, DIMS(1, c, h, h), channels_last),
                         .out = writes(m, DIMS(1, c, out, out), channels_last) };
    return FLASHMEM_OK;
}

static flashmem_status describe_elementwise(const fm_shape_row *s, const fm_shape_maker *m, fm_elementwise_desc *d) {
    static const char *const expressions[] = {
        [ADD] = "(a0+a1)", [GELU] = "fm_gelu(a0)", [COPY] = "a0", [TURN] = "a0"
    };
    static const uint32_t turned[2] = { 1, 0 };
    int64_t               kind = s->size[2];
    *d = (fm_elementwise_desc){ .name = s->name,
                                .expression = expressions[kind],
                                .vector_safe = true,
                                .input_count = kind == ADD ? 2 : 1,
                                .out = writes(m, DIMS(s->size[0], s->size[1]), row_major) };
    for (uint32_t i = 0; i < d->input_count; i++)
        d->inputs[i] = reads(m, DIMS(s->size[0], s->size[1]), kind == TURN ? turned : row_major);
    return FLASHMEM_OK;
}

static flashmem_status describe_gather(const fm_shape_row *s, const fm_shape_maker *m, fm_gather_desc *d) {
    *d = (fm_gather_desc){ .name = s->name,
                           .table = reads(m, DIMS(1, s->size[0], s->size[1]), row_major),
                           .indices = m->indices(m->user, s->size[2], s->size[0]),
                           .out = writes(m, DIMS(1, s->size[2], s->size[1]), row_major) };
    return FLASHMEM_OK;
}

flashmem_status fm_shape_describe(const fm_shape_row *s, const fm_shape_maker *m, fm_shape_desc *out,
                                  flashmem_error *err) {
    switch (s->family) {
    case FM_FAMILY_MATMUL: return describe_matmul(s, m, &out->matmul, err);
    case FM_FAMILY_CONV: return describe_conv(s, m, &out->conv, err);
    case FM_FAMILY_BATCH_MATMUL: return describe_batch(s, m, &out->batch);
    case FM_FAMILY_ATTENTION: return describe_attention(s, m, &out->attention);
    case FM_FAMILY_NORM: return describe_norm(s, m, &out->norm, err);
    case FM_FAMILY_GROUP_NORM: return describe_group_norm(s, m, &out->group_norm, err);
    case FM_FAMILY_SOFTMAX: return describe_softmax(s, m, &out->softmax);
    case FM_FAMILY_REDUCE: return describe_reduce(s, m, &out->reduce);
    case FM_FAMILY_POOL: return describe_pool(s, m, &out->pool);
    case FM_FAMILY_ELEMENTWISE: return describe_elementwise(s, m, &out->elementwise);
    case FM_FAMILY_GATHER: return describe_gather(s, m, &out->gather);
    default: return fm_fail(err, FLASHMEM_INTERNAL, "shape '%s' of family %s", s->name, fm_family_name(s->family));
    }
}

double fm_shape_flops(const fm_shape_row *s) {
    const int64_t *n = s->size;
    int64_t        out = s->family == FM_FAMILY_CONV ? (n[1] + 2 * n[5] - n[3]) / n[4] + 1 : 0;
    switch (s->family) {
    case FM_FAMILY_MATMUL: return 2.0 * (double)n[0] * (double)n[1] * (double)n[2];
    case FM_FAMILY_CONV: return 2.0 * (double)(n[3] * n[3] * n[0] / n[7]) * (double)(n[2] * out * out);
    case FM_FAMILY_BATCH_MATMUL: return 2.0 * (double)n[0] * (double)n[1] * (double)n[2] * (double)n[3];
    default: return 0;
    }
}

/* The cheapest shape of the family that is still to be had, or FM_NONE. */
static uint32_t cheapest(const double *cost, fm_family family, fm_shape_level level, double each, const bool *chosen) {
    uint32_t best = FM_NONE;
    for (uint32_t s = 0; s < fm_shape_row_count; s++) {
        bool fits = fm_shape_rows[s].family == family && fm_shape_rows[s].level >= level && !chosen[s] && cost[s] > 0 &&
                    cost[s] <= each;
        if (fits && (best == FM_NONE || cost[s] < cost[best])) best = s;
    }
    return best;
}

void fm_shapes_choose(const double *cost, fm_shape_level level, double each, double total, bool *chosen) {
    memset(chosen, 0, fm_shape_row_count * sizeof *chosen);
    for (bool more = true; more;) {
        more = false;
        for (int family = 0; family < FM_FAMILIES; family++) {
            uint32_t s = cheapest(cost, (fm_family)family, level, each, chosen);
            if (s == FM_NONE || cost[s] > total) continue;
            chosen[s] = more = true;
            total -= cost[s];
        }
    }
}
