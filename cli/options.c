/* Parsing of options; see options.h for the list. */
#include "options.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "console.h"

typedef enum option_kind { KIND_TEXT, KIND_COUNT, KIND_FLAG, KIND_LIST } option_kind;
typedef struct option_row {
    option_kind kind;
    size_t      offset;
    const char *flag, *environment;
    int         commands;
    const char *metavar, *help;
} option_row;

static const option_row rows[] = {
#define OPTION_ROW(kind, field, flag, environment, commands, metavar, help) \
    { KIND_##kind, offsetof(cli_options, field), flag, environment, commands, metavar, help },
    OPTION_LIST(OPTION_ROW)
#undef OPTION_ROW
};
#define ROW_COUNT (sizeof rows / sizeof *rows)
_Static_assert(ROW_COUNT <= 64, "cli_options.given has a bit per row");

static const option_row *find_row(const char *flag, size_t length) {
    if (length == 2 && !strncmp(flag, "-o", 2)) return find_row("--output", 8);
    for (size_t i = 0; i < ROW_COUNT; i++)
        if (strlen(rows[i].flag) == length && !strncmp(rows[i].flag, flag, length)) return &rows[i];
    return NULL;
}

static bool store(cli_options *options, const option_row *row, const char *value) {
    void *field = (char *)options + row->offset;
    switch (row->kind) {
    case KIND_TEXT: *(option_TEXT *)field = value; return true;
    case KIND_FLAG: *(option_FLAG *)field = true; return true;
    case KIND_LIST: {
        option_LIST *list = field;
        if (list->count == (int)(sizeof list->items / sizeof *list->items))
            return cli_usage("%s is given more than %d times", row->flag, list->count);
        list->items[list->count++] = value;
        return true;
    }
    case KIND_COUNT: {
        char *end;
        errno = 0;
        long n = strtol(value, &end, 10);
        if (errno || end == value || *end || n < 0 || n > 1000000)
            return cli_usage("%s takes a whole number from 0 to 1000000, not '%s'", row->flag, value);
        *(option_COUNT *)field = n;
        return true;
    }
    }
    return false;
}

static void set_defaults(cli_options *options) {
    memset(options, 0, sizeof *options);
    for (size_t i = 0; i < ROW_COUNT; i++)
        if (rows[i].kind == KIND_COUNT) *(option_COUNT *)((char *)options + rows[i].offset) = -1;
}

static bool is_unset(const cli_options *options, const option_row *row) {
    const void *field = (const char *)options + row->offset;
    return row->kind == KIND_TEXT    ? !*(const option_TEXT *)field
           : row->kind == KIND_COUNT ? *(const option_COUNT *)field < 0
                                     : false;
}

int cli_options_parse(cli_options *options, const char *command, int bit, bool wants_path, int argc, char **argv) {
    set_defaults(options);
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        if (word[0] != '-' || !word[1]) {
            if (!wants_path || options->path)
                return cli_usage("'%s' takes %s file, and '%s' is one too many", command, wants_path ? "one" : "no",
                                 word),
                       2;
            options->path = word;
            continue;
        }
        const char       *equals = strncmp(word, "--", 2) ? NULL : strchr(word, '=');
        const option_row *row = find_row(word, equals ? (size_t)(equals - word) : strlen(word));
        if (!row) return cli_usage("unknown option '%s'; see 'flashmem %s --help'", word, command), 2;
        if (!(row->commands & bit)) return cli_usage("'%s' has no option %s", command, row->flag), 2;
        const char *value = equals ? equals + 1 : NULL;
        if (row->kind == KIND_FLAG && value) return cli_usage("%s takes no value", row->flag), 2;
        if (row->kind != KIND_FLAG && !value) {
            if (++i >= argc) return cli_usage("%s needs %s", row->flag, row->metavar), 2;
            value = argv[i];
        }
        if (!store(options, row, value)) return 2;
        options->given |= (uint64_t)1 << (row - rows);
    }
    if (wants_path && !options->path)
        return cli_usage("'%s' needs a file; see 'flashmem %s --help'", command, command), 2;
    for (size_t i = 0; i < ROW_COUNT; i++) {
        const char *value = rows[i].environment ? getenv(rows[i].environment) : NULL;
        if (value && *value && (rows[i].commands & bit) && is_unset(options, &rows[i]) &&
            !store(options, &rows[i], value))
            return 2;
    }
    return cli_console_setup(options->log, options->quiet) ? 0 : 2;
}

