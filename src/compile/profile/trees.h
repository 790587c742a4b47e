/* Regression trees in XGBoost's JSON model format: checked when read, evaluated without the library.
 * Who may include: compile, tests. */
#ifndef FM_COMPILE_PROFILE_TREES_H
#define FM_COMPILE_PROFILE_TREES_H

#include <stdbool.h>

#include "base/error.h"

typedef struct fm_tree_node {
    uint32_t left, right; /* nodes; 0: a leaf */
    uint32_t feature;
    float    value; /* inner: x[feature] < value goes left; leaf: what it adds */
} fm_tree_node;

typedef struct fm_trees {
    fm_tree_node *nodes; uint32_t node_count;
    uint32_t     *roots; uint32_t root_count;
    float         base;
    char         *json; size_t json_bytes; /* as read */
} fm_trees;

/* Takes json (malloc'd) in success and failure.  name: of the file, for messages; features: columns that the model must
 * have.  BAD_MODEL says what is wrong: not JSON, another kind of model, a node that leads out of its tree or into a
 * circle, a number that is none. */
flashmem_status fm_trees_parse(fm_trees *trees, char *json_take, size_t bytes, uint32_t features, const char *name,
                               flashmem_error *err);
void            fm_trees_free(fm_trees *trees); /* zeroed allowed */
/* x: finite.  As XGBoost computes it: sums of floats in the order of the trees. */
float fm_trees_predict(const fm_trees *trees, const float *x);

#endif
