/* The operator registry: lookup, checks that hold for every operator, and the one way to infer a node. */
#include "compile/ops/op.h"

#include <inttypes.h>
#include <string.h>

#include "compile/ops/infer_helpers.h"

static const fm_op *const operators[] = {
#define FM_OP(id) &fm_op_##id,
#include "compile/ops/op_list.h"
#undef FM_OP
};

const fm_op *fm_op_find(const char *op_type, const char *domain) {
    if (!domain || strcmp(domain, "ai.onnx") == 0) domain = "";
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
        if (strcmp(operators[i]->name, op_type) == 0 && strcmp(operators[i]->domain, domain) == 0) return operators[i];
    return NULL;
}

/* Every attribute of the operators known here: one name has one kind, whichever operator it stands at. */
#define ANY_KIND ((fm_attr_kind)0)
static const struct {
    const char  *name;
    fm_attr_kind kind;
} attribute_kinds[] = {
    { "activation_alpha", FM_ATTR_FLOATS },
    { "activation_beta", FM_ATTR_FLOATS },
    { "activations", FM_ATTR_STRINGS },
    { "allowzero", FM_ATTR_INT },
    { "alpha", FM_ATTR_FLOAT },
    { "antialias", FM_ATTR_INT },
    { "approximate", FM_ATTR_STRING },
    { "auto_pad", FM_ATTR_STRING },
    { "axes", FM_ATTR_INTS },
    { "axis", FM_ATTR_INT },
    { "batch_dims", FM_ATTR_INT },
    { "beta", FM_ATTR_FLOAT },
    { "bias", FM_ATTR_FLOAT },
    { "block_size", FM_ATTR_INT },
    { "blocksize", FM_ATTR_INT },
    { "ceil_mode", FM_ATTR_INT },
    { "clip", FM_ATTR_FLOAT },
    { "coordinate_transformation_mode", FM_ATTR_STRING },
    { "count_include_pad", FM_ATTR_INT },
    { "cubic_coeff_a", FM_ATTR_FLOAT },
    { "detect_negative", FM_ATTR_INT },
    { "detect_positive", FM_ATTR_INT },
    { "dilations", FM_ATTR_INTS },
    { "direction", FM_ATTR_STRING },
    { "dtype", FM_ATTR_INT },
    { "end", FM_ATTR_INT },
    { "ends", FM_ATTR_INTS },
    { "epsilon", FM_ATTR_FLOAT },
    { "equation", FM_ATTR_STRING },
    { "exclude_outside", FM_ATTR_INT },
    { "exclusive", FM_ATTR_INT },
    { "extrapolation_value", FM_ATTR_FLOAT },
    { "fmod", FM_ATTR_INT },
    { "gamma", FM_ATTR_FLOAT },
    { "group", FM_ATTR_INT },
    { "hidden_size", FM_ATTR_INT },
    { "input_forget", FM_ATTR_INT },
    { "is_causal", FM_ATTR_INT },
    { "k", FM_ATTR_INT },
    { "keep_aspect_ratio_policy", FM_ATTR_STRING },
    { "keepdims", FM_ATTR_INT },
    { "kernel_shape", FM_ATTR_INTS },
    { "kv_num_heads", FM_ATTR_INT },
    { "largest", FM_ATTR_INT },
    { "layout", FM_ATTR_INT },
    { "linear_before_reset", FM_ATTR_INT },
    { "max", FM_ATTR_FLOAT },
    { "min", FM_ATTR_FLOAT },
    { "mode", FM_ATTR_STRING },
    { "nearest_mode", FM_ATTR_STRING },
    { "noop_with_empty_axes", FM_ATTR_INT },
    { "num_groups", FM_ATTR_INT },
    { "num_outputs", FM_ATTR_INT },
    { "output_dtype", FM_ATTR_INT },
    { "output_padding", FM_ATTR_INTS },
    { "output_shape", FM_ATTR_INTS },
    { "p", FM_ATTR_INT },
    { "pads", FM_ATTR_INTS },
    { "perm", FM_ATTR_INTS },
    { "q_num_heads", FM_ATTR_INT },
    { "ratio", FM_ATTR_FLOAT },
    { "reduction", FM_ATTR_STRING },
    { "reverse", FM_ATTR_INT },
    { "scale", FM_ATTR_FLOAT },
    { "select_last_index", FM_ATTR_INT },
    { "softcap", FM_ATTR_FLOAT },
    { "size", FM_ATTR_INT },
    { "sorted", FM_ATTR_INT },
    { "split", FM_ATTR_INTS },
    { "start", FM_ATTR_INT },
    { "starts", FM_ATTR_INTS },
    { "storage_order", FM_ATTR_INT },
    { "strides", FM_ATTR_INTS },
    { "to", FM_ATTR_INT },
    { "transA", FM_ATTR_INT },
    { "transB", FM_ATTR_INT },
    { "upper", FM_ATTR_INT },
    { "momentum", FM_ATTR_FLOAT },
    { "qk_matmul_output_mode", FM_ATTR_INT },
    { "round_mode", FM_ATTR_STRING },
    { "saturate", FM_ATTR_INT },
    { "seed", FM_ATTR_INT },
    { "softmax_precision", FM_ATTR_INT },
    { "spatial", FM_ATTR_INT },
    { "stash_type", FM_ATTR_INT },
    { "training_mode", FM_ATTR_INT },
    { "value", ANY_KIND },
    { "value_float", FM_ATTR_FLOAT },
    { "value_floats", FM_ATTR_FLOATS },
    { "value_int", FM_ATTR_INT },
    { "value_ints", FM_ATTR_INTS },
};

