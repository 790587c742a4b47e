/* What a pack holds, for people. */
#include <inttypes.h>

#include "contract/overlap.h"
#include "run/model.h"

static const char *weights_name(uint32_t weights) { return weights == FLASHMEM_WEIGHTS_FP16 ? "fp16" : "fp32"; }

static void print_header(const fm_pack *pack, FILE *to) {
    const fm_pack_header *h = &pack->header;
    fprintf(to,
            "pack       %s\nversion    %u\nbytes      %" PRIu64 "\nlayout     %s\nweights    %s, %" PRIu64 " bytes\n",
            pack->path, h->version, h->file_bytes, fm_layout_name((flashmem_layout)h->layout), weights_name(h->weights),
            h->float_weight_bytes);
    fprintf(to, "objects    %u\nchecksums  %" PRIu64 "\n", pack->packed.object_count, pack->checksum_count);
}

static flashmem_status print_overlaps(const fm_pack *pack, FILE *to, flashmem_error *err) {
    fm_stored_overlaps overlaps;
    fm_arena          *arena = fm_arena_create();
    flashmem_status    status = FLASHMEM_OUT_OF_MEMORY;
    if (!arena || fm_arena_trap(arena)) fm_fail(err, status, "%s: no memory for its overlap plans", pack->path);
    else status = fm_pack_read_overlaps(pack, arena, &overlaps, err);
    for (uint32_t i = 0; status == FLASHMEM_OK && i < overlaps.plan_count; i++) {
        const fm_stored_plan *p = &overlaps.plans[i];
        fprintf(to,
                "overlap    program %u by %s: objective %.6g, %s %.6g, by '%s' for '%s'; %u preloaded, %u loads of "
                "chunks of %" PRIu64 " bytes, slabs of %" PRIu64 ", at most %" PRIu64 " bytes loaded\n",
                p->program, fm_memory_path_name((flashmem_memory_path)p->memory_path),
                (double)p->objective / (double)p->unit, p->status == FM_STORED_OPTIMAL ? "optimal, bound" : "bound",
                (double)p->bound / (double)p->unit, p->solver, p->device, p->preload_count, p->load_count,
                p->chunk_bytes, p->slab_bytes, p->m_peak_bytes);
    }
    fm_arena_destroy(arena);
    return status;
}

static void print_tensor(const fm_program *p, uint32_t v, const char *what, FILE *to) {
    const fm_value *value = &p->values[v];
    fprintf(to, "  %-8s %s %s [", what, fm_program_string(p, value->name), fm_dtype_name((flashmem_dtype)value->dtype));
    for (uint32_t i = 0; i < value->shape_rank; i++)
        fprintf(to, "%s%" PRId64, i ? ", " : "", fm_program_expr(p, value->shape[i]));
    fputc(']', to);
    if (value->limit) fprintf(to, ", below %" PRIu64, value->limit);
    if (value->flags & FM_VALUE_IS_MASK) fputs(", mask", to);
    fputc('\n', to);
}

static void print_step(const fm_program *p, uint32_t s, FILE *to) {
    const fm_step *step = &p->steps[s];
    const char    *entry = step->kind == FM_STEP_GATHER_ROWS ? "gather rows"
                                                             : fm_program_string(p, p->kernels[step->kernel].entry);
    fprintf(to, "  %5u %-28s %s", s, entry, fm_program_string(p, step->name));
    fprintf(to, "  %.3g flop%s\n", (double)fm_program_expr(p, step->flops),
            step->split_value != FM_NONE ? ", splittable" : "");
}

static void print_program(const fm_pack *pack, uint32_t index, FILE *to) {
    const fm_program *p = &pack->programs[index];
    fprintf(to, "program %u  %u steps, %u values, %u kernels; memory paths", index, p->step_count, p->value_count,
            p->kernel_count);
    for (uint32_t path = FLASHMEM_PATH_IN_PLACE; path <= FLASHMEM_PATH_DMA; path++)
        if (pack->program_records[index].memory_paths & 1u << path)
            fprintf(to, " %s", fm_memory_path_name((flashmem_memory_path)path));
    fputc('\n', to);
    for (uint32_t i = 0; i < p->input_count; i++) print_tensor(p, p->inputs[i], "input", to);
    for (uint32_t i = 0; i < p->output_count; i++) print_tensor(p, p->outputs[i], "output", to);
    for (uint32_t i = 0; i < p->kernel_count; i++)
        fprintf(to, "  kernel   %s %s %s\n", fm_program_string(p, p->kernels[i].source),
                fm_program_string(p, p->kernels[i].entry), fm_program_string(p, p->kernels[i].options));
    for (uint32_t s = 0; s < p->step_count; s++) print_step(p, s, to);
}

static void print_weight(const fm_pack *pack, uint32_t w, FILE *to) {
    static const char *const formats[] = { "float32", "float16", "raw" };
    const fm_weight         *weight = &pack->packed.weights[w];
    const char              *name = weight->name == FM_NONE ? "" : pack->strings + weight->name;
    fprintf(to, "  %5u %12" PRIu64 " bytes  %-7s ", w, weight->bytes, formats[weight->format]);
    switch ((fm_weight_kind)weight->kind) {
    case FM_WEIGHT_PANELS:
        fprintf(to, "%" PRIu64 " x %" PRIu64 ", %" PRIu64 " panels, cut unit %u", weight->k, weight->n, weight->panels,
                weight->unit_panels);
        break;
    case FM_WEIGHT_DENSE: fprintf(to, "dense"); break;
    case FM_WEIGHT_ROWS: fprintf(to, "%" PRIu64 " rows of %" PRIu64 ", read by row", weight->k, weight->n); break;
    }
    if (weight->object != FM_NONE)
        fprintf(to, ", %s %u", pack->packed.objects[weight->object].weight == w ? "object" : "bundle", weight->object);
    fprintf(to, "  %s\n", name);
}

flashmem_status flashmem_pack_inspect(const char *pack_path, int verify_weights, FILE *to, flashmem_error *error) {
    fm_pack pack;
    if (!pack_path || !to) return fm_fail(error, FLASHMEM_INVALID_ARGUMENT, "no pack path or nowhere to print");
    FM_TRY(fm_pack_open(&pack, pack_path, error));
    print_header(&pack, to);
    for (uint32_t i = 0; i < pack.program_count; i++) print_program(&pack, i, to);
    fprintf(to, "weights    %u\n", pack.packed.weight_count);
    for (uint32_t w = 0; w < pack.packed.weight_count; w++) print_weight(&pack, w, to);
    flashmem_status status = print_overlaps(&pack, to, error);
    if (verify_weights && status == FLASHMEM_OK) status = fm_pack_verify_weights(&pack, error);
    if (verify_weights && status == FLASHMEM_OK) fputs("every checksum matches\n", to);
    fm_pack_close(&pack);
    return status;
}
