/* Fused attention. */
#include "kernels/view_args.h"

enum { MOST_CHANNELS = 256, QUERIES = 32, MOST_GROUPS = 8 }; /* attention_cpu.cl */
enum { FEWEST_ITEMS = 24, CACHED_ELEMENTS = 32768 };

static flashmem_status check(const fm_subject *s, const fm_attention_desc *d) {
    FM_TRY(fm_check_operand(s, "q", &d->q, FM_DTYPES_REAL, 4));
    FM_TRY(fm_check_operand(s, "k", &d->k, FM_DTYPES_REAL, 4));
    FM_TRY(fm_check_operand(s, "v", &d->v, FM_DTYPES_REAL, 4));
    const int64_t *q = d->q.shape.dims, *k = d->k.shape.dims, *v = d->v.shape.dims;
    if (q[0] != k[0] || q[3] != k[3] || k[1] > q[1] || q[1] % k[1] != 0)
        return fm_refuse(s, "k does not fit q in batch, heads or size");
    if (v[0] != k[0] || v[1] != k[1] || v[2] != k[2]) return fm_refuse(s, "v does not fit k");
    fm_view like = d->q;
    like.shape.dims[3] = v[3];
    FM_TRY(fm_check_like(s, "out", &d->out, FM_DTYPES_REAL, &like));
    like.shape.dims[3] = k[2];
    if (fm_view_present(&d->mask)) FM_TRY(fm_check_like(s, "mask", &d->mask, FM_DTYPES_MASK, &like));
    return FLASHMEM_OK;
}

/* Position t is seen by s iff s + low < t <= s + high; both stay far inside an int. */
static int64_t clamp_offset(int64_t x) { return x < -(1 << 30) ? -(1 << 30) : x > 1 << 30 ? 1 << 30 : x; }

static void emit_args(fm_emit *e, const fm_attention_desc *d) {
    fm_program_builder *b = e->builder;
    bool                masked = fm_view_present(&d->mask);
    int64_t             offset = clamp_offset(d->causal_offset);
    const int64_t      *q = d->q.shape.dims, *k = d->k.shape.dims;
    fm_args_read(b, &d->q, 4);
    fm_args_read(b, &d->k, 4);
    fm_args_read(b, &d->v, 4);
    fm_builder_read(b, masked ? d->mask.value : d->q.value); /* as floats, then as bools */
    fm_args_read_optional(b, &d->mask, &d->q, 4);
    fm_args_write(b, &d->out, 4);
    fm_builder_arg_int(b, q[1]);
    fm_builder_arg_int(b, q[1] / k[1]);
    fm_builder_arg_int(b, q[2]);
    fm_builder_arg_int(b, k[2]);
    fm_builder_arg_int(b, q[3]);
    fm_builder_arg_int(b, d->v.shape.dims[3]);
    fm_builder_arg_float(b, d->scale);
    fm_builder_arg_int(b, !masked ? 0 : d->mask.dtype == FLASHMEM_BOOL ? 2 : 1);
    fm_builder_arg_int(b, d->window > 0 ? clamp_offset(offset - clamp_offset(d->window)) : -(1 << 30));
    fm_builder_arg_int(b, d->causal ? offset : 1 << 30);
}

static void emit_work(fm_emit *e, const fm_attention_desc *d) {
    const int64_t *q = d->q.shape.dims, *k = d->k.shape.dims;
    double seen = d->causal && k[2] == q[2] ? 0.5 : 1, scores = seen * (double)(q[0] * q[1] * q[2]) * (double)k[2];
    fm_builder_work(e->builder, scores * (2.0 * (double)(q[3] + d->v.shape.dims[3]) + 12.0),
                    fm_view_bytes(&d->q) + fm_view_bytes(&d->k) + fm_view_bytes(&d->v) + fm_view_bytes(&d->mask) +
                        fm_view_bytes(&d->out));
}

static flashmem_status emit_reference(fm_emit *e, const void *desc, flashmem_error *err) {
    const fm_attention_desc *d = desc;
    const int64_t           *out = d->out.shape.dims;
    (void)err;
    fm_builder_begin(e->builder, d->name, fm_builder_kernel(e->builder, "attention.cl", "", "attention", 0),
                     FLASHMEM_COST_ATTENTION);
    emit_args(e, d);
    fm_args_items(e, out[3], out[2], out[0] * out[1]);
    emit_work(e, d);
    fm_builder_end(e->builder);
    return FLASHMEM_OK;
}

const fm_row fm_row_attention_reference = { "attention_reference", FM_FAMILY_ATTENTION, true, FM_ANY_LAYOUT, 0, NULL,
                                            emit_reference };

static bool takes_cpu(const fm_emit *e, const void *desc) {
    const fm_attention_desc *d = desc;
    (void)e;
    return d->q.shape.dims[3] <= MOST_CHANNELS && d->v.shape.dims[3] <= MOST_CHANNELS;
}

/* Groups of queries that an item computes: one while a head's k and v stay in the cache anyway, else as many as its
 * arrays hold and leave items enough to share out. */
static int64_t cpu_groups(const fm_attention_desc *d) {
    const int64_t *q = d->q.shape.dims;
    int64_t        channels = ((q[3] > d->v.shape.dims[3] ? q[3] : d->v.shape.dims[3]) + 7) / 8 * 8;
    int64_t        groups = MOST_CHANNELS / channels, all = (q[2] + QUERIES - 1) / QUERIES;
    if (d->k.shape.dims[2] * channels < CACHED_ELEMENTS) return 1;
    if (groups > MOST_GROUPS) groups = MOST_GROUPS;
    while (groups > 1 && q[0] * q[1] * ((all + groups - 1) / groups) < FEWEST_ITEMS) groups--;
    return groups;
}

static flashmem_status emit_cpu(fm_emit *e, const void *desc, flashmem_error *err) {
    const fm_attention_desc *d = desc;
    const int64_t           *out = d->out.shape.dims, groups = cpu_groups(d);
    (void)err;
    fm_builder_begin(e->builder, d->name, fm_builder_kernel(e->builder, "attention_cpu.cl", "", "attention_cpu", 0),
                     FLASHMEM_COST_ATTENTION);
    emit_args(e, d);
    fm_builder_arg_int(e->builder, groups);
    fm_args_items(e, (out[2] + QUERIES * groups - 1) / (QUERIES * groups), out[1], out[0]);
    emit_work(e, d);
    fm_builder_end(e->builder);
    return FLASHMEM_OK;
}

const fm_row fm_row_attention_cpu = { "attention_cpu", FM_FAMILY_ATTENTION, false,   FM_ANY_LAYOUT,
                                      FM_DEVICE_CPU,   takes_cpu,           emit_cpu };

flashmem_status fm_emit_attention(fm_emit *e, const fm_attention_desc *d, flashmem_error *err) {
    fm_subject s = { e, FM_FAMILY_ATTENTION, d->name, err };
    if (fm_shape_count(&d->out.shape) == 0) return FLASHMEM_OK;
    FM_TRY(check(&s, d));
    return fm_row_emit(e, FM_FAMILY_ATTENTION, d->name, d, err);
}
