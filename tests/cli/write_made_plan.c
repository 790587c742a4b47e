/* write_made_plan KIND STEPS FOLDER: FOLDER/plan.html, plan.json and, of an overlap plan, problem.json of a plan made by
 * hand, and the plan as text on standard output; for the tests of each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/plan_html.h"
#include "cli/plan_json.h"
#include "cli/plan_text.h"
#include "made_plan.h"

static const char *const kinds[] = { "timed", "texture", "overlap", "hostile", "empty" };

static cli_curve made_curve(void) {
    cli_curve curve = { .count = 8 };
    for (uint32_t i = 0; i < curve.count; i++)
        curve.rows[i] = (cli_curve_row){ .budget = UINT64_C(9437184) << i,
                                         .peak = UINT64_C(9400000) << i,
                                         .latency = 0.8 + 0.9 / (1 + i),
                                         .stall = 0.6 / (1 + i) - 0.05,
                                         .average = 6e6 * (1 << i),
                                         .resident = i * UINT64_C(5000000) };
    return curve;
}

int main(int argc, char **argv) {
    char path[3][4096];
    int  kind = -1;
    if (argc != 4) return fputs("usage: write_made_plan KIND STEPS FOLDER\n", stderr), 2;
    for (int i = 0; i < (int)(sizeof kinds / sizeof *kinds); i++)
        if (!strcmp(kinds[i], argv[1])) kind = i;
    if (kind < 0) return fprintf(stderr, "no kind '%s'\n", argv[1]), 2;
    snprintf(path[0], sizeof path[0], "%s/plan.html", argv[3]);
    snprintf(path[1], sizeof path[1], "%s/plan.json", argv[3]);
    snprintf(path[2], sizeof path[2], "%s/problem.json", argv[3]);
    flashmem_plan *plan = made_plan((made_kind)kind, (uint32_t)atoi(argv[2]));
    cli_curve      curve = made_curve();
    int            code = cli_plan_html(path[0], plan, kind == MADE_EMPTY ? NULL : &curve);
    if (!code) code = cli_plan_json(path[1], plan, &curve, NULL);
    if (!code && plan->chunk_bytes) code = cli_plan_dump(path[2], plan);
    cli_plan_text(plan, stdout);
    made_plan_free(plan);
    return code;
}
