/* The timed plan against every baseline policy, in the simulator:
 *     policies FOLDER [--quick] [--models NAME,...] [--csv FILE]
 *
 * For every model of the folder (skeletons will do), every described phone (--quick: two) and five budgets, fp16: latencies
 * at the same budget, and ours in the memory that each policy's plan takes.  Exit code 1 if ours is ever the slower. */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/device_file.h"
#include "flashmem/planner.h"

enum { MOST_MODELS = 64, POLICIES = 6 };

static const char *const devices[] = { "oneplus12", "oneplus11", "pixel8", "mi6" };
static const struct {
    const char          *name;
    flashmem_budget_kind kind;
    double               value;
} budgets[] = {
    { "min", FLASHMEM_BUDGET_MINIMUM, 0 },    { "10%", FLASHMEM_BUDGET_PERCENT, 10 },
    { "25%", FLASHMEM_BUDGET_PERCENT, 25 },   { "50%", FLASHMEM_BUDGET_PERCENT, 50 },
    { "100%", FLASHMEM_BUDGET_PERCENT, 100 },
};

typedef struct totals {
    int    compared, refused, worse;
    double worst; /* largest ratio of ours to a policy's latency */
    double log_gain[POLICIES];
    int    gains[POLICIES];
} totals;

typedef struct result {
    double   latency, average;
    uint64_t peak, minimum;
} result;

static double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Plans and simulates; false: the policy does not fit. */
static int measure(flashmem_planner *planner, const flashmem_device *device, const char *policy,
                   flashmem_budget_kind kind, double value, result *out) {
    flashmem_plan_options      options;
    const flashmem_plan       *plan;
    const flashmem_simulation *s;
    flashmem_error             error = { 0 };
    flashmem_plan_options_init(&options);
    options.device = device;
    options.policy = policy;
    options.budget_kind = kind;
    options.budget_value = value;
    options.runs = 1;
    options.time_limit = 5; /* of overlap plans: sd-unet's alone is not proven by then */
    flashmem_status status = flashmem_planner_plan(planner, &options, &plan, &error);
    if (status == FLASHMEM_BUDGET && policy) return 0;
    if (status || flashmem_simulate(planner, plan, NULL, &s, &error)) {
        fprintf(stderr, "policies: %s\n", error.message);
        exit(2);
    }
    *out = (result){ s->latency, s->average_bytes, plan->peak_bytes, plan->minimum_bytes };
    flashmem_simulation_free(s);
    flashmem_plan_free(plan);
    return 1;
}

/* A rounding of a nanosecond is no loss. */
static int is_worse(double ours, double other) { return ours > other * (1 + 1e-9) + 1e-9; }

