/* The overlap problem: its integers, and the table of solvers. */
#include "compile/plan/problem.h"

#include <inttypes.h>
#include <math.h>

#include "base/clock.h"
#include "compile/plan/solvers.h"

static const struct {
    const char           *name;
    fm_overlap_solver_fn *solve;
} solvers[FM_SOLVERS] = {
    [FM_SOLVER_AUTO] = { "auto", fm_overlap_auto },          [FM_SOLVER_LABELS] = { "labels", fm_overlap_labels },
    [FM_SOLVER_CPSAT] = { "cpsat", fm_overlap_cpsat },       [FM_SOLVER_GREEDY] = { "greedy", fm_overlap_greedy },
    [FM_SOLVER_WIDTH1] = { "width1", fm_overlap_width1 },    [FM_SOLVER_SOFTEN] = { "soften", fm_overlap_soften },
    [FM_SOLVER_PRELOAD] = { "preload", fm_overlap_preload }, [FM_SOLVER_WINDOW] = { "window", fm_overlap_window },
};

const char *fm_overlap_solver_name(fm_overlap_solver solver) {
    return (uint32_t)solver < FM_SOLVERS ? solvers[solver].name : "none";
}

const char *fm_overlap_status_name(fm_overlap_status status) {
    static const char *const names[] = { "UNKNOWN", "FEASIBLE", "OPTIMAL" };
    return (uint32_t)status < sizeof names / sizeof *names ? names[status] : "none";
}

double fm_overlap_units(const fm_overlap_problem *problem, int64_t integer) {
    return (double)integer / (double)problem->unit;
}

int64_t fm_overlap_preload_cost(const fm_overlap_problem *problem, const fm_overlap_weight *w) {
    return problem->preload_cost * (int64_t)(w->bytes / 1024 + (w->bytes % 1024 != 0));
}

int64_t fm_overlap_chunk_cost(const fm_overlap_problem *problem) {
    return problem->distance_cost * (int64_t)problem->chunk_bytes >> 20; /* exact: see set_costs */
}

double fm_overlap_time_limit(const fm_overlap_options *options) {
    if (!options || options->time_limit == 0) return 150;
    return options->time_limit > 0 ? options->time_limit : 0;
}

void fm_overlap_prove(fm_overlap_plan *plan, int64_t bound) {
    plan->bound = bound < plan->objective ? bound : plan->objective;
    plan->status = plan->bound == plan->objective && !plan->softened ? FM_OVERLAP_OPTIMAL : FM_OVERLAP_FEASIBLE;
}

/* ---- what finish fills and checks ---- */

