/* Lowering a graph to a program: where every tensor lies.  A tensor's `lowered` is a placement: a view of a value that
 * an operator made, aliased or will be told to write.  Constants are in lower_weights.c, the model's inputs, outputs and
 * kept tensors in lower_boundary.c. */
#include "compile/lower.h"

#include <string.h>

#include "compile/lower_internal.h"

enum { DEFAULT_IMAGE_LIMIT = 8192 };

void fm_lower_init(fm_lower *l, fm_graph *g, const flashmem_compile_options *options, uint32_t device) {
    *l = (fm_lower){
        .graph = g,
        .format = options->weights,
        .layout = options->layout,
        .image_limit = options->image_limit ? options->image_limit : DEFAULT_IMAGE_LIMIT,
        .keep_all = options->keep_all != 0,
        .planning = g->planning,
    };
    fm_builder_init(&l->builder, g->arena);
    l->emit.builder = &l->builder;
    l->emit.target = (fm_target){ .layout = options->layout, .device = device };
}

fm_placement *fm_lower_placement(fm_lower *l, fm_tensor *t) {
    if (!t->lowered) t->lowered = fm_arena_alloc(l->graph->arena, sizeof(fm_placement));
    return t->lowered;
}

flashmem_dtype fm_lower_dtype(const fm_tensor *t) { return fm_dtype_is_float(t->dtype) ? FLASHMEM_F32 : t->dtype; }

flashmem_status fm_lower_view(fm_lower *l, fm_tensor *t, fm_view *out, flashmem_error *err) {
    fm_placement *p = fm_lower_placement(l, t);
    if (!p->ready && t->constant) {
        FM_TRY(fm_lower_constant(l, t, &p->view, err));
        p->ready = true;
    }
    if (!p->ready)
        return fm_fail(err, FLASHMEM_INTERNAL, "lowering: tensor '%s' is read before it is written", t->name);
    *out = p->view;
    return FLASHMEM_OK;
}

/* Dense strides with the axes in the memory order given, outermost first. */
static void ordered_strides(fm_view *view, const uint32_t *order) {
    int64_t stride = 1;
    for (uint32_t i = view->shape.rank; i-- > 0;) {
        uint32_t axis = order ? order[i] : i;
        view->strides[axis] = stride;
        stride *= view->shape.dims[axis] > 0 ? view->shape.dims[axis] : 1;
    }
}

fm_view fm_lower_storage(fm_lower *l, fm_value_kind kind, flashmem_dtype dtype, const fm_shape *shape,
                         const uint32_t *order, const char *name) {
    int64_t count = fm_shape_count(shape);
    int64_t bytes = (count > 0 ? count : 1) * (int64_t)fm_dtype_bytes(dtype);
    fm_view view = { .dtype = dtype, .shape = *shape };
    view.value = fm_builder_value(&l->builder, kind, dtype, bytes, name, kind == FM_VALUE_OUTPUT ? shape : NULL);
    ordered_strides(&view, order);
    return view;
}

/* A graph output is written in place when the device's type is the graph's. */
static bool writes_output(const fm_tensor *t) {
    return t->is_output && fm_lower_dtype(t) == t->dtype && fm_shape_count(&t->shape) > 0;
}

/* Storage for t, unless a part of it made it already. */
static void allocate(fm_lower *l, fm_tensor *t, const uint32_t *order) {
    fm_placement *p = fm_lower_placement(l, t);
    if (p->is_allocated) return;
    if (p->whole) {
        allocate(l, p->whole, order);
        fm_placement *whole = fm_lower_placement(l, p->whole);
        p->view = fm_view_slice(&whole->view, p->axis, p->start, 1, t->shape.dims[p->axis]);
    } else if (writes_output(t)) {
        p->view = fm_lower_storage(l, FM_VALUE_OUTPUT, t->dtype, &t->shape, NULL, t->name);
        p->is_output_value = true;
    } else {
        p->view = fm_lower_storage(l, FM_VALUE_ACTIVATION, fm_lower_dtype(t), &t->shape, order, t->name);
    }
    p->is_allocated = true;
}

fm_view fm_lower_output(fm_lower *l, fm_tensor *t, const uint32_t *order) {
    fm_placement *p = fm_lower_placement(l, t);
    assert(!p->ready);
    allocate(l, t, order);
    p->ready = p->written = true;
    return p->view;
}

