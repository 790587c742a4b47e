/* Inputs and outputs of `run` and `bench`. */
#include "inputs.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "console.h"
#include "pack_cache.h"

static bool parse_seed(const char *text, uint64_t *seed) {
    char *end;
    errno = 0;
    *seed = strtoull(text, &end, 10);
    return (!errno && text[0] >= '0' && text[0] <= '9' && !*end) ||
           cli_usage("--random-inputs takes a whole number, not '%s'", text);
}

int cli_inputs_read(cli_arrays *arrays, const cli_options *options) {
    flashmem_error error = { 0 };
    uint64_t       seed;
    if (options->random_inputs && !parse_seed(options->random_inputs, &seed)) return 2;
    for (int i = 0; i < options->inputs.count; i++)
        if (!cli_arrays_read(arrays, options->inputs.items[i], &error)) return cli_fail(&error);
    for (int i = 0; i < arrays->count; i++)
        for (int j = 0; j < i; j++)
            if (!strcmp(arrays->items[i].name, arrays->items[j].name))
                return cli_usage("input '%s' is given twice", arrays->items[i].name), 2;
    return 0;
}

typedef struct shape_search {
    cli_shape_texts  *texts;
    const cli_arrays *arrays;
} shape_search;

static int add_symbolic(void *user, const flashmem_model_input *input) {
    shape_search    *search = user;
    const cli_array *array = cli_arrays_find(search->arrays, input->info.name);
    bool             symbolic = false;
    for (uint32_t axis = 0; axis < input->info.rank; axis++) symbolic |= input->info.dims[axis] < 0;
    option_LIST *list = &search->texts->list;
    if (!array || !symbolic || array->rank != input->info.rank || list->count == 64) return 0;
    char  dims[256];
    char *text = search->texts->storage[list->count];
    snprintf(text, sizeof search->texts->storage[0], "%s=%s", array->name,
             cli_shape_print(array->rank, array->dims, dims, sizeof dims));
    list->items[list->count++] = text;
    return 0;
}

int cli_inputs_shapes(cli_shape_texts *texts, const cli_arrays *arrays, const cli_options *options) {
    texts->list = options->shapes;
    if (!arrays->count || cli_is_pack(options->path)) return 0;
    flashmem_error error = { 0 };
    shape_search   search = { texts, arrays };
    return flashmem_model_inputs(options->path, add_symbolic, &search, &error) ? cli_fail(&error) : 0;
}

