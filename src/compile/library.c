#include "compile/library.h"

#include <dlfcn.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, FOLDERS_UP = 3 };

/* Only regular files: opening a pipe would wait for a writer. */
static void *open_file(const char *path, char *reason, size_t bytes) {
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode)) {
        snprintf(reason, bytes, "%.300s: no such file", path);
        return NULL;
    }
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) snprintf(reason, bytes, "%.400s", dlerror());
    return library;
}

static void *open_in_folder(const fm_library_places *places, const char *folder, char *reason, size_t bytes) {
    for (int i = 0; places->names[i]; i++) {
        char path[PATH_BYTES];
        int  length = snprintf(path, sizeof path, "%s/%s", folder, places->names[i]);
        if (length > 0 && length < PATH_BYTES && access(path, F_OK) == 0) return open_file(path, reason, bytes);
    }
    snprintf(reason, bytes, "%.300s: no %s there", folder, places->names[0]);
    return NULL;
}

static void *open_given(const fm_library_places *places, const char *given, char *reason, size_t bytes) {
    struct stat info;
    if (stat(given, &info) == 0 && S_ISDIR(info.st_mode)) return open_in_folder(places, given, reason, bytes);
    return open_file(given, reason, bytes);
}

/* The program lies in build/<preset> or a folder below; build/venv is beside. */
static void *open_in_venv(const char *in_venv, char *reason, size_t bytes) {
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
        snprintf(pattern, sizeof pattern, "%s/venv/%s", folder, in_venv);
        if (glob(pattern, 0, NULL, &found) == 0) library = open_file(found.gl_pathv[found.gl_pathc - 1], reason, bytes);
        globfree(&found);
        if (library) return library;
    }
    return NULL;
}

void *fm_library_open(const fm_library_places *places, char *reason, size_t bytes) {
    const char *given = getenv(places->variable);
    reason[0] = '\0';
    if (given && *given) return open_given(places, given, reason, bytes);
    void *library = open_in_venv(places->in_venv, reason, bytes);
    for (int i = 0; !library && places->names[i]; i++) library = dlopen(places->names[i], RTLD_NOW | RTLD_LOCAL);
    if (!library && !reason[0])
        snprintf(reason, bytes, "%s is neither in a venv beside the program nor known to the loader, and %s is not set",
                 places->names[0], places->variable);
    return library;
}