fm_view fm_lower_output_like(fm_lower *l, fm_tensor *t, const fm_view *like) {
    uint32_t order[FM_MAX_RANK], rank = t->shape.rank;
    if (like->shape.rank != rank) return fm_lower_output(l, t, NULL);
    for (uint32_t i = 0; i < rank; i++) { /* insertion sort: larger strides first, ties as they are */
        uint32_t at = i;
        if (like->shape.dims[i] > 1 && like->strides[i] <= 0) return fm_lower_output(l, t, NULL);
        while (at > 0 && like->shape.dims[i] > 1 && like->shape.dims[order[at - 1]] > 1 &&
               like->strides[order[at - 1]] < like->strides[i])
            order[at] = order[at - 1], at--;
        order[at] = i;
    }
    return fm_lower_output(l, t, order);
}

void fm_lower_alias(fm_lower *l, fm_tensor *t, const fm_view *view) {
    fm_placement *p = fm_lower_placement(l, t);
    assert(!p->ready && fm_shape_equal(&view->shape, &t->shape));
    p->view = *view;
    p->ready = true;
}

fm_view fm_lower_scratch(fm_lower *l, flashmem_dtype dtype, const fm_shape *shape) {
    return fm_lower_storage(l, FM_VALUE_SCRATCH, dtype, shape, NULL, NULL);
}

fm_view fm_lower_temporary(fm_lower *l, flashmem_dtype dtype, const fm_shape *shape) {
    return fm_lower_storage(l, FM_VALUE_ACTIVATION, dtype, shape, NULL, NULL);
}

flashmem_status fm_lower_copy(fm_lower *l, const char *name, const fm_view *view, const fm_view *out,
                              flashmem_error *err) {
    fm_elementwise_desc d = { .name = name, .expression = "a0", .vector_safe = true, .input_count = 1 };
    d.inputs[0] = *view;
    d.out = *out;
    return fm_emit_elementwise(&l->emit, &d, err);
}

flashmem_status fm_lower_dense(fm_lower *l, const char *name, const fm_view *view, fm_view *out, flashmem_error *err) {
    if (fm_view_is_dense(view)) {
        *out = *view;
        return FLASHMEM_OK;
    }
    fm_view from = *view; /* out may be view */
    *out = fm_lower_temporary(l, from.dtype, &from.shape);
    return fm_lower_copy(l, name, &from, out, err);
}

/* A node whose outputs hold no element has nothing to run. */
static bool is_empty(const fm_node *node) {
    for (uint32_t i = 0; i < node->output_count; i++)
        if (node->outputs[i] && fm_shape_count(&node->outputs[i]->shape) != 0) return false;
    return true;
}

static flashmem_status lower_node(fm_lower *l, fm_node *node, flashmem_error *err) {
    if (is_empty(node)) {
        for (uint32_t i = 0; i < node->output_count; i++)
            if (node->outputs[i]) fm_lower_output(l, node->outputs[i], NULL);
        return FLASHMEM_OK;
    }
    if (!node->op->lower)
        return l->planning ? fm_lower_planned(l, node, err)
                           : fm_fail(err, FLASHMEM_UNSUPPORTED, "node '%s' (%s): no kernel runs this operator",
                                     node->name, node->op_type);
    flashmem_error  inner = { 0 };
    fm_lower_marked mark = fm_lower_mark(l);
    flashmem_status status = node->op->lower(l, node, &inner);
    if (status == FLASHMEM_UNSUPPORTED && l->planning) {
        fm_info(l->graph->log, "compile", "node '%s' (%s) is planned only: %s", node->name, node->op_type,
                inner.message);
        fm_lower_rewind(l, node, &mark);
        return fm_lower_planned(l, node, err);
    }
    if (status != FLASHMEM_OK)
        return strstr(inner.message, node->op_type)
                   ? fm_fail(err, status, "%s", inner.message)
                   : fm_fail(err, status, "node '%s' (%s): %s", node->name, node->op_type, inner.message);
    for (uint32_t i = 0; i < node->output_count; i++)
        if (node->outputs[i] && !node->outputs[i]->constant && !fm_lower_placement(l, node->outputs[i])->ready &&
            node->outputs[i]->use_count > 0)
            return fm_fail(err, FLASHMEM_INTERNAL, "node '%s' (%s): output %u was not lowered", node->name,
                           node->op_type, i);
    return FLASHMEM_OK;
}

flashmem_status fm_lower_graph(fm_lower *l, flashmem_error *err) {
    for (size_t i = 0; i < l->graph->tensor_count; i++) l->graph->tensors[i]->lowered = NULL;
    if (!l->keep_all)
        fm_lower_choose_parts(l); /* a part that is read at once must not lie in what others still write */
    FM_TRY(fm_lower_inputs(l, err));
    for (fm_node *node = l->graph->first; node; node = node->next) {
        FM_TRY(lower_node(l, node, err));
        if (l->keep_all) FM_TRY(fm_lower_keep(l, node, err));
    }
    return fm_lower_outputs(l, err);
}