static uint64_t splitmix64(uint64_t *state) {
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static double uniform(uint64_t *state) { return (double)(splitmix64(state) >> 11) * 0x1p-53; }

/* Rounds to nearest even; only finite values in [-1, 1) come here. */
static uint16_t half_from(float x) {
    union {
        float    f;
        uint32_t u;
    } v = { x }, magic = { .u = (127 + 23 - 10 - 14) << 23 };
    uint32_t sign = v.u >> 16 & 0x8000;
    v.u &= 0x7FFFFFFF;
    if (v.u < 0x38800000) { /* subnormal half: let the adder round */
        v.f += magic.f;
        return (uint16_t)(sign | (v.u - magic.u));
    }
    return (uint16_t)(sign | ((v.u - 0x38000000 + 0xFFF + (v.u >> 13 & 1)) >> 13));
}

/* Floats uniform in [-1, 1), integers uniform below the smallest axis they index (below 2 where they index nothing),
 * masks and booleans 1. */
static void fill_random(cli_array *array, const flashmem_tensor_info *info, uint64_t seed) {
    uint64_t state = seed * 0x9E3779B97F4A7C15u;
    for (const char *c = array->name; *c; c++) state = (state ^ (unsigned char)*c) * 0x100000001B3u;
    uint64_t each = 1, limit = info->limit ? info->limit : 2;
    for (uint32_t i = 0; i < array->rank; i++) each *= (uint64_t)array->dims[i];
    uint64_t count = each;
    each = count ? array->bytes / count : 0;
    for (uint64_t i = 0; i < count; i++) {
        void    *at = (char *)array->data + i * each;
        double   u = uniform(&state);
        uint64_t n = info->is_mask || array->dtype == FLASHMEM_BOOL ? 1 : (uint64_t)(u * (double)limit);
        float    f = (float)(u * 2 - 1);
        switch (array->dtype) {
        case FLASHMEM_F32: memcpy(at, &f, 4); break;
        case FLASHMEM_F64: memcpy(at, &(double){ u * 2 - 1 }, 8); break;
        case FLASHMEM_F16: memcpy(at, &(uint16_t){ half_from(f) }, 2); break;
        case FLASHMEM_BF16: {
            uint32_t bits;
            memcpy(&bits, &f, 4);
            memcpy(at, &(uint16_t){ (uint16_t)(bits >> 16) }, 2);
            break;
        }
        default: memcpy(at, &n, each); break; /* little-endian integers of 1 to 8 bytes */
        }
    }
}

static void print_inputs(const flashmem_model *model) {
    for (uint32_t i = 0; i < flashmem_model_input_count(model); i++) {
        flashmem_tensor_info info;
        char                 dims[256];
        flashmem_model_input_info(model, i, &info);
        fprintf(stderr, "  --input %s=FILE.npy    %s %s\n", info.name, cli_dtype_name(info.dtype),
                cli_shape_print(info.rank, info.dims, dims, sizeof dims));
    }
}

static int check(const cli_array *array, const flashmem_tensor_info *info) {
    char given[256], wanted[256];
    if (array->dtype != info->dtype && !(info->dtype == FLASHMEM_BF16 && array->dtype == FLASHMEM_U16))
        return cli_usage("input '%s' is %s, the model wants %s", info->name, cli_dtype_name(array->dtype),
                         cli_dtype_name(info->dtype)),
               1;
    if (array->rank != info->rank || memcmp(array->dims, info->dims, array->rank * sizeof *array->dims))
        return cli_usage("input '%s' has shape %s, the model wants %s", info->name,
                         cli_shape_print(array->rank, array->dims, given, sizeof given),
                         cli_shape_print(info->rank, info->dims, wanted, sizeof wanted)),
               1;
    return 0;
}

int cli_inputs_bind(cli_arrays *arrays, flashmem_model *model, const cli_options *options) {
    uint32_t count = flashmem_model_input_count(model);
    uint64_t seed = 0;
    if (options->random_inputs && !parse_seed(options->random_inputs, &seed)) return 2;
    for (int a = 0; a < arrays->count; a++) {
        bool known = false;
        for (uint32_t i = 0; i < count && !known; i++) {
            flashmem_tensor_info info;
            flashmem_model_input_info(model, i, &info);
            known = !strcmp(info.name, arrays->items[a].name);
        }
        if (known) continue;
        cli_usage("the model has no input '%s'; it takes:", arrays->items[a].name);
        return print_inputs(model), 1;
    }
    for (uint32_t i = 0; i < count; i++) {
        flashmem_tensor_info info;
        flashmem_error       error = { 0 };
        flashmem_model_input_info(model, i, &info);
        cli_array *array = cli_arrays_find(arrays, info.name);
        if (!array && !options->random_inputs) {
            cli_usage(arrays->count ? "input '%s' is missing; the model takes:"
                                    : "no inputs (wanted at least '%s'): give --random-inputs SEED, or:",
                      info.name);
            return print_inputs(model), 1;
        }
        if (!array) {
            array = cli_arrays_add(arrays, info.name, &info);
            if (!array) return cli_usage("no memory for input '%s'", info.name), 1;
            fill_random(array, &info, seed);
        }
        int code = check(array, &info);
        if (code) return code;
        if (flashmem_model_bind_input(model, i, array->data, array->bytes, &error)) return cli_fail(&error);
    }
    return 0;
}

/* A file name in folder that none of the names before it took. */
static void safe_name(char *path, size_t bytes, const char *folder, const char *name, char (*taken)[256],
                      uint32_t index) {
    char   safe[224];
    size_t n = 0;
    for (; name[n] && n < sizeof safe - 1; n++) {
        char c = name[n];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
                     c == '_' || c == '-';
        safe[n] = plain ? c : '_';
    }
    safe[n] = 0;
    snprintf(taken[index], 256, "%s", safe);
    for (uint32_t number = 2, i = 0; i < index; i++) {
        if (strcmp(taken[i], taken[index])) continue;
        snprintf(taken[index], 256, "%s_%u", safe, number++);
        i = UINT32_MAX; /* from the first again */
    }
    snprintf(path, bytes, "%s/%s.npy", folder, taken[index]);
}

static bool make_folder(const char *path) {
    if (!mkdir(path, 0777) || errno == EEXIST) return true;
    char parent[PATH_MAX];
    snprintf(parent, sizeof parent, "%s", path);
    char *slash = strrchr(parent, '/');
    if (errno != ENOENT || !slash || slash == parent) return cli_usage("%s: %s", path, strerror(errno));
    *slash = 0;
    if (!make_folder(parent)) return false;
    return !mkdir(path, 0777) || errno == EEXIST ? true : cli_usage("%s: %s", path, strerror(errno));
}

int cli_inputs_write(const cli_arrays *arrays, const char *folder) {
    char inside[PATH_MAX], path[PATH_MAX + 300];
    snprintf(inside, sizeof inside, "%s/inputs", folder);
    if (!make_folder(inside)) return 1;
    char(*taken)[256] = calloc((size_t)arrays->count + 1, sizeof *taken);
    int code = taken ? 0 : 1;
    for (int i = 0; i < arrays->count && !code; i++) {
        const cli_array *a = &arrays->items[i];
        flashmem_error   error = { 0 };
        safe_name(path, sizeof path, inside, a->name, taken, (uint32_t)i);
        if (!cli_array_write(path, a->dtype, a->rank, a->dims, a->data, a->bytes, &error)) code = cli_fail(&error);
    }
    free(taken);
    return code;
}

int cli_outputs_write(const flashmem_model *model, const char *folder) {
    char path[PATH_MAX + 300];
    if (!make_folder(folder)) return 1;
    uint32_t count = flashmem_model_output_count(model);
    char(*taken)[256] = calloc((size_t)count + 1, sizeof *taken);
    int code = taken ? 0 : 1;
    for (uint32_t i = 0; i < count && !code; i++) {
        flashmem_tensor_info info;
        flashmem_error       error = { 0 };
        flashmem_model_output_info(model, i, &info);
        safe_name(path, sizeof path, folder, info.name, taken, i);
        if (!cli_array_write(path, info.dtype, info.rank, info.dims, flashmem_model_output(model, i), info.bytes,
                             &error))
            code = cli_fail(&error);
    }
    free(taken);
    return code;
}
