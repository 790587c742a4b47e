#include "compile/profile/trees.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TREES = 10000, MOST_NODES = 1 << 20, MOST_TREE_NODES = 1 << 16 };

/* A file being read. */
typedef struct reading {
    fm_trees       *trees;
    uint32_t        features, tree; /* tree: the present one, for messages */
    const char     *name;
    flashmem_error *err;
} reading;

#define BAD(...) fm_fail(r->err, FLASHMEM_BAD_MODEL, __VA_ARGS__)

static json_t *path_get(json_t *from, const char *const *path) {
    for (; from && *path; path++) from = json_object_get(from, *path);
    return from;
}

/* Newer versions write a vector of one. */
static flashmem_status read_base(const reading *r, json_t *root) {
    static const char *const path[] = { "learner", "learner_model_param", "base_score", NULL };
    const char              *text = json_string_value(path_get(root, path));
    char                    *end;
    if (text && *text == '[') text++;
    r->trees->base = text ? strtof(text, &end) : 0;
    if (!text || end == text || !isfinite(r->trees->base) || (*end && strcmp(end, "]") != 0))
        return BAD("%s: no base_score that is a number", r->name);
    return FLASHMEM_OK;
}

static flashmem_status check_objective(const reading *r, json_t *root) {
    static const char *const objective[] = { "learner", "objective", "name", NULL };
    static const char *const booster[] = { "learner", "gradient_booster", "name", NULL };
    static const char *const columns[] = { "learner", "learner_model_param", "num_feature", NULL };
    const char              *found = json_string_value(path_get(root, objective));
    const char              *kind = json_string_value(path_get(root, booster));
    const char              *count = json_string_value(path_get(root, columns));
    if (!found || strcmp(found, "reg:squarederror") != 0 || !kind || strcmp(kind, "gbtree") != 0)
        return BAD("%s: no XGBoost model of trees for reg:squarederror", r->name);
    if (!count || strtoul(count, NULL, 10) != r->features)
        return BAD("%s: trees over %.20s features, %u are expected", r->name, count ? count : "no", r->features);
    return FLASHMEM_OK;
}

/* The columns of a tree, all of the length of the first. */
typedef struct tree_arrays {
    json_t  *left, *right, *feature, *value;
    uint32_t count;
} tree_arrays;

static flashmem_status take_arrays(const reading *r, json_t *tree, tree_arrays *a) {
    *a = (tree_arrays){ json_object_get(tree, "left_children"), json_object_get(tree, "right_children"),
                        json_object_get(tree, "split_indices"), json_object_get(tree, "split_conditions"), 0 };
    size_t count = json_array_size(a->left);
    if (count < 1 || count > MOST_TREE_NODES || json_array_size(a->right) != count ||
        json_array_size(a->feature) != count || json_array_size(a->value) != count)
        return BAD("%s: tree %u: its arrays are missing, empty or of different lengths", r->name, r->tree);
    if (json_array_size(json_object_get(tree, "categories")) != 0)
        return BAD("%s: tree %u: splits by category", r->name, r->tree);
    a->count = (uint32_t)count;
    return FLASHMEM_OK;
}

static bool is_integer_in(json_t *value, json_int_t least, json_int_t below) {
    return json_is_integer(value) && json_integer_value(value) >= least && json_integer_value(value) < below;
}

/* parents: how many nodes lead to each.  A node that nothing leads to was cut off and is not part of the tree. */
static flashmem_status read_node(const reading *r, const tree_arrays *a, uint32_t i, uint32_t first, uint8_t *parents) {
    json_t       *left = json_array_get(a->left, i), *right = json_array_get(a->right, i);
    json_t       *feature = json_array_get(a->feature, i), *value = json_array_get(a->value, i);
    fm_tree_node *node = &r->trees->nodes[first + i];
    if (!json_is_number(value) || !isfinite((float)json_number_value(value)))
        return BAD("%s: tree %u, node %u: no finite number", r->name, r->tree, i);
    *node = (fm_tree_node){ .value = (float)json_number_value(value) };
    if (is_integer_in(left, -1, 0) && is_integer_in(right, -1, 0)) return FLASHMEM_OK;
    if (!is_integer_in(left, 1, a->count) || !is_integer_in(right, 1, a->count))
        return BAD("%s: tree %u, node %u: leads out of the tree of %u nodes", r->name, r->tree, i, a->count);
    if (!is_integer_in(feature, 0, r->features))
        return BAD("%s: tree %u, node %u: splits by none of the %u features", r->name, r->tree, i, r->features);
    uint32_t to[2] = { (uint32_t)json_integer_value(left), (uint32_t)json_integer_value(right) };
    if (parents[to[0]]++ || parents[to[1]]++)
        return BAD("%s: tree %u, node %u: leads to a node that another one leads to", r->name, r->tree, i);
    node->left = first + to[0];
    node->right = first + to[1];
    node->feature = (uint32_t)json_integer_value(feature);
    return FLASHMEM_OK;
}

