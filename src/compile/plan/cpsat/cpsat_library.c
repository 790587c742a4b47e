/* Finds OR-Tools' library: the wheel has neither headers nor a development package, its four C functions are enough. */
#include "compile/plan/cpsat/cpsat_library.h"

#include <dlfcn.h>
#include <glob.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, FOLDERS_UP = 3 };

#define LIBRARY  "libortools.so"
#define IN_WHEEL "lib/python3*/site-packages/ortools/.libs/" LIBRARY ".9"
#define ADVICE                                                                                                      \
    "install the Python wheel (pip install --no-deps 'ortools>=9.12,<10'; tools/setup.sh puts it into build/venv) " \
    "and set "                                                                                                      \
    "FLASHMEM_ORTOOLS to its folder ortools/.libs, or plan with the exact label solver, which needs no library"

static fm_cpsat_library table;
static char             reason[768]; /* empty: loaded */
static pthread_once_t   once = PTHREAD_ONCE_INIT;

/* Only regular files: opening a pipe would wait for a writer. */
static void *open_file(const char *path) {
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode)) {
        snprintf(reason, sizeof reason, "%.200s: no such file", path);
        return NULL;
    }
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) snprintf(reason, sizeof reason, "%.400s", dlerror());
    return library;
}

/* Names are tried in turn, the version that the entry points are known from first. */
static void *open_folder(const char *folder) {
    static const char *const names[] = { LIBRARY ".9", LIBRARY, NULL };
    for (const char *const *name = names; *name; name++) {
        char path[PATH_BYTES];
        int  length = snprintf(path, sizeof path, "%s/%s", folder, *name);
        if (length > 0 && length < PATH_BYTES && access(path, F_OK) == 0) return open_file(path);
    }
    snprintf(reason, sizeof reason, "FLASHMEM_ORTOOLS=%.200s: no " LIBRARY ".9 there", folder);
    return NULL;
}

static void *open_given(const char *given) {
    struct stat info;
    if (strlen(given) >= PATH_BYTES - 32 || stat(given, &info) != 0) {
        snprintf(reason, sizeof reason, "FLASHMEM_ORTOOLS=%.200s: no such file or folder", given);
        return NULL;
    }
    return S_ISDIR(info.st_mode) ? open_folder(given) : open_file(given);
}

/* The program lies in build/<preset> or a folder below; build/venv is beside. */
static void *open_build(void) {
    char    folder[PATH_BYTES / 2];
    ssize_t length = readlink("/proc/self/exe", folder, sizeof folder - 1);
    if (length <= 0 || length >= (ssize_t)sizeof folder - 1) return NULL;
    folder[length] = '\0';
    for (int up = 0; up < FOLDERS_UP; up++) {
        char   pattern[PATH_BYTES], *slash = strrchr(folder, '/');
        glob_t found = { 0 };
        void  *library = NULL;
        if (!slash || slash == folder) break;
        *slash = '\0';
        snprintf(pattern, sizeof pattern, "%s/venv/" IN_WHEEL, folder);
        if (glob(pattern, 0, NULL, &found) == 0) library = open_file(found.gl_pathv[found.gl_pathc - 1]);
        globfree(&found);
        if (library) return library;
    }
    return NULL;
}

static void *open_library(void) {
    const char *given = getenv("FLASHMEM_ORTOOLS");
    if (given && *given) return open_given(given);
    void *library = open_build();
    if (!library) library = dlopen(LIBRARY ".9", RTLD_NOW | RTLD_LOCAL);
    if (!library) library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!library && !reason[0])
        snprintf(reason, sizeof reason,
                 LIBRARY ".9 is neither in a venv beside the program nor known to the loader, and FLASHMEM_ORTOOLS is "
                         "not set");
    return library;
}

static void load(void) {
    void *library = open_library();
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
