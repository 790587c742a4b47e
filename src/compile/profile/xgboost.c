/* The dozen functions of XGBoost's C interface that learning takes; they are the same from 1.7 to 3. */
#include "compile/profile/xgboost.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "compile/library.h"

#define ADVICE                                                                                                     \
    "install the Python wheel (pip install --no-deps xgboost-cpu; tools/setup.sh puts it into build/venv) or the " \
    "package libxgboost-dev, or set FLASHMEM_XGBOOST to the file libxgboost.so"

typedef void    *handle;
typedef uint64_t length; /* bst_ulong */

/* X(field, entry point, parameters): all return 0 when they succeed. */
#define FUNCTIONS(X)                                                                                                 \
    X(matrix_create, "XGDMatrixCreateFromMat",                                                                       \
      (const float *rows, length row_count, length columns, float missing, handle *out))                             \
    X(matrix_set, "XGDMatrixSetFloatInfo", (handle matrix, const char *field, const float *values, length count))    \
    X(matrix_free, "XGDMatrixFree", (handle matrix))                                                                 \
    X(create, "XGBoosterCreate", (const handle *matrices, length count, handle *out))                                \
    X(set, "XGBoosterSetParam", (handle booster, const char *name, const char *value))                               \
    X(update, "XGBoosterUpdateOneIter", (handle booster, int round, handle matrix))                                  \
    X(save, "XGBoosterSaveModelToBuffer", (handle booster, const char *config, length *bytes, const char **data))    \
    X(predict, "XGBoosterPredictFromDMatrix",                                                                        \
      (handle booster, handle matrix, const char *config, const length **shape, length *rank, const float **result)) \
    X(free, "XGBoosterFree", (handle booster))

struct fm_xgboost {
#define FIELD(field, name, parameters) int(*field) parameters;
    FUNCTIONS(FIELD)
#undef FIELD
    const char *(*last_error)(void);
};

static fm_xgboost     table;
static char           reason[768]; /* empty: loaded */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void) {
    static const fm_library_places places = { "FLASHMEM_XGBOOST",
                                              "lib/python3*/site-packages/xgboost/lib/libxgboost.so",
                                              { "libxgboost.so.0", "libxgboost.so", NULL } };
    void                          *library = fm_library_open(&places, reason, sizeof reason);
    if (!library) return;
    reason[0] = '\0';
#define FIND(field, name, parameters)                \
    *(void **)(&table.field) = dlsym(library, name); \
    if (!table.field && !reason[0]) snprintf(reason, sizeof reason, "the library has no function " name);
    FUNCTIONS(FIND)
#undef FIND
    *(void **)(&table.last_error) = dlsym(library, "XGBGetLastError");
    if (!table.last_error && !reason[0]) snprintf(reason, sizeof reason, "the library has no function XGBGetLastError");
    if (reason[0]) dlclose(library);
}

flashmem_status fm_xgboost_load(const fm_xgboost **out, flashmem_error *err) {
    pthread_once(&once, load);
    if (reason[0]) return fm_fail(err, FLASHMEM_UNSUPPORTED, "no XGBoost: %s; " ADVICE, reason);
    *out = &table;
    return FLASHMEM_OK;
}

/* ---- learning ---- */

#define XGB_TRY(call)                                                                                \
    do {                                                                                             \
        if ((call) != 0) {                                                                           \
            status = fm_fail(err, FLASHMEM_INTERNAL, "XGBoost: " #call ": %.600s", x->last_error()); \
            goto cleanup;                                                                            \
        }                                                                                            \
    } while (0)

/* Numbers as texts: "(0,1,0)" of rising columns and the others. */
typedef struct texts {
    char rising[2 * FM_XGBOOST_COLUMNS + 2], depth[16], rate[32], least_weight[32];
} texts;

static void print_texts(const fm_xgboost_problem *p, texts *t) {
    char *at = t->rising;
    for (uint32_t c = 0; c < p->column_count; c++) {
        *at++ = c ? ',' : '(';
        *at++ = p->rising && p->rising[c] ? '1' : '0';
    }
    memcpy(at, ")", 2);
    snprintf(t->depth, sizeof t->depth, "%u", p->depth);
    snprintf(t->rate, sizeof t->rate, "%.9g", p->rate);
    snprintf(t->least_weight, sizeof t->least_weight, "%.9g", p->least_weight);
}

static flashmem_status set_parameters(const fm_xgboost *x, handle booster, const fm_xgboost_problem *p,
                                      flashmem_error *err) {
    flashmem_status status = FLASHMEM_OK;
    texts           t;
    print_texts(p, &t);
    const char *const all[][2] = {
        { "verbosity", "0" },
        { "nthread", "1" },
        { "seed", "0" },
        { "objective", "reg:squarederror" },
        { "base_score", "0" },
        { "tree_method", "exact" },
        { "lambda", "1" },
        { "max_depth", t.depth },
        { "eta", t.rate },
        { "min_child_weight", t.least_weight },
        { "monotone_constraints", t.rising },
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) XGB_TRY(x->set(booster, all[i][0], all[i][1]));
cleanup:
    return status;
}

static flashmem_status copy_fitted(const fm_xgboost *x, handle booster, handle matrix, uint32_t rows, float *fitted,
                                   flashmem_error *err) {
    static const char config[] = "{\"type\": 0, \"training\": false, \"iteration_begin\": 0, \"iteration_end\": 0, "
                                 "\"strict_shape\": false}";
    flashmem_status   status = FLASHMEM_OK;
    const length     *shape;
    length            rank;
    const float      *result;
    XGB_TRY(x->predict(booster, matrix, config, &shape, &rank, &result));
    if (rank < 1 || shape[0] != rows) return fm_fail(err, FLASHMEM_INTERNAL, "XGBoost predicts for other rows");
    memcpy(fitted, result, rows * sizeof *fitted);
cleanup:
    return status;
}

flashmem_status fm_xgboost_learn(const fm_xgboost *x, const fm_xgboost_problem *p, char **json, size_t *json_bytes,
                                 float *fitted, flashmem_error *err) {
    handle          matrix = NULL, booster = NULL;
    flashmem_status status = FLASHMEM_OK;
    length          bytes = 0;
    const char     *text = NULL;
    if (!p->row_count || !p->column_count || p->column_count > FM_XGBOOST_COLUMNS)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "%u rows of %u columns to learn from", p->row_count,
                       p->column_count);
    XGB_TRY(x->matrix_create(p->rows, p->row_count, p->column_count, -1e30f, &matrix));
    XGB_TRY(x->matrix_set(matrix, "label", p->targets, p->row_count));
    if (p->weights) XGB_TRY(x->matrix_set(matrix, "weight", p->weights, p->row_count));
    XGB_TRY(x->create(&matrix, 1, &booster));
    FM_TRY_GOTO(set_parameters(x, booster, p, err));
    for (uint32_t round = 0; round < p->rounds; round++) XGB_TRY(x->update(booster, (int)round, matrix));
    if (fitted) FM_TRY_GOTO(copy_fitted(x, booster, matrix, p->row_count, fitted, err));
    XGB_TRY(x->save(booster, "{\"format\": \"json\"}", &bytes, &text));
    *json = strndup(text, bytes);
    *json_bytes = bytes;
    if (!*json) status = fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "no memory for %zu bytes of trees", *json_bytes);
cleanup:
    if (booster) x->free(booster);
    if (matrix) x->matrix_free(matrix);
    return status;
}
