/* Figures as JSON (jansson), written whole or not at all.  Who may include: cli. */
#ifndef CLI_REPORT_H
#define CLI_REPORT_H

#include <jansson.h>

#include "flashmem/compile.h"
#include "flashmem/run.h"
#include "flashmem/simulation.h"
#include "pack_cache.h"

/* Of one process's runs; milliseconds unless named otherwise. */
typedef struct cli_run_figures {
    double             startup_ms, integrated_ms, warm_median_ms; /* warm: NaN with one run */
    double            *run_ms;                                    /* each run's latency */
    int                runs;
    unsigned long long ready_ns; /* CLOCK_MONOTONIC when the first outputs were readable */
    uint64_t           process_peak_bytes;
} cli_run_figures;

json_t *cli_report_text(const char *from); /* NULL: "" */
/* Takes root over.  Exit code, with the message printed. */
int cli_report_save(json_t *root, const char *path);

int cli_report_run(const char *path, const cli_pack *pack, const flashmem_stats *first, const flashmem_stats *last,
                   const cli_run_figures *figures);
int cli_report_simulation(const char *path, const flashmem_plan *plan, const flashmem_simulation *simulation);
int cli_report_compile(const char *path, const flashmem_compile_report *report, uint64_t peak_bytes);

#endif