static void compare(flashmem_planner *planner, const flashmem_device *device, const char *model, size_t b, totals *t,
                    FILE *csv) {
    result ours;
    measure(planner, device, NULL, budgets[b].kind, budgets[b].value, &ours);
    for (uint32_t i = 0; i < POLICIES; i++) {
        const char *policy = flashmem_policy_name(i);
        result      other, tight;
        if (!measure(planner, device, policy, budgets[b].kind, budgets[b].value, &other)) {
            t->refused++;
            continue;
        }
        uint64_t memory = other.peak > ours.minimum ? other.peak : ours.minimum;
        measure(planner, device, NULL, FLASHMEM_BUDGET_BYTES, (double)memory, &tight);
        t->compared++;
        double ratio = (tight.latency > ours.latency ? tight.latency : ours.latency) / other.latency;
        if (ratio > t->worst) t->worst = ratio;
        t->log_gain[i] += __builtin_log(other.latency / ours.latency);
        t->gains[i]++;
        if (csv)
            fprintf(csv, "%s,%s,%s,%s,%.6f,%.6f,%.6f,%" PRIu64 ",%" PRIu64 "\n", model, device->name, budgets[b].name,
                    policy, ours.latency * 1e3, tight.latency * 1e3, other.latency * 1e3, ours.peak, other.peak);
        if (!is_worse(ours.latency, other.latency) && !is_worse(tight.latency, other.latency)) continue;
        t->worse++;
        printf("worse: %s on %s at %s: %.3f ms (%.3f in %.2f MB), %s %.3f ms in %.2f MB\n", model, device->name,
               budgets[b].name, ours.latency * 1e3, tight.latency * 1e3, (double)memory * 1e-6, policy,
               other.latency * 1e3, (double)other.peak * 1e-6);
        fflush(stdout);
    }
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static int list_models(const char *folder, char **names) {
    DIR *dir = opendir(folder);
    int  count = 0;
    for (struct dirent *entry; dir && count < MOST_MODELS && (entry = readdir(dir));) {
        size_t length = strlen(entry->d_name);
        if (length > 5 && !strcmp(entry->d_name + length - 5, ".onnx")) names[count++] = strdup(entry->d_name);
    }
    if (dir) closedir(dir);
    qsort(names, (size_t)count, sizeof *names, by_name);
    return count;
}

static flashmem_planner *open_model(const char *folder, const char *name) {
    static const flashmem_shape sizes[] = { { .name = "batch", .rank = 0, .dims = { 1 } },
                                            { .name = "sequence", .rank = 0, .dims = { 128 } } };
    char                        path[4096];
    flashmem_compile_options    options;
    flashmem_planner           *planner;
    flashmem_error              error = { 0 };
    flashmem_compile_options_init(&options);
    options.layout = FLASHMEM_LAYOUT_TEXTURE;
    options.weights = FLASHMEM_WEIGHTS_FP16;
    options.shapes = sizes;
    options.shape_count = strstr(name, "dynamic") ? 2 : 0;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (flashmem_planner_open(path, &options, &planner, &error) == FLASHMEM_OK) return planner;
    fprintf(stderr, "policies: %s\n", error.message);
    exit(2);
}

static void print_totals(const totals *t) {
    printf("%d comparisons, %d plans of policies do not fit; ours is worse in %d, at most %.6f times as long\n",
           t->compared, t->refused, t->worse, t->worst);
    for (uint32_t i = 0; i < POLICIES; i++)
        if (t->gains[i])
            printf("  %-16s takes %.2f times as long (geometric mean of %d)\n", flashmem_policy_name(i),
                   __builtin_exp(t->log_gain[i] / t->gains[i]), t->gains[i]);
}

typedef struct arguments {
    const char *folder, *models, *csv;
    int         quick;
} arguments;

static int parse(int argc, char **argv, arguments *a) {
    *a = (arguments){ 0 };
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--quick")) a->quick = 1;
        else if (!strcmp(argv[i], "--models") && i + 1 < argc) a->models = argv[++i];
        else if (!strcmp(argv[i], "--csv") && i + 1 < argc) a->csv = argv[++i];
        else if (!a->folder) a->folder = argv[i];
        else return 0;
    }
    return a->folder != NULL;
}

/* names: "a,b"; NULL: every model is wanted. */
static int is_wanted(const char *names, const char *file) {
    size_t length = strlen(file) - strlen(".onnx");
    for (const char *at = names; at && *at; at += *at == ',') {
        if (!strncmp(at, file, length) && (at[length] == ',' || !at[length])) return 1;
        at += strcspn(at, ",");
    }
    return !names;
}

int main(int argc, char **argv) {
    char     *names[MOST_MODELS];
    arguments a;
    if (!parse(argc, argv, &a))
        return fprintf(stderr, "usage: policies FOLDER [--quick] [--models NAME,...] [--csv FILE]\n"), 2;
    FILE  *csv = a.csv ? fopen(a.csv, "w") : NULL;
    int    count = list_models(a.folder, names);
    totals all = { 0 };
    if (csv)
        fprintf(csv, "model,device,budget,policy,ours_ms,ours_in_its_memory_ms,policy_ms,ours_bytes,policy_bytes\n");
    for (int m = 0; m < count; free(names[m++])) {
        double begin = seconds_now();
        if (!is_wanted(a.models, names[m])) continue;
        flashmem_planner *planner = open_model(a.folder, names[m]);
        for (size_t d = 0; d < sizeof devices / sizeof *devices; d += a.quick ? 3 : 1) {
            flashmem_device device;
            if (cli_device_load(devices[d], &device)) return 2;
            for (size_t b = 0; b < sizeof budgets / sizeof *budgets; b++)
                compare(planner, &device, names[m], b, &all, csv);
        }
        flashmem_planner_close(planner);
        printf("%s: %.1f s\n", names[m], seconds_now() - begin);
        fflush(stdout);
    }
    if (csv) fclose(csv);
    print_totals(&all);
    return all.worse || !all.compared;
}