bool cli_option_given(const cli_options *options, const void *field) {
    for (size_t i = 0; i < ROW_COUNT; i++)
        if ((const char *)options + rows[i].offset == (const char *)field) return options->given >> i & 1;
    return false;
}

void cli_options_help(int bit) {
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (!(rows[i].commands & bit)) continue;
        char left[64];
        snprintf(left, sizeof left, "%s%s%s", rows[i].flag, rows[i].metavar ? " " : "",
                 rows[i].metavar ? rows[i].metavar : "");
        printf("  %-34s %s", left, rows[i].help);
        if (rows[i].environment) printf(" [%s]", rows[i].environment);
        putchar('\n');
    }
}

static bool unit_factor(const char *unit, double *factor) {
    static const struct {
        const char *name;
        double      factor;
    } units[] = {
        { "", 1 },
        { "B", 1 },
        { "K", 1e3 },
        { "KB", 1e3 },
        { "M", 1e6 },
        { "MB", 1e6 },
        { "G", 1e9 },
        { "GB", 1e9 },
        { "T", 1e12 },
        { "TB", 1e12 },
        { "KiB", 1024.0 },
        { "MiB", 1048576.0 },
        { "GiB", 1073741824.0 },
        { "TiB", 1099511627776.0 },
    };
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (!strcmp(units[i].name, unit)) return *factor = units[i].factor, true;
    return false;
}

bool cli_parse_bytes(const char *text, double *bytes) {
    char  *end;
    double number = strtod(text, &end), factor;
    if (end == text || !(number >= 0) || number > 1e18 || !unit_factor(end, &factor))
        return cli_usage("'%s' is not a size: a number with K, M, G (powers of 1000) or KiB, MiB, GiB (of 1024)", text);
    *bytes = number * factor;
    return true;
}

bool cli_parse_number(const char *flag, const char *text, double least, double most, double *out) {
    char *end;
    *out = strtod(text, &end);
    if (end != text && !*end && *out >= least && *out <= most) return true;
    return cli_usage("%s is a number from %g to %g, not '%s'", flag, least, most, text);
}

bool cli_parse_budget(const char *text, flashmem_budget_kind *kind, double *value) {
    static const struct {
        const char          *name;
        flashmem_budget_kind kind;
    } words[] = {
        { "off", FLASHMEM_BUDGET_OFF },
        { "auto", FLASHMEM_BUDGET_AUTO },
        { "min", FLASHMEM_BUDGET_MINIMUM },
        { "minimum", FLASHMEM_BUDGET_MINIMUM },
    };
    *value = 0;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcmp(words[i].name, text)) return *kind = words[i].kind, true;
    size_t length = strlen(text);
    if (length > 1 && text[length - 1] == '%') {
        char *end;
        *value = strtod(text, &end);
        if (end != text + length - 1 || !(*value >= 0) || *value > 1e6)
            return cli_usage("--budget '%s' is not a percentage", text);
        return *kind = FLASHMEM_BUDGET_PERCENT, true;
    }
    *kind = text[0] == '-' ? FLASHMEM_BUDGET_LEAVE : FLASHMEM_BUDGET_BYTES;
    return cli_parse_bytes(text + (text[0] == '-'), value);
}

bool cli_parse_shape(const char *text, flashmem_shape *shape, char *name, size_t name_bytes) {
    const char *equals = strrchr(text, '=');
    size_t      length = equals ? (size_t)(equals - text) : 0;
    if (!length || length >= name_bytes || !equals[1])
        return cli_usage("--shape '%s': write NAME=1x128 for an input or NAME=128 for a symbolic dimension", text);
    memcpy(name, text, length);
    name[length] = 0;
    *shape = (flashmem_shape){ .name = name };
    uint32_t count = 0;
    for (const char *at = equals + 1;;) {
        char *end;
        errno = 0;
        long long dim = strtoll(at, &end, 10);
        if (errno || end == at || dim < 0 || dim > INT_MAX || (*end && *end != 'x') || count == FLASHMEM_MAX_RANK)
            return cli_usage("--shape '%s': '%s' is not up to %d dimensions joined by x", text, equals + 1,
                             FLASHMEM_MAX_RANK);
        shape->dims[count++] = dim;
        if (!*end) break;
        at = end + 1;
    }
    shape->rank = count > 1 ? count : 0; /* one number: a symbolic dimension, or an input of one axis */
    return true;
}

