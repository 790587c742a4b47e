/* Masks of an attention pattern: collected from the pattern, then turned into what fm.Attention takes.
 * Who may include: compile/passes. */
#ifndef FM_COMPILE_PASSES_ATTENTION_MASK_H
#define FM_COMPILE_PASSES_ATTENTION_MASK_H

#include "compile/ops/fused.h"
#include "compile/passes/match.h"

enum { FM_MASKS = 4 };

/* One mask, as it is added to scores of shape [.., S, T]. */
typedef struct fm_mask {
    fm_tensor *tensor;  /* floats that are added; or booleans that choose: */
    bool       boolean; /* true where `visible_when` says so adds `seen`, else `hidden` */
    bool       visible_when;
    double     hidden; /* what a hidden position gets (seen adds nothing) */
} fm_mask;

/* Takes count masks for attention over scores of the shape and type given; inserts nodes before `before`.  Sets *mask (or NULL)
 * and causal, causal_offset, window of *p.  *done false: no exact equivalent, leave the pattern. */
flashmem_status fm_masks_resolve(fm_graph *g, fm_node *before, const fm_mask *masks, uint32_t count,
                                 const fm_shape *scores, flashmem_dtype type, fm_tensor **mask, fm_attention_params *p,
                                 bool *done, flashmem_error *err);

#endif
