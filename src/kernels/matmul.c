/* Matmul with a packed weight: its rows and emit function. */
#include "kernels/matmul_implicit.h"

static bool takes_panels(const fm_emit *e, const void *desc) {
    fm_implicit i;
    fm_implicit_of_matmul(&i, desc);
    return fm_implicit_is_valid(&i) && fm_implicit_panels(e, &i) && i.x.shape.dims[1] == i.out.shape.dims[1] &&
           i.x.shape.dims[2] == i.out.shape.dims[2];
}

static flashmem_status emit_reference(fm_emit *e, const void *desc, flashmem_error *err) {
    fm_implicit i;
    fm_implicit_of_matmul(&i, desc);
    return fm_implicit_emit_reference(e, &i, err);
}

const fm_row fm_row_matmul_reference = {
    "matmul_reference", FM_FAMILY_MATMUL, true, FM_LAYOUT_BIT(FLASHMEM_LAYOUT_CPU), 0, takes_panels, emit_reference
};
const fm_row fm_row_matmul_texture_reference = { "matmul_texture_reference",
                                                 FM_FAMILY_MATMUL,
                                                 true,
                                                 FM_LAYOUT_BIT(FLASHMEM_LAYOUT_TEXTURE),
                                                 FM_DEVICE_IMAGE,
                                                 takes_panels,
                                                 emit_reference };

static bool takes_cpu(const fm_emit *e, const void *desc) {
    fm_implicit i;
    fm_implicit_of_matmul(&i, desc);
    return takes_panels(e, desc) && fm_implicit_takes_cpu(e, &i);
}

static flashmem_status emit_cpu(fm_emit *e, const void *desc, flashmem_error *err) {
    fm_implicit i;
    fm_implicit_of_matmul(&i, desc);
    return fm_implicit_emit_cpu(e, &i, err);
}

const fm_row fm_row_matmul_cpu = { "matmul_cpu",  FM_FAMILY_MATMUL, false,   FM_LAYOUT_BIT(FLASHMEM_LAYOUT_CPU),
                                   FM_DEVICE_CPU, takes_cpu,        emit_cpu };

static flashmem_status emit_texture(fm_emit *e, const void *desc, flashmem_error *err) {
    fm_implicit i;
    fm_implicit_of_matmul(&i, desc);
    return fm_implicit_emit_texture(e, &i, err);
}

const fm_row fm_row_matmul_texture = {
    "matmul_texture", FM_FAMILY_MATMUL, false,       FM_LAYOUT_BIT(FLASHMEM_LAYOUT_TEXTURE),
    FM_DEVICE_IMAGE,  takes_panels,     emit_texture
};

flashmem_status fm_emit_matmul(fm_emit *e, const fm_matmul_desc *d, flashmem_error *err) {
    return fm_row_emit(e, FM_FAMILY_MATMUL, d->name, d, err);
}
