/* The entry points of OR-Tools' library, found at the first call.  Who may include: cpsat.c. */
#ifndef FM_COMPILE_PLAN_CPSAT_LIBRARY_H
#define FM_COMPILE_PLAN_CPSAT_LIBRARY_H

#include "base/error.h"

/* Messages are serialised CpModelProto, SatParameters and CpSolverResponse; free(*response). */
#define FM_CPSAT_FUNCTIONS(X)                                                                                       \
    X(void *, SolveCpNewEnv, (void))                                                                                \
    X(void, SolveCpDestroyEnv, (void *env))                                                                         \
    X(void, SolveCpStopSearch, (void *env))                                                                         \
    X(void, SolveCpInterruptible, (void *env, const void *model, int model_bytes, const void *parameters,           \
                                   int parameter_bytes, void **response, int *response_bytes))

typedef struct fm_cpsat_library {
#define FM_CPSAT_MEMBER(type, name, parameters) type (*name) parameters;
    FM_CPSAT_FUNCTIONS(FM_CPSAT_MEMBER)
#undef FM_CPSAT_MEMBER
} fm_cpsat_library;

/* Looked for once per process: FLASHMEM_ORTOOLS (the library or its folder; nothing else is tried when it is set), the
 * Python environment of the build that this program lies in (build/venv), the system's loader.  UNSUPPORTED says what
 * was tried, what to install and what to set. */
flashmem_status fm_cpsat_load(const fm_cpsat_library **out, flashmem_error *err);

#endif
