set(FM_COMPILE_SOURCES)
list(APPEND FM_COMPILE_SOURCES
    src/compile/graph/attr.c
    src/compile/graph/convert.c
    src/compile/graph/graph.c
    src/compile/graph/recipe.c
    src/compile/graph/recipe_read.c
    src/compile/graph/recipe_reshape.c
    src/compile/graph/source.c
    src/compile/graph/verify.c)

list(APPEND FM_COMPILE_SOURCES
    src/compile/lower.c
    src/compile/lower_boundary.c
    src/compile/lower_concat.c
    src/compile/lower_matmul.c
    src/compile/lower_weights.c
    src/compile/ops/attention.c
    src/compile/ops/channel_norm.c
    src/compile/ops/conv.c
    src/compile/ops/einsum.c
    src/compile/ops/fused.c
    src/compile/ops/fused_elementwise.c
    src/compile/ops/matmul.c
    src/compile/ops/norm.c
    src/compile/ops/pool.c
    src/compile/ops/softmax.c
    src/compile/ops/window.c)
list(APPEND FM_COMPILE_SOURCES
    src/compile/ops/concat.c
    src/compile/ops/elementwise.c
    src/compile/ops/elementwise_binary.c
    src/compile/ops/elementwise_select.c
    src/compile/ops/elementwise_unary.c
    src/compile/ops/fold_helpers.c
    src/compile/ops/gather.c
    src/compile/ops/gather_nd.c
    src/compile/ops/generate.c
    src/compile/ops/infer_helpers.c
    src/compile/ops/op.c
    src/compile/ops/order.c
    src/compile/ops/rearrange.c
    src/compile/ops/reduce.c
    src/compile/ops/resize.c
    src/compile/ops/scatter.c
    src/compile/ops/slice.c
    src/compile/ops/view.c)
list(APPEND FM_COMPILE_SOURCES
    src/compile/compile.c
    src/compile/pack.c
    src/compile/pack_layout.c
    src/compile/pack_panels.c
    src/compile/onnx/attributes.c
    src/compile/onnx/branches.c
    src/compile/onnx/external.c
    src/compile/onnx/functions.c
    src/compile/onnx/import.c
    src/compile/onnx/names.c
    src/compile/onnx/nodes.c
    src/compile/onnx/order.c
    src/compile/onnx/scan.c
    src/compile/onnx/shapes.c
    src/compile/onnx/tensor.c
    src/compile/passes/fold.c
    src/compile/passes/simplify.c)

list(APPEND FM_COMPILE_SOURCES
    src/compile/passes/attention.c
    src/compile/passes/attention_mask.c
    src/compile/passes/compose.c
    src/compile/passes/compose_microsoft.c
    src/compile/passes/compose_recurrent.c
    src/compile/passes/elementwise.c
    src/compile/passes/epilogue.c
    src/compile/passes/fold_norms.c
    src/compile/passes/match.c
    src/compile/passes/recognise.c)

list(APPEND FM_COMPILE_SOURCES
    src/compile/pipeline.c
    src/compile/planner.c
    src/compile/planner_fusion.c
    src/compile/planner_overlap.c
    src/compile/planner_place.c
    src/compile/planner_profile.c
    src/compile/planner_policy.c
    src/compile/planner_save.c
    src/compile/planner_simulate.c)

list(APPEND FM_COMPILE_SOURCES
    src/compile/plan/ahead.c
    src/compile/plan/bounds.c
    src/compile/plan/capacity.c
    src/compile/plan/complete.c
    src/compile/plan/fusion.c
    src/compile/plan/greedy.c
    src/compile/plan/instance.c
    src/compile/plan/label_set.c
    src/compile/plan/labels.c
    src/compile/plan/labels_plan.c
    src/compile/plan/overlap_view.c
    src/compile/plan/prices.c
    src/compile/plan/problem.c
    src/compile/plan/problem_program.c
    src/compile/plan/problem_verify.c
    src/compile/plan/program_order.c
    src/compile/plan/segments.c
    src/compile/plan/tiers.c)

list(APPEND FM_COMPILE_SOURCES src/compile/lower_planned.c)

list(APPEND FM_COMPILE_SOURCES
    src/compile/library.c
    src/compile/profile/device_profile.c
    src/compile/profile/features.c
    src/compile/profile/learn.c
    src/compile/profile/profile.c
    src/compile/profile/profile_json.c
    src/compile/profile/profiler.c
    src/compile/profile/shapes.c
    src/compile/profile/sweep.c
    src/compile/profile/trees.c
    src/compile/profile/xgboost.c)

list(APPEND FM_COMPILE_SOURCES
    src/compile/plan/cpsat/cpsat.c
    src/compile/plan/cpsat/cpsat_bounds.c
    src/compile/plan/cpsat/cpsat_library.c
    src/compile/plan/cpsat/cpsat_order.c
    src/compile/plan/cpsat/cpsat_order_latency.c
    src/compile/plan/cpsat/cpsat_order_model.c
    src/compile/plan/cpsat/cpsat_order_slots.c
    src/compile/plan/cpsat/cpsat_overlap.c
    src/compile/plan/cpsat/cpsat_place.c
    src/compile/plan/cpsat/cpsat_segment.c)
list(APPEND FM_COMPILE_PROTOS src/compile/plan/cpsat/cp_model.proto)
