/* A device profile as a JSON file with its trees beside it: docs/device-profile.md.  Everything read is checked: files may
 * come from anywhere. */
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "compile/profile/device_profile.h"

enum { LARGEST_PROFILE = 16 << 20, LARGEST_TREES = 64 << 20, PATH_BYTES = 4096, VERSION = 1 };
static const char FORMAT[] = "flashmem device profile";

static const char *const layout_names[] = { "cpu", "texture" };
static const char *const weights_names[] = { "fp32", "fp16" };
static const char *const capacity_names[] = { "elementwise", "reusable", "hierarchical" };

/* ---- reading ---- */

typedef struct reading {
    const char     *path;
    flashmem_error *err;
} reading;

#define BAD(...) fm_fail(r->err, FLASHMEM_BAD_MODEL, __VA_ARGS__)

static flashmem_status read_object(const reading *r, json_t *from, const char *field, json_t **out) {
    *out = json_object_get(from, field);
    return json_is_object(*out) ? FLASHMEM_OK : BAD("%s: no object '%s'", r->path, field);
}

static flashmem_status read_number(const reading *r, json_t *from, const char *field, double least, double most,
                                   double *out) {
    json_t *value = json_object_get(from, field);
    *out = json_number_value(value);
    if (json_is_number(value) && *out >= least && *out <= most) return FLASHMEM_OK;
    if (!json_is_number(value)) return BAD("%s: '%s' is missing or no number", r->path, field);
    return BAD("%s: '%s' is %g, from %g to %g is expected", r->path, field, *out, least, most);
}

static flashmem_status read_count(const reading *r, json_t *from, const char *field, double most, uint64_t *out) {
    double value;
    FM_TRY(read_number(r, from, field, 0, most, &value));
    *out = (uint64_t)value;
    return value == floor(value) ? FLASHMEM_OK : BAD("%s: '%s' is %g, no whole number", r->path, field, value);
}

static flashmem_status read_text(const reading *r, json_t *from, const char *field, char *out, size_t bytes) {
    const char *text = json_string_value(json_object_get(from, field));
    if (!text || strlen(text) >= bytes)
        return BAD("%s: '%s' is missing, or no text below %zu bytes", r->path, field, bytes);
    memcpy(out, text, strlen(text) + 1);
    return FLASHMEM_OK;
}

static flashmem_status read_choice(const reading *r, json_t *from, const char *field, const char *const *names,
                                   uint32_t count, uint32_t *out) {
    char text[32];
    FM_TRY(read_text(r, from, field, text, sizeof text));
    for (*out = 0; *out < count; ++*out)
        if (strcmp(text, names[*out]) == 0) return FLASHMEM_OK;
    return BAD("%s: '%s' is '%s', '%s' or '%s' is expected", r->path, field, text, names[0], names[1]);
}

static flashmem_status read_key(const reading *r, json_t *from, const char *field, uint64_t *out) {
    char text[32], *end;
    FM_TRY(read_text(r, from, field, text, sizeof text));
    *out = strtoull(text, &end, 16);
    return strlen(text) == 16 && !*end ? FLASHMEM_OK : BAD("%s: '%s' is no hash of 16 digits", r->path, field);
}

static flashmem_status read_identity(const reading *r, json_t *root, fm_device_profile *p) {
    json_t  *device;
    uint64_t is_cpu, units, threads, image_limit;
    FM_TRY(read_object(r, root, "device", &device));
    FM_TRY(read_text(r, device, "name", p->device.name, sizeof p->device.name));
    FM_TRY(read_text(r, device, "platform", p->platform, sizeof p->platform));
    FM_TRY(read_text(r, device, "version", p->version, sizeof p->version));
    FM_TRY(read_text(r, device, "driver", p->driver, sizeof p->driver));
    FM_TRY(read_count(r, device, "is_cpu", 1, &is_cpu));
    FM_TRY(read_count(r, device, "compute_units", 1e6, &units));
    FM_TRY(read_count(r, device, "threads", 4096, &threads));
    FM_TRY(read_count(r, device, "image_limit", 1e9, &image_limit));
    FM_TRY(read_count(r, device, "largest_allocation", 9e15, &p->device.largest_allocation));
    p->is_cpu = (uint32_t)is_cpu;
    p->compute_units = (uint32_t)units;
    p->threads = (uint32_t)threads;
    p->device.image_limit = (uint32_t)image_limit;
    return FLASHMEM_OK;
}

