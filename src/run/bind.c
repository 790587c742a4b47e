/* Inputs and outputs: the caller's memory where kernels can use it as it is, copies where they cannot. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "run/model.h"

/* Kernels load whole vectors from buffers. */
static const uintptr_t CALLER_ALIGN = 64;

bool fm_index_in_range(const void *indices, uint32_t dtype, uint64_t at, uint64_t limit, int64_t *found,
                       uint64_t *row) {
    int64_t index, most = limit < INT64_MAX ? (int64_t)limit : INT64_MAX;
    if (dtype == FLASHMEM_I32) {
        int32_t narrow;
        memcpy(&narrow, (const char *)indices + at * sizeof narrow, sizeof narrow);
        index = narrow;
    } else {
        memcpy(&index, (const char *)indices + at * sizeof index, sizeof index);
    }
    *found = index;
    *row = (uint64_t)(index < 0 ? index + most : index);
    return index >= -most && index < most;
}

static void make_binding(flashmem_model *model, fm_binding *binding, uint32_t value) {
    const fm_replay_value *placed;
    binding->value = value;
    binding->root = fm_value_root(model->program, value);
    binding->bytes = (uint64_t)fm_program_expr(model->program, model->program->values[value].bytes);
    placed = &model->replay.values[binding->root];
    binding->placed = placed->placed;
}

flashmem_status fm_bindings_make(flashmem_model *model, flashmem_error *err) {
    const fm_program *p = model->program;
    model->inputs = calloc(p->input_count + 1, sizeof *model->inputs);
    model->outputs = calloc(p->output_count + 1, sizeof *model->outputs);
    model->storage = calloc(p->value_count + 1, sizeof *model->storage);
    if (!model->inputs || !model->outputs || !model->storage)
        return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "no memory for inputs and outputs");
    for (uint32_t i = 0; i < p->input_count; i++) make_binding(model, &model->inputs[i], p->inputs[i]);
    for (uint32_t i = 0; i < p->output_count; i++) make_binding(model, &model->outputs[i], p->outputs[i]);
    for (uint32_t v = 0; v < p->value_count; v++) {
        const fm_replay_value *value = &model->replay.values[v];
        if (value->placed) model->storage[v] = model->regions[value->region] + value->offset;
    }
    for (uint32_t v = 0; v < p->value_count; v++) {
        if (p->values[v].kind != FM_VALUE_CONSTANT || !model->storage[v]) continue;
        memcpy(model->storage[v], p->blob + p->values[v].blob, (size_t)fm_program_expr(p, p->values[v].bytes));
    }
    return FLASHMEM_OK;
}

static void release_copies(fm_binding *bindings, uint32_t count) {
    for (uint32_t i = 0; bindings && i < count; i++) free(bindings[i].copy);
    free(bindings);
}

void fm_bindings_release(flashmem_model *model) {
    if (!model->program) return;
    release_copies(model->inputs, model->program->input_count);
    release_copies(model->outputs, model->program->output_count);
    free(model->storage);
    model->inputs = model->outputs = NULL;
    model->storage = NULL;
}

static bool aligned(const void *data) { return (uintptr_t)data % CALLER_ALIGN == 0; }

/* Our own memory for a binding the plan did not place. */
static flashmem_status ensure_copy(flashmem_model *model, fm_binding *binding, flashmem_error *err) {
    if (binding->copy) return FLASHMEM_OK;
    uint64_t bytes = (binding->bytes + 4095) / 4096 * 4096;
    if (posix_memalign(&binding->copy, 4096, bytes) != 0) {
        binding->copy = NULL;
        return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "'%s': no memory for a copy of %" PRIu64 " bytes",
                       fm_program_string(model->program, model->program->values[binding->value].name), binding->bytes);
    }
    memset(binding->copy, 0, bytes);
    fm_debug(&model->log, "load", "'%s' is copied (%" PRIu64 " bytes): no %u-byte aligned memory was bound",
             fm_program_string(model->program, model->program->values[binding->value].name), binding->bytes,
             (unsigned)CALLER_ALIGN);
    return FLASHMEM_OK;
}

/* An output that shares another value's storage is read from there. */
static flashmem_status give_device(flashmem_model *model, fm_binding *binding, flashmem_error *err) {
    if (binding->placed || binding->root != binding->value) return FLASHMEM_OK;
    void *memory = binding->caller;
    if (!memory || !aligned(memory)) {
        FM_TRY(ensure_copy(model, binding, err));
        memory = binding->copy;
    }
    if (memory == binding->bound) return FLASHMEM_OK;
    FM_TRY(model->gpu->ops->bind(model->gpu, binding->root, memory, binding->bytes, err));
    binding->bound = memory;
    model->storage[binding->root] = memory;
    return FLASHMEM_OK;
}

static flashmem_status check_bytes(const flashmem_model *model, const fm_binding *binding, const char *what,
                                   const void *data, uint64_t bytes, flashmem_error *err) {
    const char *name = fm_program_string(model->program, model->program->values[binding->value].name);
    if (!data) return fm_fail(err, FLASHMEM_BAD_INPUT, "%s '%s': no data", what, name);
    if (bytes == binding->bytes) return FLASHMEM_OK;
    return fm_fail(err, FLASHMEM_BAD_INPUT, "%s '%s': %" PRIu64 " bytes given, the compiled shape needs %" PRIu64, what,
                   name, bytes, binding->bytes);
}

