/* Model to pack: import, check, fold, fuse, choose kernels, pack.  C99-clean.
 * Threads: one compilation uses the calling thread; separate compilations may run at once. */
#ifndef FLASHMEM_COMPILE_H
#define FLASHMEM_COMPILE_H

#include "flashmem/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Fixes an input's shape (rank > 0) or a symbolic dimension (rank 0: dims[0]). */
typedef struct flashmem_shape {
    const char *name;
    uint32_t    rank;
    int64_t     dims[FLASHMEM_MAX_RANK];
} flashmem_shape;

typedef struct flashmem_compile_options {
    size_t                size;        /* sizeof(flashmem_compile_options) */
    flashmem_weights      weights;     /* element type of large weights in the pack */
    flashmem_layout       layout;      /* weight layout class; GPU is not built yet: UNSUPPORTED */
    const flashmem_shape *shapes;
    uint32_t              shape_count;
    uint32_t              image_limit; /* texture layout: largest image side in texels, 0 = 8192 */
    uint32_t              keep_all;    /* expose every step's output under its tensor name (step-by-step comparison) */
    flashmem_log_fn       log;
    flashmem_progress_fn  progress;
    void                 *user;
    const char *const    *apart;       /* operators, by the names of their results, that begin steps of their own */
    uint32_t              apart_count; /* (flashmem_plan.apart) */
} flashmem_compile_options;

typedef struct flashmem_compile_report {
    uint32_t graph_nodes;     /* nodes of the imported graph */
    uint32_t steps;           /* kernel steps of the unsplit program */
    uint32_t kernel_programs; /* distinct device programs */
    uint64_t weight_bytes;    /* float weights at their pack type, embeddings included */
    uint64_t pack_bytes;
    double   seconds;
} flashmem_compile_report;

/* Sets size, and 0 or NULL elsewhere: fp32 weights, layout cpu. */
FLASHMEM_API void flashmem_compile_options_init(flashmem_compile_options *options);

/* Compiles the ONNX file at model_path and writes the pack to pack_path (a temporary name beside it, then renamed).
 * Memory: the graph without its weights plus the largest slab.  options and report may be NULL.  Statuses:
 * INVALID_ARGUMENT (a shape is missing or does not fit), BAD_MODEL, UNSUPPORTED (names every operator), IO, DISK_FULL,
 * OUT_OF_MEMORY, CANCELLED.  The functions of this header clear *error first. */
FLASHMEM_API flashmem_status flashmem_compile(const char *model_path, const char *pack_path,
                                              const flashmem_compile_options *options,
                                              flashmem_compile_report *report, flashmem_error *error);

/* Files a compilation of this model reads: the model and its external data, each once.  The callback gets absolute
 * or model-relative-resolved paths; nonzero stops. */
FLASHMEM_API flashmem_status flashmem_model_files(const char *model_path, int (*each)(void *user, const char *path),
                                                  void *user, flashmem_error *error);

/* Inputs of a model as the file declares them; a symbolic dimension is -1 and dim_names[i][axis] its name or NULL.
 * Calls each once per input in order; nonzero stops. */
typedef struct flashmem_model_input {
    flashmem_tensor_info info;
    const char          *dim_names[FLASHMEM_MAX_RANK];
} flashmem_model_input;
FLASHMEM_API flashmem_status flashmem_model_inputs(const char *model_path,
                                                   int (*each)(void *user, const flashmem_model_input *input),
                                                   void *user, flashmem_error *error);

#ifdef __cplusplus
}
#endif
#endif