static flashmem_status read_rates(const reading *r, json_t *root, fm_device_profile *p) {
    json_t          *rates, *hops, *growth;
    flashmem_device *d = &p->device;
    FM_TRY(read_number(r, root, "launch_seconds", 0, 1, &d->launch_seconds));
    FM_TRY(read_number(r, root, "gap_seconds", 0, 1, &p->gap_seconds));
    FM_TRY(read_number(r, root, "startup_seconds", 0, 1e4, &d->startup_seconds));
    FM_TRY(read_number(r, root, "bytes_per_second", 1, 1e18, &d->bytes_per_second));
    FM_TRY(read_object(r, root, "flops_per_second", &rates));
    for (uint32_t c = 0; c < FLASHMEM_COST_CLASSES; c++)
        FM_TRY(read_number(r, rates, flashmem_cost_class_name(c), 1, 1e18, &d->flops_per_second[c]));
    FM_TRY(read_object(r, root, "hops", &hops));
    FM_TRY(read_number(r, hops, "disk_bytes_per_second", 1, 1e18, &d->disk_bytes_per_second));
    FM_TRY(read_number(r, hops, "copy_bytes_per_second", 1, 1e18, &d->load_bytes_per_second));
    FM_TRY(read_number(r, hops, "image_bytes_per_second", 0, 1e18, &d->convert_bytes_per_second));
    FM_TRY(read_number(r, hops, "check_bytes_per_second", 0, 1e18, &d->check_bytes_per_second));
    FM_TRY(read_object(r, root, "growth", &growth));
    for (int c = 0; c < FLASHMEM_CAPACITY_CLASSES; c++)
        FM_TRY(read_number(r, growth, capacity_names[c], 0, 1e6, &d->growth[c]));
    return FLASHMEM_OK;
}

static flashmem_status read_features(const reading *r, json_t *root) {
    json_t *names = json_object_get(root, "features");
    if (json_array_size(names) != FM_FEATURES)
        return BAD("%s: %zu 'features', this version has %d: run 'flashmem profile' again", r->path,
                   json_array_size(names), FM_FEATURES);
    for (int i = 0; i < FM_FEATURES; i++) {
        const char *name = json_string_value(json_array_get(names, (size_t)i));
        if (!name || strcmp(name, fm_feature_name((fm_feature)i)) != 0)
            return BAD("%s: feature %d is '%.40s', this version has '%s': run 'flashmem profile' again", r->path, i,
                       name ? name : "none", fm_feature_name((fm_feature)i));
    }
    return FLASHMEM_OK;
}

static flashmem_status read_error(const reading *r, json_t *from, fm_profile_error *out) {
    json_t  *error;
    uint64_t samples;
    FM_TRY(read_object(r, from, "error", &error));
    FM_TRY(read_number(r, error, "mean", 0, 1e18, &out->mean));
    FM_TRY(read_number(r, error, "most", 0, 1e18, &out->most));
    FM_TRY(read_count(r, error, "samples", 1e9, &samples));
    out->samples = (uint32_t)samples;
    return FLASHMEM_OK;
}

/* The file beside path; name has no folder. */
static flashmem_status beside(const reading *r, const char *name, char *out) {
    const char *slash = strrchr(r->path, '/');
    int         folder = slash ? (int)(slash - r->path) + 1 : 0;
    if (!*name || *name == '.' || strchr(name, '/'))
        return BAD("%s: trees '%.100s': the name of a file beside it is expected", r->path, name);
    if (snprintf(out, PATH_BYTES, "%.*s%s", folder, r->path, name) >= PATH_BYTES)
        return BAD("%s: its path is too long", r->path);
    return FLASHMEM_OK;
}

static flashmem_status read_trees(const reading *r, json_t *from, fm_trees *out) {
    char     name[256], path[PATH_BYTES];
    void    *data;
    size_t   bytes;
    uint64_t expected;
    FM_TRY(read_text(r, from, "trees", name, sizeof name));
    FM_TRY(read_key(r, from, "hash", &expected));
    FM_TRY(beside(r, name, path));
    FM_TRY(fm_file_load(path, LARGEST_TREES, &data, &bytes, r->err));
    if (fm_hash(data, bytes) != expected) {
        free(data);
        return BAD("%s: is not the file that %s was saved with: run 'flashmem profile' again", path, r->path);
    }
    return fm_trees_parse(out, data, bytes, FM_FEATURES, path, r->err);
}

