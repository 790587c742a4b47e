/* A plan as one page for a browser, which needs nothing else.  Who may include: cli, tests. */
#ifndef CLI_PLAN_HTML_H
#define CLI_PLAN_HTML_H

#include "curve.h"
#include "flashmem/plan.h"

/* plan --html; curve may be NULL.  Exit code, with the message printed. */
int cli_plan_html(const char *path, const flashmem_plan *plan, const cli_curve *curve);

#endif
