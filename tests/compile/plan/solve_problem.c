/* Solves an overlap problem from a text file: "STEPS WEIGHTS", then each step's capacity in bytes, then each weight's
 * first step and bytes.
 *
 *     solve_problem FILE [SOLVER] [chunk=BYTES] [m_peak=BYTES] [width=N] [window=N] [limit=SECONDS] [lambda=X] [bytes] */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "compile/plan/problem.h"

typedef struct request {
    fm_overlap_problem problem;
    fm_overlap_options options;
    double             lambda;
} request;

static void print_log(void *user, flashmem_log_level level, const char *category, const char *message) {
    (void)user;
    (void)level;
    fprintf(stderr, "%s: %s\n", category, message);
}

static int read_problem(const char *path, request *r, fm_arena *arena, flashmem_error *err) {
    FILE    *file = fopen(path, "r");
    uint32_t steps, weights;
    if (!file || fscanf(file, "%" SCNu32 " %" SCNu32, &steps, &weights) != 2) {
        if (file) fclose(file);
        return 0;
    }
    fm_overlap_step   *s = fm_arena_array(arena, steps, sizeof *s);
    fm_overlap_weight *w = fm_arena_array(arena, weights, sizeof *w);
    int                good = 1;
    for (uint32_t l = 0; l < steps && good; l++) good = fscanf(file, "%" SCNu64, &s[l].capacity_bytes) == 1;
    for (uint32_t i = 0; i < weights && good; i++) {
        good = fscanf(file, "%" SCNu32 " %" SCNu64, &w[i].first, &w[i].bytes) == 2;
        w[i].last = w[i].first;
        w[i].name = fm_arena_printf(arena, "w%" PRIu32, i);
    }
    fclose(file);
    r->problem.name = path;
    r->problem.step_count = steps;
    r->problem.weight_count = weights;
    return good && fm_overlap_problem_finish(&r->problem, s, w, r->lambda, err) == FLASHMEM_OK;
}

static int read_argument(const char *text, request *r) {
    if (sscanf(text, "chunk=%" SCNu64, &r->problem.chunk_bytes) == 1) return 1;
    if (sscanf(text, "m_peak=%" SCNu64, &r->problem.m_peak_bytes) == 1) return 1;
    if (sscanf(text, "width=%" SCNu32, &r->options.width) == 1) return 1;
    if (sscanf(text, "window=%" SCNu32, &r->options.window) == 1) return 1;
    if (sscanf(text, "limit=%lf", &r->options.time_limit) == 1) return 1;
    if (sscanf(text, "lambda=%lf", &r->lambda) == 1) return 1;
    if (!strcmp(text, "bytes")) {
        r->problem.distance = FM_DISTANCE_BYTES;
        return 1;
    }
    for (uint32_t s = 0; s < FM_SOLVERS; s++)
        if (!strcmp(text, fm_overlap_solver_name((fm_overlap_solver)s))) {
            r->options.solver = (fm_overlap_solver)s;
            return 1;
        }
    return 0;
}

int main(int argc, char **argv) {
    static const fm_log log = { print_log, NULL };
    request             r = { .problem = { .chunk_bytes = 1 << 20, .m_peak_bytes = 500000000 },
                              .lambda = 0.9,
                              .options = { .log = &log } };
    fm_overlap_plan     plan;
    flashmem_error      err = { 0 };
    struct rusage       usage;
    for (int i = 2; i < argc; i++)
        if (!read_argument(argv[i], &r)) {
            fprintf(stderr, "what is '%s'?\n", argv[i]);
            return 2;
        }
    fm_arena *arena = fm_arena_create();
    if (argc < 2 || !arena || !read_problem(argv[1], &r, arena, &err) ||
        fm_overlap_solve(&r.problem, &r.options, arena, &plan, &err) != FLASHMEM_OK) {
        fprintf(stderr, "%s: %s\n", argc > 1 ? argv[1] : "usage: solve_problem FILE", err.message);
        fm_arena_destroy(arena);
        return 1;
    }
    getrusage(RUSAGE_SELF, &usage);
    printf("%s chunk %" PRIu64 ": %s %s objective %.4f bound %.4f gap %.3f%% preload %.1f MB peak %" PRIu32
           " softened %" PRIu64 " %.3f s %ld MB\n",
           argv[1], r.problem.chunk_bytes, plan.solver, fm_overlap_status_name(plan.status),
           fm_overlap_units(&r.problem, plan.objective), fm_overlap_units(&r.problem, plan.bound),
           plan.objective ? 100.0 * (double)(plan.objective - plan.bound) / (double)plan.objective : 0.0,
           (double)plan.preload_bytes / 1e6, plan.peak_chunks, plan.softened, plan.seconds, usage.ru_maxrss / 1024);
    fm_arena_destroy(arena);
    return 0;
}
