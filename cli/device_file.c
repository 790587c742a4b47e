#include "device_file.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "console.h"

/* --- fields ------------------------------------------------------------------------------------------------------- */

typedef enum kind { NUMBER, LONG, INT, TEXT, LAYOUT, PATH, RATES, GROWTH, NOTES } kind;
typedef struct field {
    const char *name;
    kind        kind;
    size_t      offset;
} field;

#define FIELD(name, kind) \
    { #name, kind, offsetof(flashmem_device, name) }
static const field fields[] = {
    FIELD(name, TEXT),
    FIELD(layout, LAYOUT),
    FIELD(memory_path, PATH),
    FIELD(startup_seconds, NUMBER),
    FIELD(launch_seconds, NUMBER),
    FIELD(flops_per_second, RATES),
    FIELD(bytes_per_second, NUMBER),
    FIELD(disk_bytes_per_second, NUMBER),
    FIELD(request_seconds, NUMBER),
    FIELD(convert_bytes_per_second, NUMBER),
    FIELD(check_bytes_per_second, NUMBER),
    FIELD(load_bytes_per_second, NUMBER),
    FIELD(growth, GROWTH),
    FIELD(memory_bytes, LONG),
    FIELD(largest_allocation, LONG),
    FIELD(value_align, LONG),
    FIELD(image_limit, INT),
    FIELD(image_pitch, INT),
    FIELD(read_depth, INT),
    FIELD(read_bytes, INT),
    FIELD(idle_watts, NUMBER),
    FIELD(compute_watts, NUMBER),
    FIELD(disk_watts, NUMBER),
    { "notes", NOTES, 0 },
};
enum { FIELDS = sizeof fields / sizeof *fields };

static const char *class_name(uint32_t class) { return flashmem_cost_class_name(class); }

static const char *growth_name(uint32_t class) {
    static const char *const names[FLASHMEM_CAPACITY_CLASSES] = { "elementwise", "reusable", "hierarchical" };
    return names[class];
}

static bool take_number(const char *path, const char *name, const json_t *value, double *to) {
    if (!json_is_number(value)) return cli_usage("%s: '%s' is not a number", path, name);
    *to = json_number_value(value);
    return true;
}

static bool take_integer(const char *path, const char *name, const json_t *value, uint64_t most, uint64_t *to) {
    if (!json_is_integer(value) || json_integer_value(value) < 0 || (uint64_t)json_integer_value(value) > most)
        return cli_usage("%s: '%s' is not a whole number from 0 to %" PRIu64, path, name, most);
    *to = (uint64_t)json_integer_value(value);
    return true;
}

/* Numbers by class. */
static bool take_classes(const char *path, const char *name, json_t *value, uint32_t count,
                         const char *(*class)(uint32_t), double *to) {
    const char *key;
    json_t     *number;
    if (!json_is_object(value)) return cli_usage("%s: '%s' is not an object of numbers by class", path, name);
    json_object_foreach(value, key, number) {
        uint32_t c = 0;
        while (c < count && strcmp(class(c), key)) c++;
        if (c == count) return cli_usage("%s: '%s' has no class '%s'", path, name, key);
        if (!take_number(path, key, number, &to[c])) return false;
    }
    return true;
}

static bool take_choice(const char *path, const char *name, const json_t *value, const char *const *names, int count,
                        int *to) {
    const char *text = json_string_value(value);
    for (int i = 0; text && i < count; i++)
        if (!strcmp(text, names[i])) return *to = i, true;
    return cli_usage("%s: '%s' is none of those there are", path, name);
}

static bool take_text(const char *path, const json_t *value, flashmem_device *device) {
    const char *text = json_string_value(value);
    if (!text || !*text || strlen(text) >= sizeof device->name)
        return cli_usage("%s: 'name' is not a text of 1 to %zu bytes", path, sizeof device->name - 1);
    strcpy(device->name, text);
    return true;
}

static bool take(const char *path, const field *f, json_t *value, flashmem_device *device) {
    static const char *const layouts[] = { "cpu", "texture" };
    static const char *const paths[] = { "default", "in-place", "texture-copy" };
    void                    *to = (char *)device + f->offset;
    uint64_t                 whole = 0;
    int                      choice = 0;
    bool                     ok = true;
    switch (f->kind) {
    case NUMBER: return take_number(path, f->name, value, to);
    case LONG: return take_integer(path, f->name, value, INT64_MAX, to);
    case INT:
        ok = take_integer(path, f->name, value, UINT32_MAX, &whole);
        *(uint32_t *)to = (uint32_t)whole;
        return ok;
    case TEXT: return take_text(path, value, device);
    case LAYOUT:
        ok = take_choice(path, f->name, value, layouts, 2, &choice);
        device->layout = (flashmem_layout)choice;
        return ok;
    case PATH:
        ok = take_choice(path, f->name, value, paths, 3, &choice) && choice > 0;
        device->memory_path = (flashmem_memory_path)choice;
        return ok || cli_usage("%s: 'memory_path' is in-place or texture-copy", path);
    case RATES: return take_classes(path, f->name, value, FLASHMEM_COST_CLASSES, class_name, to);
    case GROWTH: return take_classes(path, f->name, value, FLASHMEM_CAPACITY_CLASSES, growth_name, to);
    case NOTES: break;
    }
    return true;
}

static int read_device(const char *path, json_t *root, flashmem_device *device) {
    const char    *key;
    json_t        *value;
    flashmem_error error = { 0 };
    flashmem_device_init(device);
    if (!json_is_object(root)) return cli_usage("%s: not a description of a device: an object is wanted", path), 1;
    json_object_foreach(root, key, value) {
        int i = 0;
        while (i < FIELDS && strcmp(fields[i].name, key)) i++;
        if (i == FIELDS) return cli_usage("%s: no device has a '%s'", path, key), 1;
        if (!take(path, &fields[i], value, device)) return 1;
    }
    if (flashmem_device_check(device, &error)) return cli_fail(&error);
    if ((device->layout == FLASHMEM_LAYOUT_TEXTURE) != (device->memory_path == FLASHMEM_PATH_TEXTURE_COPY))
        return cli_usage("%s: layout texture goes with memory path texture-copy, cpu with in-place", path), 1;
    return 0;
}

/* --- files -------------------------------------------------------------------------------------------------------- */

enum { FOLDERS = 4 };

/* Where described devices may lie; empty: nowhere. */
static void find_folders(char folders[FOLDERS][PATH_MAX]) {
    char        program[PATH_MAX - 64];
    const char *given = getenv("FLASHMEM_DEVICES");
    ssize_t     length = readlink("/proc/self/exe", program, sizeof program - 1);
    memset(folders, 0, FOLDERS * sizeof folders[0]);
    if (given) snprintf(folders[0], sizeof folders[0], "%s", given);
    program[length > 0 ? length : 0] = 0;
    char *slash = strrchr(program, '/');
    if (!slash) return;
    *slash = 0;
    snprintf(folders[1], sizeof folders[1], "%s/../share/flashmem/devices", program);
    snprintf(folders[2], sizeof folders[2], "%s/../../devices", program); /* of the source, seen from build/PRESET */
    snprintf(folders[3], sizeof folders[3], "%s/../../../devices", program);
}

static int is_description(const struct dirent *entry) {
    size_t length = strlen(entry->d_name);
    return length > 5 && !strcmp(entry->d_name + length - 5, ".json");
}

/* Of the first folder that has any. */
static void list_names(char folders[FOLDERS][PATH_MAX], char *names, size_t bytes) {
    names[0] = 0;
    for (int i = 0; i < FOLDERS && !names[0]; i++) {
        struct dirent **found = NULL;
        int             count = folders[i][0] ? scandir(folders[i], &found, is_description, alphasort) : 0;
        for (int n = 0; n < count; n++) {
            size_t used = strlen(names), length = strlen(found[n]->d_name) - 5;
            snprintf(names + used, bytes - used, "%s%.*s", used ? ", " : "", (int)length, found[n]->d_name);
            free(found[n]);
        }
        free(found);
    }
}

static bool find_file(const char *name, char *path, size_t bytes) {
    char   folders[FOLDERS][PATH_MAX];
    size_t length = strlen(name);
    snprintf(path, bytes, "%s", name);
    if (strchr(name, '/') || (length > 5 && !strcmp(name + length - 5, ".json"))) return true;
    find_folders(folders);
    for (int i = 0; i < FOLDERS; i++) {
        if (!folders[i][0] || snprintf(path, bytes, "%s/%s.json", folders[i], name) >= (int)bytes) continue;
        if (!access(path, R_OK)) return true;
    }
    char names[1024];
    list_names(folders, names, sizeof names);
    return cli_usage("no device '%s' is described here: give a file, or one of: %s", name,
                     names[0] ? names : "none are installed");
}

int cli_device_load(const char *name, flashmem_device *device) {
    char         path[2 * PATH_MAX];
    json_error_t error;
    if (!find_file(name, path, sizeof path)) return 2;
    errno = 0;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!root && error.line < 0) return cli_usage("%s: %s", path, errno ? strerror(errno) : error.text), 1;
    if (!root) return cli_usage("%s:%d: %s", path, error.line, error.text), 1;
    int code = read_device(path, root, device);
    json_decref(root);
    return code;
}
