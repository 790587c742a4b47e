/* What the files of import share.  Who may include: compile/onnx. */
#ifndef FM_COMPILE_ONNX_IMPORTER_H
#define FM_COMPILE_ONNX_IMPORTER_H

#include "compile/onnx/import.h"
#include "compile/onnx/names.h"
#include "compile/ops/op.h"
#include "onnx.pb-c.h"

struct fm_onnx_files;

typedef struct fm_onnx_unknown {
    const char *op_type, *domain, *node, *why;
    uint32_t    count;
} fm_onnx_unknown;

struct fm_onnx_model {
    fm_graph             *g;
    FmOnnx__Model        *proto;
    int                   fd;
    struct fm_onnx_files *files;     /* external data */
    fm_names              fills;     /* tensor name -> text of its "fill:" property */
    fm_names              functions; /* key of domain, name, overload -> FmOnnx__Function */
    fm_names              scope;     /* the main graph's tensors */
    uint32_t              node_count;
    fm_onnx_unknown      *unknown; size_t unknown_count, unknown_capacity;
};

/* Where nodes are imported: the main graph, a function's body or a branch. */
typedef struct fm_onnx_body {
    fm_onnx_model        *m;
    fm_names             *scope;
    FmOnnx__OperatorSet **opsets; size_t opset_count;
    const fm_attr        *arguments; uint32_t argument_count; /* attributes of the call, for ref_attr_name */
    FmOnnx__Function     *function;                           /* or NULL; for attribute defaults */
    const char           *prefix;                             /* before names of tensors and nodes */
    fm_node              *before;                             /* nodes go before this one; NULL: at the end */
    uint32_t              depth;                              /* of calls and branches */
} fm_onnx_body;

/* external.c.  Opens lazily, keeps few files open.  The source fails at reading like fm_file_read. */
struct fm_onnx_files *fm_onnx_files_create(fm_graph *g);
flashmem_status fm_onnx_external(fm_onnx_model *m, const char *tensor, const FmOnnx__Tensor *t, flashmem_dtype dtype,
                                 uint64_t bytes, const fm_source **out, flashmem_error *err);
/* Absolute, or relative to where g->path is; checked not to leave the model's folder. */
flashmem_status fm_onnx_external_path(const fm_graph *g, const char *tensor, const FmOnnx__Tensor *t, const char **path,
                                      flashmem_error *err);

/* tensor.c.  label names it in messages. */
flashmem_status fm_onnx_tensor(fm_onnx_model *m, const FmOnnx__Tensor *t, const char *label, const fm_recipe **out,
                               flashmem_error *err);
/* "float32", or what else the number means in ONNX. */
const char *fm_onnx_type_name(int32_t data_type);

/* attributes.c.  Attributes of a node of this body, references resolved. */
flashmem_status fm_onnx_attributes(const fm_onnx_body *b, const FmOnnx__Node *proto, const char *node, fm_attr **attrs,
                                   uint32_t *count, flashmem_error *err);
/* The constant that a Constant node makes. */
flashmem_status fm_onnx_constant(const fm_onnx_body *b, const char *node, const fm_attr *attrs, uint32_t count,
                                 const fm_recipe **out, flashmem_error *err);

/* order.c.  Execution order of a body's nodes; a cycle is BAD_MODEL naming its nodes. */
flashmem_status fm_onnx_order(fm_graph *g, FmOnnx__Node **nodes, size_t count, size_t **order, flashmem_error *err);
/* Every name that the graphs in the node's attributes read, theirs included. */
void fm_onnx_captures(const FmOnnx__Node *node, void (*each)(void *user, const char *name), void *user);

/* nodes.c */
flashmem_status fm_onnx_initializers(fm_onnx_body *b, FmOnnx__Graph *graph, flashmem_error *err);
/* Imports nodes; what they make under a name of `outputs` is the tensor of `targets` beside it. */
flashmem_status fm_onnx_nodes(fm_onnx_body *b, FmOnnx__Node **nodes, size_t count, char **outputs, fm_tensor **targets,
                              size_t output_count, flashmem_error *err);
/* UNSUPPORTED naming every operator met so far that nobody knows; OK when there is none. */
flashmem_status fm_onnx_report_unknown(const fm_onnx_model *m, flashmem_error *err);
extern fm_tensor fm_onnx_absent; /* in a scope: an optional input of a function that the call leaves out */

/* functions.c */
const FmOnnx__Function *fm_onnx_find_function(const fm_onnx_model *m, const FmOnnx__Node *node);
flashmem_status fm_onnx_index_functions(fm_onnx_model *m, flashmem_error *err);
flashmem_status fm_onnx_call(const fm_onnx_body *b, const FmOnnx__Function *f, const char *name, fm_tensor **inputs,
                             uint32_t input_count, fm_tensor **outputs, uint32_t output_count, const fm_attr *attrs,
                             uint32_t attr_count, flashmem_error *err);

/* branches.c */
flashmem_status fm_onnx_if(const fm_onnx_body *b, const FmOnnx__Node *proto, const char *name, fm_tensor *condition,
                           fm_tensor **outputs, uint32_t output_count, flashmem_error *err);

#endif