/* "loads": one entry per way of loading; there is one so far. */
static flashmem_status read_learnt(const reading *r, json_t *root, fm_device_profile *p) {
    json_t *time = json_object_get(root, "time"), *loads = json_object_get(root, "loads");
    json_t *load = json_array_get(loads, 0);
    if (!json_is_array(loads) || json_array_size(loads) != 1 || !json_is_object(load))
        return BAD("%s: 'loads' is no array of one object", r->path);
    FM_TRY(read_text(r, load, "load_path", p->load_path, sizeof p->load_path));
    if (!json_object_get(root, "time") && !json_object_get(load, "trees")) return FLASHMEM_OK;
    FM_TRY(read_object(r, root, "time", &time));
    FM_TRY(read_error(r, time, &p->time_error));
    FM_TRY(read_error(r, load, &p->growth_error));
    FM_TRY(read_number(r, load, "least_share", 1e-9, 1e6, &p->least_share));
    FM_TRY(read_number(r, load, "most_share", p->least_share, 1e6, &p->most_share));
    FM_TRY(read_trees(r, time, &p->time));
    FM_TRY(read_trees(r, load, &p->growth));
    p->learnt = true;
    return FLASHMEM_OK;
}

static flashmem_status read_profile(const reading *r, json_t *root, fm_device_profile *p) {
    uint64_t version;
    uint32_t choice;
    char     format[64];
    FM_TRY(read_text(r, root, "format", format, sizeof format));
    FM_TRY(read_count(r, root, "version", 1e9, &version));
    if (strcmp(format, FORMAT) != 0 || version != VERSION)
        return BAD("%s: '%s' version %" PRIu64 ", '%s' version %d is expected: run 'flashmem profile' again", r->path,
                   format, version, FORMAT, VERSION);
    flashmem_device_init(&p->device);
    FM_TRY(read_key(r, root, "kernels", &p->kernels));
    FM_TRY(read_identity(r, root, p));
    FM_TRY(read_choice(r, root, "layout", layout_names, 2, &choice));
    p->device.layout = (flashmem_layout)choice;
    p->device.memory_path = choice == FLASHMEM_LAYOUT_TEXTURE ? FLASHMEM_PATH_TEXTURE_COPY : FLASHMEM_PATH_IN_PLACE;
    FM_TRY(read_choice(r, root, "weights", weights_names, 2, &choice));
    p->weights = (flashmem_weights)choice;
    p->full = json_is_true(json_object_get(root, "full"));
    FM_TRY(read_rates(r, root, p));
    FM_TRY(read_features(r, root));
    FM_TRY(read_learnt(r, root, p));
    return flashmem_device_check(&p->device, r->err);
}

flashmem_status fm_device_profile_load(const char *path, fm_device_profile *out, flashmem_error *err) {
    reading      r = { path, err };
    json_error_t where;
    void        *data;
    size_t       bytes;
    *out = (fm_device_profile){ .learnt = false };
    FM_TRY(fm_file_load(path, LARGEST_PROFILE, &data, &bytes, err));
    json_t         *root = json_loadb(data, bytes, JSON_REJECT_DUPLICATES, &where);
    flashmem_status status;
    free(data);
    if (!root) status = fm_fail(err, FLASHMEM_BAD_MODEL, "%s: not JSON: line %d: %s", path, where.line, where.text);
    else if (!json_is_object(root)) status = fm_fail(err, FLASHMEM_BAD_MODEL, "%s: no object", path);
    else status = read_profile(&r, root, out);
    json_decref(root);
    if (status != FLASHMEM_OK) fm_device_profile_close(out);
    return status;
}

/* ---- writing ---- */

/* Driver texts need not be UTF-8, JSON must be: what is not becomes '?'. */
static json_t *text_of(const char *from) {
    json_t *whole = json_string(from);
    char    copy[256];
    if (whole) return whole;
    snprintf(copy, sizeof copy, "%s", from);
    for (char *at = copy; *at; at++)
        if ((unsigned char)*at > 127) *at = '?';
    return json_string(copy);
}

static json_t *key_of(uint64_t key) {
    char text[20];
    snprintf(text, sizeof text, "%016" PRIx64, key);
    return json_string(text);
}

static json_t *error_object(const fm_profile_error *e) {
    return json_pack("{s:f,s:f,s:i}", "mean", e->mean, "most", e->most, "samples", (int)e->samples);
}

/* "FILE.json" with kind "time": "FILE.time.json". */
static bool trees_path(const char *path, const char *kind, char *out) {
    size_t length = strlen(path);
    if (length > 5 && strcmp(path + length - 5, ".json") == 0) length -= 5;
    return snprintf(out, PATH_BYTES, "%.*s.%s.json", (int)length, path, kind) < PATH_BYTES;
}

