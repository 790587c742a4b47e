/* The imported, typed, shape-complete network that passes rewrite.  Who may include: compile.
 * Everything lives in the graph's arena. */
#ifndef FM_COMPILE_GRAPH_GRAPH_H
#define FM_COMPILE_GRAPH_GRAPH_H

#include "base/log.h"
#include "compile/graph/recipe.h"

typedef struct fm_node fm_node;
typedef struct fm_tensor fm_tensor;
struct fm_op;

/* One edge.  A constant has a recipe and no producer. */
struct fm_tensor {
    const char      *name;
    flashmem_dtype   dtype;    /* 0 until inferred */
    fm_shape         shape;
    bool             shaped;   /* shape is known */
    const fm_recipe *constant; /* or NULL */
    fm_node         *producer; /* or NULL: input or constant */
    fm_node        **uses;     /* consuming nodes, one entry per use */
    size_t           use_count, use_capacity;
    bool             is_input, is_output;
    const char      *dim_names[FM_MAX_RANK]; /* inputs: symbolic dimensions */
    void            *lowered;  /* lowering's own */
};

typedef enum fm_attr_kind {
    FM_ATTR_FLOAT = 1, FM_ATTR_INT = 2, FM_ATTR_STRING = 3, FM_ATTR_TENSOR = 4, FM_ATTR_GRAPH = 5, FM_ATTR_FLOATS = 6,
    FM_ATTR_INTS = 7, FM_ATTR_STRINGS = 8
} fm_attr_kind;
typedef struct fm_attr {
    const char      *name;
    fm_attr_kind     kind;
    float            f;
    int64_t          i;
    const char      *s;
    const fm_recipe *tensor;
    const float     *floats;
    const int64_t   *ints;
    const char     **strings;
    uint32_t         count; /* of floats, ints, strings */
} fm_attr;

struct fm_node {
    const char         *name, *op_type, *domain;
    const struct fm_op *op;      /* found at import; NULL only inside import */
    int64_t             opset;   /* of its domain */
    fm_tensor         **inputs;  uint32_t input_count;  /* an absent optional input is NULL */
    fm_tensor         **outputs; uint32_t output_count; /* an absent optional output is NULL */
    fm_attr            *attrs;   uint32_t attr_count;
    void               *params;  /* internal operators: their own struct (see the operator's header) */
    fm_node            *prev, *next; /* execution order */
};

/* A fused step that could be two: the operator that makes `tensor` could begin a step of its own. */
typedef struct fm_graph_seam {
    const char *step, *tensor; /* names: of the product or convolution, of the operator's result */
    double      bytes;         /* that the operator alone would move */
} fm_graph_seam;

typedef struct fm_graph {
    fm_arena   *arena;
    const char *path, *name;   /* of the model file, for messages */
    fm_node    *first, *last;  /* topological order */
    uint32_t    node_count;
    fm_tensor **inputs;  size_t input_count, input_capacity;
    fm_tensor **outputs; size_t output_count, output_capacity;
    fm_tensor **tensors; size_t tensor_count, tensor_capacity; /* all ever made */
    int        *fds;     size_t fd_count, fd_capacity;         /* open files of sources, closed by fm_graph_close */
    const fm_log *log;
    bool planning; /* set after init: nothing will be packed.  External data that is missing then fails when it is read,
                      not at import, and lowering plans steps that no kernel runs */
    const char *const *apart; uint32_t apart_count; /* set after init: operators that fusion leaves alone, by result */
    fm_graph_seam     *seams; size_t seam_count, seam_capacity; /* left by fusion */
} fm_graph;

void fm_graph_init(fm_graph *g, fm_arena *arena, const char *path, const fm_log *log);
void fm_graph_close(fm_graph *g); /* closes files; memory is the arena's */

fm_tensor *fm_graph_tensor(fm_graph *g, const char *name); /* a new one; NULL name makes a unique one */
/* Appends at the end / before `before`.  Arrays are copied.  Uses and producers are linked. */
fm_node *fm_graph_append(fm_graph *g, const struct fm_op *op, const char *name, fm_tensor **inputs,
                         uint32_t input_count, fm_tensor **outputs, uint32_t output_count);
fm_node *fm_graph_insert(fm_graph *g, fm_node *before, const struct fm_op *op, const char *name, fm_tensor **inputs,
                         uint32_t input_count, fm_tensor **outputs, uint32_t output_count);
void     fm_graph_remove(fm_graph *g, fm_node *node); /* unlinks; its outputs lose their producer */
void fm_graph_set_input(fm_graph *g, fm_node *node, uint32_t index, fm_tensor *tensor); /* relinks uses; NULL allowed */
/* Every use of `from` becomes `to`, but for a use by the node that makes `to`.  `to` also becomes the output that
 * `from` was, under its name; unless it is an input, constant or output itself: then `from` stays the output. */
void     fm_graph_replace(fm_graph *g, fm_tensor *from, fm_tensor *to);
/* Removes nodes whose outputs nobody uses. */
void     fm_graph_prune(fm_graph *g);
/* The same for those that only `removed`, a node taken out before, used: without a look at the rest of the graph. */
void     fm_graph_prune_before(fm_graph *g, const fm_node *removed);
/* Constant tensors. */
fm_tensor *fm_graph_constant(fm_graph *g, const char *name, const fm_recipe *recipe);
fm_tensor *fm_graph_constant_floats(fm_graph *g, const char *name, const fm_shape *shape, const float *data);
fm_tensor *fm_graph_constant_ints(fm_graph *g, const char *name, const fm_shape *shape, const int64_t *data);

/* Attributes; the default when absent.  A wrong kind is reported by fm_node_check (op.h). */
const fm_attr *fm_node_attr(const fm_node *node, const char *name);
int64_t        fm_node_int(const fm_node *node, const char *name, int64_t otherwise);
float          fm_node_float(const fm_node *node, const char *name, float otherwise);
const char    *fm_node_string(const fm_node *node, const char *name, const char *otherwise);
const int64_t *fm_node_ints(const fm_node *node, const char *name, uint32_t *count); /* NULL when absent */

/* "node 'x' (Gather): " + message, BAD_MODEL. */
__attribute__((format(printf, 3, 4)))
flashmem_status fm_node_fail(flashmem_error *err, const fm_node *node, const char *format, ...);

/* Small constants, for shape arithmetic and patterns. */
bool fm_tensor_ints(const fm_tensor *t, int64_t *to, uint32_t limit, uint32_t *count); /* any integer or bool type */
bool fm_tensor_scalar(const fm_tensor *t, double *value);   /* one element of any type, any rank */

/* Types, shapes, order, links, no cycles, every node's operator accepts its inputs: recomputed from scratch. */
flashmem_status fm_graph_verify(const fm_graph *g, flashmem_error *err);

#endif