flashmem_status flashmem_model_bind_input(flashmem_model *model, uint32_t index, const void *data, uint64_t bytes,
                                          flashmem_error *error) {
    if (!model || index >= model->program->input_count)
        return fm_fail(error, FLASHMEM_INVALID_ARGUMENT, "input %u of %u", index,
                       model ? model->program->input_count : 0);
    FM_TRY(check_bytes(model, &model->inputs[index], "input", data, bytes, error));
    model->inputs[index].caller = (void *)(uintptr_t)data; /* only ever read */
    return FLASHMEM_OK;
}

flashmem_status flashmem_model_bind_output(flashmem_model *model, uint32_t index, void *data, uint64_t bytes,
                                           flashmem_error *error) {
    if (!model || index >= model->program->output_count)
        return fm_fail(error, FLASHMEM_INVALID_ARGUMENT, "output %u of %u", index,
                       model ? model->program->output_count : 0);
    FM_TRY(check_bytes(model, &model->outputs[index], "output", data, bytes, error));
    model->outputs[index].caller = data;
    return FLASHMEM_OK;
}

static flashmem_status check_limits(const flashmem_model *model, const fm_binding *binding, flashmem_error *err) {
    const fm_value *value = &model->program->values[binding->value];
    uint32_t        each = fm_dtype_bytes((flashmem_dtype)value->dtype);
    if (!value->limit || (value->dtype != FLASHMEM_I32 && value->dtype != FLASHMEM_I64)) return FLASHMEM_OK;
    for (uint64_t i = 0; i < binding->bytes / each; i++) {
        int64_t  found;
        uint64_t row;
        if (!fm_index_in_range(binding->caller, value->dtype, i, value->limit, &found, &row))
            return fm_fail(err, FLASHMEM_BAD_INPUT,
                           "input '%s': value %" PRId64 " at position %" PRIu64
                           " is used as an index, which must lie below %" PRIu64,
                           fm_program_string(model->program, value->name), found, i, value->limit);
    }
    return FLASHMEM_OK;
}

flashmem_status fm_bindings_begin_run(flashmem_model *model, flashmem_error *err) {
    const fm_program *p = model->program;
    for (uint32_t i = 0; i < p->input_count; i++) {
        if (!model->inputs[i].caller)
            return fm_fail(err, FLASHMEM_BAD_INPUT, "input '%s' is not bound",
                           fm_program_string(p, p->values[p->inputs[i]].name));
        FM_TRY(check_limits(model, &model->inputs[i], err));
    }
    for (uint32_t i = 0; i < p->input_count; i++) {
        fm_binding *binding = &model->inputs[i];
        FM_TRY(give_device(model, binding, err));
        if (model->storage[binding->root] != binding->caller)
            memcpy(model->storage[binding->root], binding->caller, binding->bytes);
        FM_TRY(model->gpu->ops->publish_value(model->gpu, binding->root, err));
    }
    for (uint32_t i = 0; i < p->output_count; i++) FM_TRY(give_device(model, &model->outputs[i], err));
    return FLASHMEM_OK;
}

flashmem_status fm_bindings_end_run(flashmem_model *model, flashmem_error *err) {
    for (uint32_t i = 0; i < model->program->output_count; i++) {
        fm_binding *binding = &model->outputs[i];
        FM_TRY(model->gpu->ops->fetch_value(model->gpu, binding->root, err));
        if (binding->caller && model->storage[binding->root] != binding->caller)
            memcpy(binding->caller, model->storage[binding->root], binding->bytes);
    }
    return FLASHMEM_OK;
}

const void *flashmem_model_output(const flashmem_model *model, uint32_t index) {
    if (!model || index >= model->program->output_count || model->executor.run == 0) return NULL;
    const fm_binding *binding = &model->outputs[index];
    return binding->caller ? binding->caller : model->storage[binding->root];
}

static void value_info(const flashmem_model *model, uint32_t v, flashmem_tensor_info *info) {
    const fm_program *p = model->program;
    const fm_value   *value = &p->values[v];
    *info = (flashmem_tensor_info){
        .name = fm_program_string(p, value->name),
        .dtype = (flashmem_dtype)value->dtype,
        .rank = value->shape_rank,
        .bytes = (uint64_t)fm_program_expr(p, value->bytes),
        .limit = value->limit,
        .is_mask = (value->flags & FM_VALUE_IS_MASK) != 0,
    };
    for (uint32_t i = 0; i < value->shape_rank; i++) info->dims[i] = fm_program_expr(p, value->shape[i]);
}

uint32_t flashmem_model_input_count(const flashmem_model *model) { return model->program->input_count; }
uint32_t flashmem_model_output_count(const flashmem_model *model) { return model->program->output_count; }

void flashmem_model_input_info(const flashmem_model *model, uint32_t index, flashmem_tensor_info *info) {
    if (index < model->program->input_count) value_info(model, model->program->inputs[index], info);
    else *info = (flashmem_tensor_info){ 0 };
}

void flashmem_model_output_info(const flashmem_model *model, uint32_t index, flashmem_tensor_info *info) {
    if (index < model->program->output_count) value_info(model, model->program->outputs[index], info);
    else *info = (flashmem_tensor_info){ 0 };
}
