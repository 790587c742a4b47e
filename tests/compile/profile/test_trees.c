/* Trees of XGBoost's JSON format: what they predict, and what is refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compile/profile/trees.h"
#include "compile/profile/xgboost.h"
#include "tests/base/cmocka_setup.h"

/* x0 < 3.5 ? (x1 < 1.5 ? 1 : 2) : 4, and then x1 < 2 ? 0.25 : -0.5; %s: base score. */
static const char model[] =
    "{\"learner\":{\"attributes\":{},\"feature_names\":[],\"feature_types\":[],\"gradient_booster\":{\"model\":{"
    "\"gbtree_model_param\":{\"num_trees\":\"2\"},\"tree_info\":[0,0],\"trees\":["
    "{\"categories\":[],\"default_left\":[1,1,0,0,0],\"id\":0,\"left_children\":[1,3,-1,-1,-1],"
    "\"right_children\":[2,4,-1,-1,-1],\"split_conditions\":[3.5E0,1.5E0,4E0,1E0,2E0],\"split_indices\":[0,1,0,0,0]},"
    "{\"categories\":[],\"id\":1,\"left_children\":[1,-1,-1],\"right_children\":[2,-1,-1],"
    "\"split_conditions\":[2,0.25,-5E-1],\"split_indices\":[1,0,0]}]},\"name\":\"gbtree\"},"
    "\"learner_model_param\":{\"base_score\":\"5E-1\",\"num_feature\":\"2\"},\"objective\":{\"name\":\"reg:"
    "squarederror\"}},"
    "\"version\":[1,7,4]}";

static flashmem_status parse(const char *text, fm_trees *trees, flashmem_error *err) {
    return fm_trees_parse(trees, strdup(text), strlen(text), 2, "t.json", err);
}

static void test_trees__predict_sums_of_leaves(void **state) {
    static const float cases[][3] = { { 0, 0, 1 + 0.25f }, { 3.4f, 1.5f, 2 + 0.25f }, { 3.5f, 0, 4 + 0.25f },
                                      { 9, 2, 4 - 0.5f },  { 0, 9, 2 - 0.5f },        { -1, 1.4999f, 1 + 0.25f } };
    fm_trees           trees;
    (void)state;
    assert_int_equal(parse(model, &trees, NULL), FLASHMEM_OK);
    assert_int_equal(trees.root_count, 2);
    assert_int_equal(trees.node_count, 8);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_true(fm_trees_predict(&trees, cases[i]) == 0.5f + cases[i][2]);
    fm_trees_free(&trees);
    fm_trees_free(&trees); /* freed and zeroed: again is nothing */
}

/* The model with the first `from` replaced. */
static char *edited(const char *from, const char *to) {
    const char *at = strstr(model, from);
    char       *text = calloc(1, sizeof model + strlen(to));
    if (!at) fail_msg("no '%s' in the model", from);
    memcpy(text, model, (size_t)(at - model));
    strcat(text, to);
    strcat(text, at + strlen(from));
    return text;
}

static void test_trees__read_what_newer_versions_write(void **state) {
    char    *text = edited("\"base_score\":\"5E-1\"", "\"base_score\":\"[5E-1]\"");
    fm_trees trees;
    (void)state;
    assert_int_equal(parse(text, &trees, NULL), FLASHMEM_OK);
    assert_true(trees.base == 0.5f);
    fm_trees_free(&trees);
    free(text);
}

/* Nodes that were cut off keep their places, without a parent. */
static void test_trees__pass_over_cut_nodes(void **state) {
    char    *text = edited("[1,3,-1,-1,-1],\"right_children\":[2,4,-1,-1,-1]",
                           "[1,-1,-1,-1,-1],\"right_children\":[2,-1,-1,-1,-1]");
    fm_trees trees;
    (void)state;
    assert_int_equal(parse(text, &trees, NULL), FLASHMEM_OK);
    assert_true(fm_trees_predict(&trees, (float[]){ 0, 0 }) == 0.5f + 1.5f + 0.25f);
    fm_trees_free(&trees);
    free(text);
}

