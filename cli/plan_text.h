/* A plan as text, for people.  Who may include: cli. */
#ifndef CLI_PLAN_TEXT_H
#define CLI_PLAN_TEXT_H

#include <stdio.h>

#include "flashmem/plan.h"

void cli_plan_text(const flashmem_plan *plan, FILE *to);

#endif
