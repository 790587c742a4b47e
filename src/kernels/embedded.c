/* Finds kernel sources: the embedded table, or files of FLASHMEM_KERNEL_DIR. */
#include "kernels/embedded.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"

enum { LARGEST_FILE = 16 << 20 };

/* What was read from disk, kept until the process ends because callers may still hold it. */
typedef struct loaded_file {
    struct loaded_file *next;
    fm_embedded_file    file;
    char                name[];
} loaded_file;

static loaded_file    *loaded_files;
static pthread_mutex_t loaded_mutex = PTHREAD_MUTEX_INITIALIZER;

static const fm_embedded_file *find_loaded(const char *name, size_t bytes, uint64_t hash) {
    for (const loaded_file *l = loaded_files; l; l = l->next)
        if (l->file.bytes == bytes && l->file.hash == hash && strcmp(l->name, name) == 0) return &l->file;
    return NULL;
}

/* Takes data. */
static const fm_embedded_file *remember(const char *name, void *data, size_t bytes) {
    uint64_t                hash = fm_hash(data, bytes);
    const fm_embedded_file *found = find_loaded(name, bytes, hash);
    size_t                  name_bytes = strlen(name) + 1;
    loaded_file            *l = found ? NULL : malloc(sizeof *l + name_bytes);
    if (!l) {
        free(data);
        return found;
    }
    memcpy(l->name, name, name_bytes);
    l->file = (fm_embedded_file){ l->name, data, bytes, hash };
    l->next = loaded_files;
    loaded_files = l;
    return &l->file;
}

static const fm_embedded_file *load(const char *folder, const char *name) {
    char   path[4096];
    void  *data = NULL;
    size_t bytes = 0;
    int    length = snprintf(path, sizeof path, "%s/%s", folder, name);
    if (length < 0 || (size_t)length >= sizeof path || strchr(name, '/')) return NULL;
    if (fm_file_load(path, LARGEST_FILE, &data, &bytes, NULL) != FLASHMEM_OK) return NULL;
    pthread_mutex_lock(&loaded_mutex);
    const fm_embedded_file *file = remember(name, data, bytes);
    pthread_mutex_unlock(&loaded_mutex);
    return file;
}

const fm_embedded_file *fm_embedded_find(const char *name) {
    const char *folder = getenv("FLASHMEM_KERNEL_DIR");
    if (folder && *folder) return load(folder, name);
    for (size_t i = 0; i < fm_embedded_file_count; i++)
        if (strcmp(fm_embedded_files[i].name, name) == 0) return &fm_embedded_files[i];
    return NULL;
}
