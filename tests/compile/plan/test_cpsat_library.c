/* Looking for OR-Tools' library, and answers of it that must not be believed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "compile/plan/cpsat/cpsat.h"
#include "compile/plan/solvers.h"
#include "cp_model.pb-c.h"
#include "tests/base/cmocka_setup.h"
#include "tests/compile/plan/plan_case.h"

static char folder[64]; /* temporary, with what the tests look at */

/* --- looking for it: once per process, so every case is a process ------------------------------------------------- */

/* What a process that starts with FLASHMEM_ORTOOLS = value says; the library is found iff it says nothing. */
static void say(const char *program, const char *value, char *text, size_t bytes) {
    char command[6000];
    if (value) snprintf(command, sizeof command, "FLASHMEM_ORTOOLS='%s' %s --look", value, program);
    else snprintf(command, sizeof command, "env -u FLASHMEM_ORTOOLS %s --look", program);
    FILE *child = popen(command, "r");
    assert_non_null(child);
    size_t count = fread(text, 1, bytes - 1, child);
    text[count] = '\0';
    assert_int_equal(pclose(child), 0);
}

static int look(void) {
    flashmem_error err = { 0 };
    if (fm_cpsat_available(&err) != FLASHMEM_OK) printf("%s: %s", flashmem_status_name(err.status), err.message);
    return 0;
}

static void find_program(char *path, size_t bytes) {
    ssize_t length = readlink("/proc/self/exe", path, bytes - 1);
    assert_true(length > 0);
    path[length] = '\0';
}

static void expect_failure(const char *program, const char *value, const char *part) {
    char text[2048];
    say(program, value, text, sizeof text);
    if (!strstr(text, "UNSUPPORTED: no CP-SAT: ") || !strstr(text, part) || !strstr(text, "pip install") ||
        !strstr(text, "FLASHMEM_ORTOOLS"))
        fail_msg("'%s' says '%s', not '%s'", value ? value : "(unset)", text, part);
}