static const char *file_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static json_t *device_object(const fm_device_profile *p) {
    return json_pack("{s:o,s:o,s:o,s:o,s:i,s:i,s:i,s:i,s:I}", "name", text_of(p->device.name), "platform",
                     text_of(p->platform), "version", text_of(p->version), "driver", text_of(p->driver), "is_cpu",
                     (int)p->is_cpu, "compute_units", (int)p->compute_units, "threads", (int)p->threads, "image_limit",
                     (int)p->device.image_limit, "largest_allocation", (json_int_t)p->device.largest_allocation);
}

static json_t *load_object(const fm_device_profile *p, const char *path) {
    char    trees[PATH_BYTES];
    json_t *load = json_pack("{s:s}", "load_path", p->load_path);
    if (!p->learnt || !trees_path(path, "growth", trees)) return load;
    json_object_set_new(load, "least_share", json_real(p->least_share));
    json_object_set_new(load, "most_share", json_real(p->most_share));
    json_object_set_new(load, "trees", json_string(file_name(trees)));
    json_object_set_new(load, "hash", key_of(fm_hash(p->growth.json, p->growth.json_bytes)));
    json_object_set_new(load, "error", error_object(&p->growth_error));
    return load;
}

static json_t *profile_object(const fm_device_profile *p, const char *path) {
    const flashmem_device *d = &p->device;
    char                   trees[PATH_BYTES];
    json_t                *rates = json_object(), *growth = json_object(), *names = json_array();
    for (uint32_t c = 0; c < FLASHMEM_COST_CLASSES; c++)
        json_object_set_new(rates, flashmem_cost_class_name(c), json_real(d->flops_per_second[c]));
    for (int c = 0; c < FLASHMEM_CAPACITY_CLASSES; c++)
        json_object_set_new(growth, capacity_names[c], json_real(d->growth[c]));
    for (int i = 0; i < FM_FEATURES; i++) json_array_append_new(names, json_string(fm_feature_name((fm_feature)i)));
    json_t *root = json_pack("{s:s,s:i,s:o,s:o,s:s,s:s,s:b,s:f,s:f,s:f,s:o,s:f,s:{s:f,s:f,s:f,s:f},s:o,s:o,s:[o]}",
                             "format", FORMAT, "version", VERSION, "kernels", key_of(p->kernels), "device",
                             device_object(p), "layout", layout_names[d->layout], "weights", weights_names[p->weights],
                             "full", p->full, "launch_seconds", d->launch_seconds, "gap_seconds", p->gap_seconds,
                             "startup_seconds", d->startup_seconds, "flops_per_second", rates, "bytes_per_second",
                             d->bytes_per_second, "hops", "disk_bytes_per_second", d->disk_bytes_per_second,
                             "copy_bytes_per_second", d->load_bytes_per_second, "image_bytes_per_second",
                             d->convert_bytes_per_second, "check_bytes_per_second", d->check_bytes_per_second, "growth",
                             growth, "features", names, "loads", load_object(p, path));
    if (root && p->learnt && trees_path(path, "time", trees))
        json_object_set_new(root, "time",
                            json_pack("{s:s,s:o,s:o}", "trees", file_name(trees), "hash",
                                      key_of(fm_hash(p->time.json, p->time.json_bytes)), "error",
                                      error_object(&p->time_error)));
    return root;
}

static flashmem_status save_trees(const fm_trees *trees, const char *path, const char *kind, flashmem_error *err) {
    char beside_path[PATH_BYTES];
    if (!trees_path(path, kind, beside_path)) return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "%s: path too long", path);
    return fm_file_save(beside_path, trees->json, trees->json_bytes, err);
}

/* The profile last: it holds the hashes of the trees, so that a pair of different ages is found out. */
flashmem_status fm_device_profile_save(const fm_device_profile *p, const json_t *samples, const char *path,
                                       flashmem_error *err) {
    if (p->learnt) {
        FM_TRY(save_trees(&p->time, path, "time", err));
        FM_TRY(save_trees(&p->growth, path, "growth", err));
    }
    json_t *root = profile_object(p, path);
    if (root && samples) json_object_update(root, (json_t *)samples);
    char           *text = root ? json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(12)) : NULL;
    flashmem_status status = text ? fm_file_save(path, text, strlen(text), err)
                                  : fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "%s: no memory to compose it", path);
    free(text);
    json_decref(root);
    return status;
}