/* The root has no parent and no node has two: what is reached from the root is a tree. */
static flashmem_status read_tree(reading *r, json_t *tree, uint8_t *parents) {
    tree_arrays a;
    uint32_t    first = r->trees->node_count;
    FM_TRY(take_arrays(r, tree, &a));
    memset(parents, 0, a.count);
    for (uint32_t i = 0; i < a.count; i++) FM_TRY(read_node(r, &a, i, first, parents));
    r->trees->roots[r->tree] = first;
    r->trees->node_count += a.count;
    return FLASHMEM_OK;
}

static size_t count_nodes(json_t *trees) {
    size_t  index, total = 0;
    json_t *tree;
    json_array_foreach(trees, index, tree) total += json_array_size(json_object_get(tree, "left_children"));
    return total;
}

static flashmem_status read_trees(reading *r, json_t *root) {
    static const char *const path[] = { "learner", "gradient_booster", "model", "trees", NULL };
    json_t                  *trees = path_get(root, path), *tree;
    size_t                   index, count = json_array_size(trees), nodes = count_nodes(trees);
    if (count < 1 || count > MOST_TREES || nodes > MOST_NODES)
        return BAD("%s: %zu trees of %zu nodes, 1 to %d of at most %d are expected", r->name, count, nodes, MOST_TREES,
                   MOST_NODES);
    r->trees->nodes = calloc(nodes + 1, sizeof *r->trees->nodes);
    r->trees->roots = calloc(count, sizeof *r->trees->roots);
    uint8_t        *parents = malloc(MOST_TREE_NODES);
    flashmem_status status = FLASHMEM_OK;
    if (!r->trees->nodes || !r->trees->roots || !parents)
        status = fm_fail(r->err, FLASHMEM_OUT_OF_MEMORY, "%s: no memory for %zu nodes", r->name, nodes);
    json_array_foreach(trees, index, tree) {
        r->tree = (uint32_t)index;
        if (status == FLASHMEM_OK) status = read_tree(r, tree, parents);
    }
    r->trees->root_count = (uint32_t)count;
    free(parents);
    return status;
}

flashmem_status fm_trees_parse(fm_trees *trees, char *json, size_t bytes, uint32_t features, const char *name,
                               flashmem_error *err) {
    reading      state = { trees, features, 0, name, err }, *r = &state;
    json_error_t where;
    *trees = (fm_trees){ .json = json, .json_bytes = bytes };
    json_t         *root = json_loadb(json, bytes, JSON_REJECT_DUPLICATES, &where);
    flashmem_status status = FLASHMEM_OK;
    if (!root) status = BAD("%s: not JSON: line %d: %s", name, where.line, where.text);
    if (status == FLASHMEM_OK) status = check_objective(r, root);
    if (status == FLASHMEM_OK) status = read_base(r, root);
    if (status == FLASHMEM_OK) status = read_trees(r, root);
    json_decref(root);
    if (status != FLASHMEM_OK) fm_trees_free(trees);
    return status;
}

void fm_trees_free(fm_trees *trees) {
    free(trees->nodes);
    free(trees->roots);
    free(trees->json);
    *trees = (fm_trees){ .nodes = NULL };
}

float fm_trees_predict(const fm_trees *trees, const float *x) {
    float sum = trees->base;
    for (uint32_t t = 0; t < trees->root_count; t++) {
        const fm_tree_node *node = &trees->nodes[trees->roots[t]];
        while (node->left) node = &trees->nodes[x[node->feature] < node->value ? node->left : node->right];
        sum += node->value;
    }
    return sum;
}
