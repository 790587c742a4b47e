/* Loading as a launch of its own: a copy of bytes from one value to another. */
#include "kernels/view_args.h"

enum { TEXEL = 16, TEXELS = 4 /* as in load.cl */ };

static int64_t value_bytes(const fm_emit *e, uint32_t value) {
    const fm_program_builder *b = e->builder;
    return value < b->value_count ? b->exprs[b->values[value].bytes].value : -1;
}

static flashmem_status check(const fm_subject *s, const fm_load_desc *d) {
    int64_t from = value_bytes(s->emit, d->from), to = value_bytes(s->emit, d->to);
    if (from < 0 || to < 0 || d->from == d->to) return fm_refuse(s, "it needs two different values");
    if (d->bytes < TEXEL || d->bytes % TEXEL || d->offset < 0 || d->offset % TEXEL)
        return fm_refuse(s, "%lld bytes from offset %lld, multiples of 16 are wanted", (long long)d->bytes,
                         (long long)d->offset);
    if (d->bytes > to || d->offset > from || d->bytes > from - d->offset)
        return fm_refuse(s, "%lld bytes from offset %lld of %lld to a value of %lld", (long long)d->bytes,
                         (long long)d->offset, (long long)from, (long long)to);
    if ((d->offset + d->bytes) / TEXEL > INT32_MAX / 2)
        return fm_refuse(s, "%lld bytes are more than an int counts", (long long)d->bytes);
    return FLASHMEM_OK;
}

/* each: texels of a work-item; extra: the entry's last argument, or -1. */
static flashmem_status emit(fm_emit *e, const fm_load_desc *d, const char *entry, int64_t each, int64_t extra) {
    fm_program_builder *b = e->builder;
    int64_t             texels = d->bytes / TEXEL;
    fm_builder_begin(b, d->name, fm_builder_kernel(b, "load.cl", "", entry, 0), FLASHMEM_COST_ELEMENTWISE);
    fm_builder_read(b, d->from);
    fm_builder_write(b, d->to);
    fm_builder_arg_int(b, d->offset / TEXEL);
    fm_builder_arg_int(b, texels);
    if (extra >= 0) fm_builder_arg_int(b, extra);
    fm_args_items(e, (texels + each - 1) / each, 1, 1);
    fm_builder_work(b, 0, 2 * (double)d->bytes);
    fm_builder_end(b);
    return FLASHMEM_OK;
}

static flashmem_status emit_reference(fm_emit *e, const void *desc, flashmem_error *err) {
    (void)err;
    return emit(e, desc, "load", 1, -1);
}

static flashmem_status emit_strided(fm_emit *e, const void *desc, flashmem_error *err) {
    const fm_load_desc *d = desc;
    (void)err;
    return emit(e, d, "load_strided", TEXELS, (d->bytes / TEXEL + TEXELS - 1) / TEXELS);
}

static flashmem_status emit_run(fm_emit *e, const void *desc, flashmem_error *err) {
    const fm_load_desc *d = desc;
    int64_t             run = fm_item_run(e, d->bytes / TEXEL, 1.6);
    (void)err;
    return emit(e, d, "load_run", run, run);
}

const fm_row fm_row_load_reference = { "load_reference", FM_FAMILY_LOAD, true, FM_ANY_LAYOUT, 0, NULL, emit_reference };
const fm_row fm_row_load_texture = {
    "load_texture", FM_FAMILY_LOAD, false, FM_LAYOUT_BIT(FLASHMEM_LAYOUT_TEXTURE), FM_DEVICE_IMAGE, NULL, emit_strided
};
const fm_row fm_row_load_cpu = { "load_cpu", FM_FAMILY_LOAD, false, FM_ANY_LAYOUT, FM_DEVICE_CPU, NULL, emit_run };

flashmem_status fm_emit_load(fm_emit *e, const fm_load_desc *d, flashmem_error *err) {
    fm_subject s = { e, FM_FAMILY_LOAD, d->name, err };
    FM_TRY(check(&s, d));
    return fm_row_emit(e, FM_FAMILY_LOAD, d->name, d, err);
}
