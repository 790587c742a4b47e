/* Gradient-boosted trees by XGBoost's C interface, found at run time: only learning needs the library, what it learnt is
 * evaluated by trees.h.  Who may include: compile, tests. */
#ifndef FM_COMPILE_PROFILE_XGBOOST_H
#define FM_COMPILE_PROFILE_XGBOOST_H

#include <stdbool.h>

#include "base/error.h"

enum { FM_XGBOOST_COLUMNS = 64 };

typedef struct fm_xgboost fm_xgboost;

/* The library: the file that FLASHMEM_XGBOOST names, else the Python environment of the build that this program lies in
 * (build/venv), else the system's loader.  Looked for once.  UNSUPPORTED says what was tried and what to do. */
flashmem_status fm_xgboost_load(const fm_xgboost **out, flashmem_error *err);

typedef struct fm_xgboost_problem {
    const float *rows;    /* [row_count][column_count], finite */
    const float *targets; /* [row_count] */
    const float *weights; /* [row_count], or NULL */
    uint32_t     row_count, column_count; /* at most FM_XGBOOST_COLUMNS columns */
    const bool  *rising;  /* [column_count]: predictions may not fall while this column rises; or NULL */
    uint32_t     rounds, depth;
    double       rate;    /* shrinkage of a round */
    double       least_weight; /* of a leaf: rows */
} fm_xgboost_problem;

/* Squared-error regression, exact splits, one thread: the same problem gives the same trees.  json gets XGBoost's own
 * model format (malloc'd, NUL-terminated); fitted (NULL, or [row_count]) what the library itself predicts for the rows. */
flashmem_status fm_xgboost_learn(const fm_xgboost *library, const fm_xgboost_problem *problem, char **json,
                                 size_t *json_bytes, float *fitted, flashmem_error *err);

#endif
