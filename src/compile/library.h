/* Finding libraries that are used where they are there, and done without where they are not.
 * Who may include: compile, tests. */
#ifndef FM_COMPILE_LIBRARY_H
#define FM_COMPILE_LIBRARY_H

#include <stddef.h>

typedef struct fm_library_places {
    const char *variable; /* environment: path of the file, or of its folder; when set, the only place */
    const char *in_venv;  /* below a Python environment "venv" beside the program's build, with globs */
    const char *names[3]; /* in that folder, and for the system's loader; ended by NULL */
} fm_library_places;

/* A handle of dlopen, or NULL with the reason. */
void *fm_library_open(const fm_library_places *places, char *reason, size_t reason_bytes);

#endif