bool cli_compile_options(const cli_options *from, cli_shapes *shapes, flashmem_compile_options *to) {
    flashmem_compile_options_init(to);
    for (int i = 0; i < from->shapes.count; i++)
        if (!cli_parse_shape(from->shapes.items[i], &shapes->shapes[i], shapes->names[i], sizeof shapes->names[i]))
            return false;
    to->shapes = shapes->shapes;
    to->shape_count = (uint32_t)from->shapes.count;
    if (from->weights && !strcmp(from->weights, "fp16")) to->weights = FLASHMEM_WEIGHTS_FP16;
    else if (from->weights && strcmp(from->weights, "fp32"))
        return cli_usage("--weights is fp32 or fp16, not '%s'", from->weights);
    to->keep_all = from->keep_all;
    cli_console_attach(&to->log, &to->progress, &to->user);
    return true;
}

static bool optional_bytes(const char *text, double limit, double *bytes) {
    if (!text) return true;
    if (!cli_parse_bytes(text, bytes)) return false;
    return *bytes <= limit ? true : cli_usage("'%s' is too large: at most %.0f", text, limit);
}

static bool parse_path(const char *text, flashmem_memory_path *path) {
    static const struct {
        const char          *name;
        flashmem_memory_path path;
    } paths[] = {
        { "in-place", FLASHMEM_PATH_IN_PLACE },
        { "texture-copy", FLASHMEM_PATH_TEXTURE_COPY },
        { "texture-embedded", FLASHMEM_PATH_TEXTURE_EMBEDDED },
        { "dma", FLASHMEM_PATH_DMA },
    };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        if (!strcmp(paths[i].name, text)) return *path = paths[i].path, true;
    return cli_usage("--memory-path is in-place, texture-copy, texture-embedded or dma, not '%s'", text);
}

bool cli_objective(const cli_options *from, flashmem_objective *to) {
    bool overlap = from->objective && !strcmp(from->objective, "opg");
    if (from->objective && !overlap && strcmp(from->objective, "timed"))
        return cli_usage("--objective is timed or opg, not '%s'", from->objective);
    *to = overlap ? FLASHMEM_OBJECTIVE_OPG : FLASHMEM_OBJECTIVE_TIMED;
    return true;
}

bool cli_run_options(const cli_options *from, flashmem_run_options *to) {
    flashmem_run_options_init(to);
    if (from->budget && !cli_parse_budget(from->budget, &to->budget_kind, &to->budget_value)) return false;
    if (from->memory_path && !parse_path(from->memory_path, &to->memory_path)) return false;
    double host = 0, slab = 0, read = 0, rate = 0;
    if (!optional_bytes(from->host_budget, 1e18, &host) || !optional_bytes(from->slab, 1e15, &slab) ||
        !optional_bytes(from->read_size, 1 << 30, &read) || !optional_bytes(from->disk_rate, 1e15, &rate))
        return false;
    to->host_budget = (uint64_t)host;
    to->slab_bytes = (uint64_t)slab;
    to->read_bytes = (uint32_t)read;
    to->disk_rate = rate;
    to->device = from->device;
    to->policy = from->policy;
    to->serial = from->serial;
    if (from->threads >= 0) to->threads = (uint32_t)from->threads;
    if (from->read_depth >= 0) to->read_depth = (uint32_t)from->read_depth;
    to->runs = from->runs < 0 ? 1 : (uint32_t)from->runs;
    if (from->program >= 0) to->program = (uint32_t)from->program;
    to->cache_dir = from->no_cache ? "" : from->cache_dir;
    cli_console_attach(&to->log, &to->progress, &to->user);
    return true;
}
