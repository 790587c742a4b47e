/* From an ONNX file to a graph.  Who may include: compile, tests, fuzz.
 *
 *     load    scan.c reduces the file, protobuf-c parses what is left
 *     import  inputs, constants, nodes in execution order; functions inlined
 *     fix     symbolic sizes of inputs (shapes.c)
 *     fold    types and shapes node by node (passes/fold.c); If with a constant condition becomes its branch */
#ifndef FM_COMPILE_ONNX_IMPORT_H
#define FM_COMPILE_ONNX_IMPORT_H

#include "compile/graph/graph.h"
#include "flashmem/compile.h"

#define FM_ONNX_OLDEST_OPSET 11
#define FM_ONNX_NEWEST_OPSET 28

typedef struct fm_onnx_model fm_onnx_model;

/* Opens and parses g->path.  Payloads above hoist_above bytes stay in the file (scan.h). */
flashmem_status fm_onnx_load(fm_graph *g, uint64_t hoist_above, fm_onnx_model **out, flashmem_error *err);

/* Declares only the graph's inputs: what a model asks for, without its nodes. */
flashmem_status fm_onnx_import_inputs(fm_onnx_model *m, flashmem_error *err);
/* Inputs, constants, nodes, outputs. */
flashmem_status fm_onnx_import(fm_onnx_model *m, flashmem_error *err);

/* Fixes the inputs' sizes.  An input whose rank is unknown has rank FM_RANK_UNKNOWN before. */
#define FM_RANK_UNKNOWN UINT32_MAX
flashmem_status fm_onnx_fix_shapes(fm_graph *g, const flashmem_shape *shapes, uint32_t count, flashmem_error *err);

/* After inference: outputs have the element types that the file declares. */
flashmem_status fm_onnx_check_outputs(const fm_onnx_model *m, flashmem_error *err);

/* Files of external data, each once, by path as opened. */
flashmem_status fm_onnx_each_file(fm_onnx_model *m, int (*each)(void *user, const char *path), void *user,
                                  flashmem_error *err);

/* Is this an If node, still undecided?  Its condition is input 0; what its branches use from outside follows. */
bool fm_onnx_is_if(const fm_node *node);
/* Puts the branch chosen by the constant condition in the node's place.  *next is the first node to go on with.
 * UNSUPPORTED when the condition is not constant. */
flashmem_status fm_onnx_decide_if(fm_graph *g, fm_node *node, fm_node **next, flashmem_error *err);

#endif
