#include "compile/plan/capacity.h"

#include <string.h>

#include "compile/ops/op.h"

static const char *const views[] = { "Cast",    "CastLike", "Constant", "Dropout", "Flatten",  "Identity",
                                     "Reshape", "Shape",    "Size",     "Squeeze", "Unsqueeze" };
static const char *const hierarchical[] = { "ArgMax",
                                            "ArgMin",
                                            "Attention",
                                            "AveragePool",
                                            "CumSum",
                                            "GlobalAveragePool",
                                            "GlobalMaxPool",
                                            "GroupNormalization",
                                            "InstanceNormalization",
                                            "LayerNormalization",
                                            "LogSoftmax",
                                            "LpNormalization",
                                            "MaxPool",
                                            "RMSNormalization",
                                            "ReduceL1",
                                            "ReduceL2",
                                            "ReduceLogSum",
                                            "ReduceLogSumExp",
                                            "ReduceMax",
                                            "ReduceMean",
                                            "ReduceMin",
                                            "ReduceProd",
                                            "ReduceSum",
                                            "ReduceSumSquare",
                                            "SimplifiedLayerNormalization",
                                            "Softmax",
                                            "TopK",
                                            "fm.Attention",
                                            "fm.Norm" };

static bool listed(const char *name, const char *const *names, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(name, names[i]) == 0) return true;
    return false;
}

fm_capacity_class fm_capacity_of_node(const fm_node *node) {
    const char *name = node->op->name;
    if (listed(name, views, sizeof views / sizeof *views)) return FM_CAPACITY_NONE;
    if (listed(name, hierarchical, sizeof hierarchical / sizeof *hierarchical)) return FM_CAPACITY_HIERARCHICAL;
    return fm_node_macs(node) > 0 ? FM_CAPACITY_REUSABLE : FM_CAPACITY_ELEMENTWISE;
}
