/* Finds OR-Tools' library: the wheel has neither headers nor a development package, its four C functions are enough. */
#include "compile/plan/cpsat/cpsat_library.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

#include "compile/library.h"

#define ADVICE                                                                                       \
    "install the Python wheel (pip install --no-deps 'ortools>=9.12,<10'; tools/setup.sh puts it "   \
    "into build/venv) and set FLASHMEM_ORTOOLS to its folder ortools/.libs, or plan with the label " \
    "solver, which needs no library"

static fm_cpsat_library table;
static char             reason[600]; /* empty: loaded */
static pthread_once_t   once = PTHREAD_ONCE_INIT;

static void load(void) {
    static const fm_library_places places = { "FLASHMEM_ORTOOLS",
                                              "lib/python3*/site-packages/ortools/.libs/libortools.so.9",
                                              { "libortools.so.9", "libortools.so", NULL } };
    void                          *library = fm_library_open(&places, reason, sizeof reason);
    if (!library) return;
    reason[0] = '\0';
#define FIND(type, name, parameters)                 \
    *(void **)(&table.name) = dlsym(library, #name); \
    if (!table.name && !reason[0]) snprintf(reason, sizeof reason, "the library has no function " #name);
    FM_CPSAT_FUNCTIONS(FIND)
#undef FIND
    if (reason[0]) dlclose(library);
}

flashmem_status fm_cpsat_load(const fm_cpsat_library **out, flashmem_error *err) {
    pthread_once(&once, load);
    if (reason[0]) return fm_fail(err, FLASHMEM_UNSUPPORTED, "no CP-SAT: %s; " ADVICE, reason);
    *out = &table;
    return FLASHMEM_OK;
}