static const char *const kind_names[] = { "nothing", "float",  "int",  "string", "tensor",
                                          "graph",   "floats", "ints", "strings" };

/* An attribute that no operator here has means something newer than this version: ignoring it would give a wrong
 * result. */
static flashmem_status check_attributes(const fm_node *node, flashmem_error *err) {
    enum { KINDS = sizeof attribute_kinds / sizeof *attribute_kinds };
    for (uint32_t i = 0; i < node->attr_count; i++) {
        const fm_attr *a = &node->attrs[i];
        size_t         k = 0;
        while (k < KINDS && strcmp(a->name, attribute_kinds[k].name) != 0) k++;
        if (k == KINDS) {
            if (node->op->domain[0] != '\0') continue;
            return fm_node_unsupported(err, node, "attribute '%s' is not known", a->name);
        }
        if (attribute_kinds[k].kind != ANY_KIND && a->kind != attribute_kinds[k].kind)
            return fm_node_fail(err, node, "attribute '%s' is of kind %s, expected %s", a->name,
                                (unsigned)a->kind < 9 ? kind_names[a->kind] : "unknown",
                                kind_names[attribute_kinds[k].kind]);
    }
    return FLASHMEM_OK;
}

flashmem_status fm_node_check(const fm_node *node, flashmem_error *err) {
    const fm_op *op = node->op;
    if (op->domain[0] == '\0' && node->opset > 0 && (uint64_t)node->opset < op->since)
        return fm_node_unsupported(err, node, "the model uses opset %" PRId64 ", this operator is known from opset %u",
                                   node->opset, op->since);
    if (node->input_count > op->max_inputs)
        return fm_node_fail(err, node, "%u inputs, expected at most %u", node->input_count, op->max_inputs);
    for (uint32_t i = 0; i < op->min_inputs; i++)
        if (i >= node->input_count || !node->inputs[i])
            return fm_node_fail(err, node, "input %u is missing, expected at least %u inputs", i, op->min_inputs);
    if (node->output_count > op->max_outputs)
        return fm_node_fail(err, node, "%u outputs, expected at most %u", node->output_count, op->max_outputs);
    if (node->output_count < op->min_outputs)
        return fm_node_fail(err, node, "%u outputs, expected at least %u", node->output_count, op->min_outputs);
    return check_attributes(node, err);
}

static flashmem_status check_size(const fm_node *node, const fm_tensor *t, flashmem_error *err) {
    char text[200];
    if (t->shape.rank > FM_MAX_RANK)
        return fm_node_unsupported(err, node, "tensor '%s' has %u dims, at most %d are handled", t->name, t->shape.rank,
                                   FM_MAX_RANK);
    int64_t product = 1; /* of the dims that are not 0, so that products of some of them are small too */
    bool    fits = true;
    for (uint32_t i = 0; i < t->shape.rank; i++) {
        int64_t dim = t->shape.dims[i];
        if (dim < 0 || __builtin_mul_overflow(product, dim ? dim : 1, &product) || product > FM_LARGEST_DIM)
            fits = false;
    }
    if (fits) return FLASHMEM_OK;
    return fm_node_fail(err, node, "tensor '%s' would have shape %s, which no memory holds", t->name,
                        fm_shape_print(&t->shape, text, sizeof text));
}

static bool inputs_constant(const fm_node *node) {
    for (uint32_t i = 0; i < node->input_count; i++)
        if (node->inputs[i] && !node->inputs[i]->constant) return false;
    return true;
}

flashmem_status fm_op_check_inputs(const fm_node *node, flashmem_error *err) {
    for (uint32_t i = 0; i < node->input_count; i++) {
        const fm_tensor *t = node->inputs[i];
        if (!t) continue;
        if (!t->shaped || !fm_dtype_bytes(t->dtype))
            return fm_node_fail(err, node, "the type or shape of tensor '%s' is not known", t->name);
        FM_TRY(check_size(node, t, err));
    }
    return FLASHMEM_OK;
}

double fm_node_macs(const fm_node *node) { return node->op->macs ? node->op->macs(node) : 0; }

flashmem_status fm_op_infer(fm_graph *g, fm_node *node, flashmem_error *err) {
    FM_TRY(fm_node_check(node, err));
    FM_TRY(fm_op_check_inputs(node, err));
    FM_TRY(node->op->infer(g, node, err));
    for (uint32_t i = 0; i < node->output_count; i++)
        if (node->outputs[i]) FM_TRY(check_size(node, node->outputs[i], err));
    if (node->op->fold && (node->op->folds_shapes || inputs_constant(node))) FM_TRY(node->op->fold(g, node, err));
    return FLASHMEM_OK;
}