static void test_trees__refuse_hostile_files(void **state) {
    static const struct {
        const char *from, *to, *says;
    } cases[] = {
        { "{\"learner\"", "{\"learner", "not JSON" },
        { "{\"learner\":{", "{\"learner\":[],\"x\":{", "no XGBoost model" },
        { "{\"learner\":{", "{\"learner\":{},\"learner\":{", "not JSON" },
        { "reg:squarederror", "binary:logistic", "no XGBoost model of trees for reg:squarederror" },
        { "\"name\":\"gbtree\"", "\"name\":\"dart\"", "no XGBoost model of trees" },
        { "\"num_feature\":\"2\"", "\"num_feature\":\"3\"", "trees over 3 features, 2 are expected" },
        { "\"num_feature\":\"2\"", "\"num_feature\":2", "trees over no features" },
        { "\"base_score\":\"5E-1\"", "\"base_score\":\"\"", "no base_score" },
        { "\"base_score\":\"5E-1\"", "\"base_score\":\"nan\"", "no base_score" },
        { "\"base_score\":\"5E-1\"", "\"base_score\":\"1e99\"", "no base_score" },
        { "\"base_score\":\"5E-1\"", "\"base_score\":\"[1,2]\"", "no base_score" },
        { "\"trees\":[", "\"trees\":[],\"y\":[", "0 trees" },
        { "\"trees\":[", "\"trees\":7,\"y\":[", "0 trees" },
        { "\"left_children\":[1,3,-1,-1,-1]", "\"left_children\":[1,3,-1,-1]", "tree 0: its arrays" },
        { "\"left_children\":[1,3,-1,-1,-1]", "\"left_children\":[]", "tree 0: its arrays" },
        { "\"left_children\":[1,-1,-1]", "\"left_children\":7", "tree 1: its arrays" },
        { "\"right_children\":[2,4,-1,-1,-1],", "", "tree 0: its arrays" },
        { "\"categories\":[]", "\"categories\":[1]", "tree 0: splits by category" },
        { "[1,3,-1,-1,-1]", "[1,5,-1,-1,-1]", "node 1: leads out of the tree of 5 nodes" },
        { "[1,3,-1,-1,-1]", "[1,-2,-1,-1,-1]", "node 1: leads out" },
        { "[1,3,-1,-1,-1]", "[1,0,-1,-1,-1]", "node 1: leads out" }, /* back to the root */
        { "[1,3,-1,-1,-1]", "[1,4294967297,-1,-1,-1]", "node 1: leads out" },
        { "[1,3,-1,-1,-1]", "[1,3.5,-1,-1,-1]", "node 1: leads out" },
        { "[1,3,-1,-1,-1]", "[1,3,-1,1,-1]", "node 3: leads out" }, /* one child of two */
        { "[1,3,-1,-1,-1],\"right_children\":[2,4,-1,-1,-1]", "[1,3,-1,1,-1],\"right_children\":[2,4,-1,2,-1]",
          "node 3: leads to a node that another one leads to" },
        { "[1,3,-1,-1,-1]", "[1,2,-1,-1,-1]", "node 1: leads to a node that another one leads to" },
        { "[1,3,-1,-1,-1],\"right_children\":[2,4,-1,-1,-1]", "[1,3,-1,-1,-1],\"right_children\":[1,4,-1,-1,-1]",
          "node 0: leads to a node that another one leads to" },
        { "\"split_indices\":[0,1,0,0,0]", "\"split_indices\":[0,2,0,0,0]",
          "node 1: splits by none of the 2 features" },
        { "\"split_indices\":[0,1,0,0,0]", "\"split_indices\":[-1,1,0,0,0]", "node 0: splits by none" },
        { "\"split_indices\":[0,1,0,0,0]", "\"split_indices\":[0.5,1,0,0,0]", "node 0: splits by none" },
        { "[3.5E0,", "[\"a\",", "node 0: no finite number" },
        { "[3.5E0,", "[1e300,", "node 0: no finite number" },
        { "[3.5E0,", "[null,", "node 0: no finite number" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char           *text = edited(cases[i].from, cases[i].to);
        flashmem_error  err = { 0 };
        fm_trees        trees;
        flashmem_status status = parse(text, &trees, &err);
        if (status != FLASHMEM_BAD_MODEL || !strstr(err.message, cases[i].says) || !strstr(err.message, "t.json"))
            fail_msg("case %zu: status %d, '%s', not '%s'", i, status, err.message, cases[i].says);
        assert_null(trees.nodes);
        free(text);
    }
}

static void test_trees__refuse_every_cut_off_file(void **state) {
    (void)state;
    for (size_t length = 0; length + 1 < sizeof model; length++) {
        fm_trees trees;
        char    *text = strndup(model, length);
        assert_int_equal(fm_trees_parse(&trees, text, length, 2, "t.json", NULL), FLASHMEM_BAD_MODEL);
    }
}

/* Whatever a byte becomes, reading ends, and what it accepts predicts something. */
static void test_trees__stand_changed_bytes(void **state) {
    uint32_t seed = 1, accepted = 0;
    (void)state;
    for (size_t at = 0; at + 1 < sizeof model; at++)
        for (int k = 0; k < 6; k++) {
            fm_trees trees;
            char    *text = strdup(model);
            seed = seed * 1664525u + 1013904223u;
            text[at] = k < 3 ? (char)('0' + seed % 10) : "[]{},:-\"\\e x"[seed >> 8 & 7];
            if (fm_trees_parse(&trees, text, sizeof model - 1, 2, "t.json", NULL) != FLASHMEM_OK) continue;
            float y = fm_trees_predict(&trees, (float[]){ 1, 1 });
            accepted += y == y;
            fm_trees_free(&trees);
        }
    assert_true(accepted > 100);
}

/* ---- the library ---- */

static void test_xgboost__learns_a_step_and_its_trees_agree(void **state) {
    enum { ROWS = 64 };
    const fm_xgboost *library;
    flashmem_error    err = { 0 };
    float             rows[ROWS * 2], targets[ROWS], fitted[ROWS];
    char             *json;
    size_t            bytes;
    fm_trees          trees;
    (void)state;
    if (fm_xgboost_load(&library, &err) != FLASHMEM_OK) skip();
    for (int i = 0; i < ROWS; i++) {
        rows[2 * i] = (float)i;
        rows[2 * i + 1] = (float)(i * 7 % 5);
        targets[i] = (i < 20 ? 1.0f : 3.0f) + (i * 7 % 5 < 2 ? 0.5f : 0.0f);
    }
    fm_xgboost_problem p = { rows, targets, NULL, ROWS, 2, NULL, 60, 3, 0.3, 1 };
    if (fm_xgboost_learn(library, &p, &json, &bytes, fitted, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
    if (fm_trees_parse(&trees, json, bytes, 2, "t.json", &err) != FLASHMEM_OK) fail_msg("%s", err.message);
    for (int i = 0; i < ROWS; i++) {
        float ours = fm_trees_predict(&trees, rows + 2 * i);
        assert_true(ours - fitted[i] < 1e-5f && fitted[i] - ours < 1e-5f);
        assert_true(ours - targets[i] < 0.1f && targets[i] - ours < 0.1f);
    }
    fm_trees_free(&trees);
}

/* Without the constraint the dip at 30..40 is learnt, with it predictions only rise. */
static void test_xgboost__keeps_a_rising_column_rising(void **state) {
    enum { ROWS = 100 };
    const fm_xgboost *library;
    float             rows[ROWS], targets[ROWS];
    (void)state;
    if (fm_xgboost_load(&library, NULL) != FLASHMEM_OK) skip();
    for (int i = 0; i < ROWS; i++) {
        rows[i] = (float)i;
        targets[i] = (float)i * 0.1f - (i >= 30 && i < 40 ? 2.0f : 0.0f);
    }
    for (int constrained = 0; constrained < 2; constrained++) {
        bool               rising = constrained != 0;
        fm_xgboost_problem p = { rows, targets, NULL, ROWS, 1, &rising, 80, 4, 0.3, 1 };
        char              *json;
        size_t             bytes, falls = 0;
        fm_trees           trees;
        assert_int_equal(fm_xgboost_learn(library, &p, &json, &bytes, NULL, NULL), FLASHMEM_OK);
        assert_int_equal(fm_trees_parse(&trees, json, bytes, 1, "t.json", NULL), FLASHMEM_OK);
        for (int i = 1; i < ROWS; i++)
            falls += fm_trees_predict(&trees, &rows[i]) < fm_trees_predict(&trees, &rows[i - 1]);
        assert_true(rising ? falls == 0 : falls > 0);
        fm_trees_free(&trees);
    }
}

static void test_xgboost__refuses_nothing_to_learn_from(void **state) {
    const fm_xgboost  *library;
    fm_xgboost_problem p = { .column_count = 2, .rounds = 1, .depth = 1, .rate = 1, .least_weight = 1 };
    char              *json;
    size_t             bytes;
    (void)state;
    if (fm_xgboost_load(&library, NULL) != FLASHMEM_OK) skip();
    assert_int_equal(fm_xgboost_learn(library, &p, &json, &bytes, NULL, NULL), FLASHMEM_INVALID_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trees__predict_sums_of_leaves),
        cmocka_unit_test(test_trees__read_what_newer_versions_write),
        cmocka_unit_test(test_trees__pass_over_cut_nodes),
        cmocka_unit_test(test_trees__refuse_hostile_files),
        cmocka_unit_test(test_trees__refuse_every_cut_off_file),
        cmocka_unit_test(test_trees__stand_changed_bytes),
        cmocka_unit_test(test_xgboost__learns_a_step_and_its_trees_agree),
        cmocka_unit_test(test_xgboost__keeps_a_rising_column_rising),
        cmocka_unit_test(test_xgboost__refuses_nothing_to_learn_from),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