static const char *inside(const char *name) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const char *text) {
    FILE *file = fopen(inside(name), "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void test_cpsat_library__is_refused_with_what_to_do(void **state) {
    (void)state;
    char program[256], long_path[5000];
    find_program(program, sizeof program);
    expect_failure(program, "/nowhere/libortools.so.9", "no such file");
    expect_failure(program, folder, "no libortools.so.9 there");
    write_file("text", "not a library\n");
    expect_failure(program, inside("text"), "text");
    write_file("empty", "");
    expect_failure(program, inside("empty"), "empty");
    assert_int_equal(mkfifo(inside("pipe"), 0600), 0);
    expect_failure(program, inside("pipe"), "pipe: no such file");
    expect_failure(program, FM_BINARY_DIR "/libflashmem_run.so", "has no function SolveCpNewEnv");
    memset(long_path, 'a', sizeof long_path);
    long_path[sizeof long_path - 1] = '\0';
    expect_failure(program, long_path, "no such file");
    assert_int_equal(symlink(FM_BINARY_DIR "/libflashmem_run.so", inside("libortools.so")), 0);
    expect_failure(program, folder, "has no function SolveCpNewEnv");
}

static void test_cpsat_library__is_found(void **state) {
    (void)state;
    char text[2048], program[256];
    find_program(program, sizeof program);
    say(program, NULL, text, sizeof text); /* in the venv beside the build */
    assert_string_equal(text, "");
    say(program, FAKE_ORTOOLS, text, sizeof text);
    assert_string_equal(text, "");
}

/* Elsewhere, with nothing beside it: what a program that is installed says on a system without OR-Tools. */
static void test_cpsat_library__is_not_everywhere(void **state) {
    (void)state;
    char command[512];
    snprintf(command, sizeof command, "mkdir -p %s/a/b/c && cp /proc/%d/exe %s/a/b/c/program", folder, (int)getpid(),
             folder);
    assert_int_equal(system(command), 0);
    snprintf(command, sizeof command, "%s/a/b/c/program", folder);
    expect_failure(command, NULL, "neither in a venv beside the program nor known to the loader");
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

/* x in 0..1, y in 0..5; x + y >= 3; x or not x; minimise 2 x + y: 3 at x = 0, y = 3. */
static fm_cpsat_model *make_model(fm_arena *arena) {
    fm_cpsat_model *m = fm_cpsat_create(arena);
    int32_t         x = fm_cpsat_boolean(m), y = fm_cpsat_integer(m, 0, 5);
    fm_cpsat_term(m, x, 1);
    fm_cpsat_term(m, y, 1);
    fm_cpsat_linear(m, 3, FM_CPSAT_HIGH, FM_CPSAT_ALWAYS);
    fm_cpsat_or(m, (int32_t[]){ x, FM_CPSAT_NOT(x) }, 2);
    fm_cpsat_or(m, (int32_t[]){ FM_CPSAT_NOT(x) }, 1);
    fm_cpsat_term(m, x, 2);
    fm_cpsat_term(m, y, 1);
    fm_cpsat_minimize(m, FM_CPSAT_LOW);
    return m;
}

static void set_answer(const uint8_t *bytes, size_t count) {
    char text[1024] = "";
    assert_true(2 * count < sizeof text);
    for (size_t i = 0; i < count; i++) snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    setenv("FAKE_ORTOOLS_ANSWER", text, 1);
}

static flashmem_status ask(fm_cpsat_result *result, flashmem_error *err) {
    fm_arena       *arena = fm_arena_create();
    fm_cpsat_limits limits = { .threads = 1 };
    *err = (flashmem_error){ 0 };
    flashmem_status status = fm_cpsat_solve(make_model(arena), &limits, result, err);
    if (status == FLASHMEM_OK && result->values) {
        assert_int_equal(result->values[0], 0);
        assert_int_equal(result->values[1], 3);
    }
    fm_arena_destroy(arena);
    return status;
}

typedef struct answer {
    int         status;
    int64_t     solution[3];
    size_t      count;
    double      objective, bound;
    const char *info;
    const char *message; /* NULL: believed */
} answer;

static void give(const answer *a) {
    FmCp__Response r = FM_CP__RESPONSE__INIT;
    uint8_t        bytes[256];
    r.has_status = r.has_objective_value = r.has_best_objective_bound = 1;
    r.status = a->status;
    r.solution = (int64_t *)a->solution;
    r.n_solution = a->count;
    r.objective_value = a->objective;
    r.best_objective_bound = a->bound;
    r.solution_info = (char *)a->info;
    set_answer(bytes, fm_cp__response__pack(&r, bytes));
}

static void test_cpsat_answers__are_checked(void **state) {
    (void)state;
    static const answer answers[] = {
        { 4, { 0, 3 }, 2, 3, 3, NULL, NULL },
        { 2, { 0, 3 }, 2, 3, 1, NULL, NULL },
        { 2, { 0, 3 }, 2, 3, -1.0 / 0.0, NULL, NULL },
        { 3, { 0 }, 0, 0, 0, NULL, NULL },
        { 0, { 0 }, 0, 0, 0.0 / 0.0, NULL, NULL },
        { 1, { 0 }, 0, 0, 0, "variable 0 is odd", "refuses the model: variable 0 is odd" },
        { 1, { 0 }, 0, 0, 0, NULL, "refuses the model: it does not say why" },
        { 9, { 0, 3 }, 2, 3, 3, NULL, "status 9 is not known" },
        { -1, { 0, 3 }, 2, 3, 3, NULL, "status -1 is not known" },
        { 4, { 0 }, 1, 3, 3, NULL, "a solution of 1 values for 2 variables" },
        { 4, { 0, 3, 0 }, 3, 3, 3, NULL, "a solution of 3 values for 2 variables" },
        { 4, { 0, 6 }, 2, 6, 6, NULL, "variable 1 is 6, not in 0..5" },
        { 4, { -1, 4 }, 2, 2, 2, NULL, "variable 0 is -1, not in 0..1" },
        { 4, { 0, INT64_MIN }, 2, 3, 3, NULL, "variable 1 is -9223372036854775808" },
        { 4, { 0, 2 }, 2, 2, 2, NULL, "the solution breaks constraint 0" },
        { 4, { 1, 2 }, 2, 4, 4, NULL, "the solution breaks constraint 2" },
        { 4, { 0, 3 }, 2, 4, 3, NULL, "objective 4 stated, 3 found" },
        { 4, { 0, 3 }, 2, 0.0 / 0.0, 3, NULL, "objective" },
        { 2, { 0, 3 }, 2, 3, 4, NULL, "bound 4, objective 3, status 2" },
        { 4, { 0, 3 }, 2, 3, 2, NULL, "bound 2, objective 3, status 4" },
    };
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        fm_cpsat_result result;
        flashmem_error  err;
        give(&answers[i]);
        flashmem_status status = ask(&result, &err), wanted = answers[i].message ? FLASHMEM_INTERNAL : FLASHMEM_OK;
        if (status != wanted || (wanted && !strstr(err.message, answers[i].message)))
            fail_msg("answer %zu: %s '%s'", i, flashmem_status_name(status), err.message);
    }
}

static void test_cpsat_answers__are_parsed(void **state) {
    (void)state;
    fm_cpsat_result result;
    flashmem_error  err;
    set_answer((const uint8_t *)"\xff\xff\xff", 3);
    assert_int_equal(ask(&result, &err), FLASHMEM_INTERNAL);
    assert_non_null(strstr(err.message, "cannot be parsed"));
    set_answer((const uint8_t *)"\x12\x7f\x01", 3); /* a solution longer than the message */
    assert_int_equal(ask(&result, &err), FLASHMEM_INTERNAL);
    unsetenv("FAKE_ORTOOLS_ANSWER");
    assert_int_equal(ask(&result, &err), FLASHMEM_INTERNAL);
    set_answer(NULL, 0); /* nothing is a message: status 0, unknown */
    assert_int_equal(ask(&result, &err), FLASHMEM_OK);
    assert_int_equal(result.status, FM_CPSAT_UNKNOWN);
    setenv("FAKE_ORTOOLS_FULL", "1", 1);
    assert_int_equal(ask(&result, &err), FLASHMEM_OUT_OF_MEMORY);
    unsetenv("FAKE_ORTOOLS_FULL");
}

/* A solver that lies about the overlap problem is found out; one that knows nothing leaves a plan, not proven here: the
 * backlog alone does not tell the waiting weights from each other. */
static void test_cpsat_answers__do_not_spoil_a_plan(void **state) {
    (void)state;
    fm_arena   *arena = fm_arena_create();
    uint64_t    capacity[9];
    plan_weight weights[3] = { { 4, 2 << 20 }, { 4, 2 << 20 }, { 8, 5 << 20 } };
    for (int i = 0; i < 9; i++) capacity[i] = (i ? 1 : 2) << 20;
    fm_overlap_problem *p = plan_case_make(capacity, 9, weights, 3, 1 << 20, 100 << 20, arena);
    fm_overlap_options  options = { .solver = FM_SOLVER_CPSAT };
    fm_overlap_plan     plan;
    flashmem_error      err = { 0 };
    give(&(answer){ .status = 0 });
    assert_int_equal(fm_overlap_solve(p, &options, arena, &plan, &err), FLASHMEM_OK);
    assert_int_equal(plan.status, FM_OVERLAP_FEASIBLE);
    give(&(answer){ .status = 3 });
    assert_int_equal(fm_overlap_solve(p, &options, arena, &plan, &err), FLASHMEM_INTERNAL);
    assert_non_null(strstr(err.message, "though all may be preloaded"));
    fm_arena_destroy(arena);
}

static int set_up(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/flashmem-cpsat-XXXXXX");
    setenv("FLASHMEM_ORTOOLS", FAKE_ORTOOLS, 1);
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--look") == 0) return look();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cpsat_library__is_refused_with_what_to_do),
        cmocka_unit_test(test_cpsat_library__is_found),
        cmocka_unit_test(test_cpsat_library__is_not_everywhere),
        cmocka_unit_test(test_cpsat_answers__are_checked),
        cmocka_unit_test(test_cpsat_answers__are_parsed),
        cmocka_unit_test(test_cpsat_answers__do_not_spoil_a_plan),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
