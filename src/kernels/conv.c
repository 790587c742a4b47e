/* Convolution with packed weights (group 1): its rows and emit function.  Groups are in conv_group.c. */
#include "kernels/matmul_implicit.h"

static bool takes_panels(const fm_emit *e, const void *desc) {
    fm_implicit i;
    fm_implicit_of_conv(&i, desc);
    return i.group == 1 && fm_implicit_is_valid(&i) && fm_implicit_panels(e, &i);
}

static flashmem_status emit_reference(fm_emit *e, const void *desc, flashmem_error *err) {
    fm_implicit i;
    fm_implicit_of_conv(&i, desc);
    return fm_implicit_emit_reference(e, &i, err);
}

const fm_row fm_row_conv_reference = { "conv_reference", FM_FAMILY_CONV, true, FM_LAYOUT_BIT(FLASHMEM_LAYOUT_CPU), 0,
                                       takes_panels,     emit_reference };
const fm_row fm_row_conv_texture_reference = {
    "conv_texture_reference", FM_FAMILY_CONV, true,          FM_LAYOUT_BIT(FLASHMEM_LAYOUT_TEXTURE),
    FM_DEVICE_IMAGE,          takes_panels,   emit_reference
};

static bool takes_cpu(const fm_emit *e, const void *desc) {
    fm_implicit i;
    fm_implicit_of_conv(&i, desc);
    return takes_panels(e, desc) && fm_implicit_takes_cpu(e, &i);
}

static flashmem_status emit_cpu(fm_emit *e, const void *desc, flashmem_error *err) {
    fm_implicit i;
    fm_implicit_of_conv(&i, desc);
    return fm_implicit_emit_cpu(e, &i, err);
}

const fm_row fm_row_conv_cpu = { "conv_cpu",    FM_FAMILY_CONV, false,   FM_LAYOUT_BIT(FLASHMEM_LAYOUT_CPU),
                                 FM_DEVICE_CPU, takes_cpu,      emit_cpu };

static flashmem_status emit_texture(fm_emit *e, const void *desc, flashmem_error *err) {
    fm_implicit i;
    fm_implicit_of_conv(&i, desc);
    return fm_implicit_emit_texture(e, &i, err);
}

const fm_row fm_row_conv_texture = { "conv_texture",  FM_FAMILY_CONV,
                                     false,           FM_LAYOUT_BIT(FLASHMEM_LAYOUT_TEXTURE),
                                     FM_DEVICE_IMAGE, takes_panels,
                                     emit_texture };

flashmem_status fm_emit_conv(fm_emit *e, const fm_conv_desc *d, flashmem_error *err) {
    return fm_row_emit(e, FM_FAMILY_CONV, d->name, d, err);
}
