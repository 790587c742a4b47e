/* A plan as JSON: its figures, and an overlap plan's instance and solution.  Who may include: cli, tests. */
#ifndef CLI_PLAN_JSON_H
#define CLI_PLAN_JSON_H

#include <jansson.h>

#include "curve.h"
#include "flashmem/plan.h"

/* The objects of plan --json, which the page of plan --html also holds. */
json_t *cli_plan_figures(const flashmem_plan *plan);
json_t *cli_plan_memory(const flashmem_plan *plan);
json_t *cli_plan_curve(const cli_curve *curve);

/* plan --json: objects plan and memory, model, device, weights_bytes, and where they are given curve and cache.pack.  Exit code, with
 * the message printed. */
int cli_plan_json(const char *path, const flashmem_plan *plan, const cli_curve *curve, const char *cache);
/* plan --dump-problem: {chunk_bytes, m_peak_chunks, lambda, capacity_chunks[step], steps[name], weights[{name, bytes,
 * chunks, first, last, preload, load[[step, chunks]]}]}; steps count from 0.  Bad usage where plan is no overlap plan. */
int cli_plan_dump(const char *path, const flashmem_plan *plan);

#endif