static uint64_t greatest_divisor(uint64_t a, uint64_t b) {
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* lambda in thousandths a: (a * KiB + (1000 - a) * 1024 * distance) / 1024000, cleared of common divisors.  Where
 * distance is paid by the MiB, all three are multiplied until a chunk's step of distance is an integer too. */
static void set_costs(fm_overlap_problem *p, double lambda) {
    uint64_t thousandths = (uint64_t)llround(lambda * 1000), rest = 1000 - thousandths;
    uint64_t common = greatest_divisor(thousandths, rest), times = 1;
    p->lambda = (double)thousandths / 1000;
    p->preload_cost = (int64_t)(thousandths / common);
    p->distance_cost = (int64_t)(rest / common * 1024);
    p->unit = (int64_t)(1000 / common * 1024);
    if (p->distance == FM_DISTANCE_BYTES) {
        uint64_t mib = 1 << 20, step = (uint64_t)p->distance_cost % mib * (p->chunk_bytes % mib) % mib;
        times = mib / greatest_divisor(mib, step);
    }
    p->preload_cost *= (int64_t)times;
    p->distance_cost *= (int64_t)times;
    p->unit *= (int64_t)times;
}

/* Whether every objective lies well inside 64 bits: everything preloaded and every chunk as early as it can be. */
static bool costs_fit(const fm_overlap_problem *p, uint64_t kib, uint64_t chunks) {
    bool     by_chunk = p->distance == FM_DISTANCE_BYTES;
    uint64_t paid = by_chunk ? chunks : p->weight_count, preload, distance, sum, chunk;
    if (__builtin_mul_overflow((uint64_t)p->preload_cost, kib, &preload)) return false;
    if (__builtin_mul_overflow((uint64_t)p->distance_cost, by_chunk ? p->chunk_bytes : 1, &chunk)) return false;
    if (chunk > INT64_MAX) return false;
    if (by_chunk) chunk >>= 20;
    if (__builtin_mul_overflow(chunk, paid, &distance)) return false;
    if (__builtin_mul_overflow(distance, (uint64_t)p->step_count + 1, &distance)) return false;
    return !__builtin_add_overflow(preload, distance, &sum) && sum < INT64_MAX / 4;
}

static flashmem_status fill_weights(fm_overlap_problem *p, fm_overlap_weight *weights, uint64_t *kib, uint64_t *chunks,
                                    flashmem_error *err) {
    *kib = *chunks = 0;
    for (uint32_t i = 0; i < p->weight_count; i++) {
        fm_overlap_weight *w = &weights[i];
        uint64_t           count = w->bytes / p->chunk_bytes + (w->bytes % p->chunk_bytes != 0);
        if (w->first > w->last || w->last >= p->step_count)
            return fm_fail(err, FLASHMEM_INVALID_ARGUMENT,
                           "problem '%s': weight '%s' is used by steps %" PRIu32 " to %" PRIu32 " of %" PRIu32, p->name,
                           w->name, w->first, w->last, p->step_count);
        if (i && w->first < weights[i - 1].first)
            return fm_fail(err, FLASHMEM_INVALID_ARGUMENT,
                           "problem '%s': weight '%s' (step %" PRIu32 ") comes after '%s' (step %" PRIu32 ")", p->name,
                           w->name, w->first, weights[i - 1].name, weights[i - 1].first);
        *kib += w->bytes / 1024 + (w->bytes % 1024 != 0); /* at most 2^54 each, 2^32 of them: checked as they grow */
        *chunks += count ? count : 1;
        if (count > UINT32_MAX || *chunks > UINT32_MAX || *kib > INT64_MAX / 1024)
            return fm_fail(err, FLASHMEM_INVALID_ARGUMENT,
                           "problem '%s': more than %" PRIu32 " chunks of %" PRIu64 " bytes up to weight '%s'; "
                           "choose a larger chunk",
                           p->name, UINT32_MAX, p->chunk_bytes, w->name);
        w->chunks = count ? (uint32_t)count : 1;
    }
    return FLASHMEM_OK;
}

flashmem_status fm_overlap_problem_finish(fm_overlap_problem *p, fm_overlap_step *steps, fm_overlap_weight *weights,
                                          double lambda, flashmem_error *err) {
    uint64_t kib, chunks;
    if (!p->chunk_bytes) return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "problem '%s': a chunk of 0 bytes", p->name);
    if (!(lambda >= 0 && lambda <= 1))
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "problem '%s': lambda %g is not in 0..1", p->name, lambda);
    p->steps = steps;
    p->weights = weights;
    FM_TRY(fill_weights(p, weights, &kib, &chunks, err));
    /* All chunks together fit 32 bits, so no capacity and no cap beyond that is ever felt. */
    for (uint32_t l = 0; l < p->step_count; l++) {
        uint64_t capacity = steps[l].capacity_bytes / p->chunk_bytes;
        steps[l].capacity = capacity < UINT32_MAX ? (uint32_t)capacity : UINT32_MAX;
    }
    uint64_t m_peak = p->m_peak_bytes / p->chunk_bytes;
    p->m_peak = m_peak < UINT32_MAX ? (uint32_t)m_peak : UINT32_MAX;
    set_costs(p, lambda);
    if (!costs_fit(p, kib, chunks))
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT,
                       "problem '%s': %" PRIu64 " KiB in %" PRIu32 " weights over %" PRIu32
                       " steps make objectives beyond 64 bits; choose a chunk of whole KiB or solve a part",
                       p->name, kib, p->weight_count, p->step_count);
    return FLASHMEM_OK;
}

/* ---- solving ---- */

flashmem_status fm_overlap_solve(const fm_overlap_problem *problem, const fm_overlap_options *options, fm_arena *arena,
                                 fm_overlap_plan *plan, flashmem_error *err) {
    static const fm_overlap_options defaults = { 0 };
    if (!options) options = &defaults;
    if ((uint32_t)options->solver >= FM_SOLVERS)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "no solver number %d", (int)options->solver);
    double start = fm_clock_seconds();
    *plan = (fm_overlap_plan){ .solver = solvers[options->solver].name };
    FM_TRY(solvers[options->solver].solve(problem, options, arena, plan, err));
    plan->seconds = fm_clock_seconds() - start;
    return fm_overlap_verify(problem, plan, err);
}
