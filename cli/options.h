/* Command-line options: one list makes the struct field, the flag, the environment variable, the check of which
 * commands take it, and the help line.  Who may include: cli. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "flashmem/compile.h"
#include "flashmem/run.h"

/* Commands an option belongs to. */
enum { CMD_COMPILE = 1, CMD_RUN = 2, CMD_PLAN = 4, CMD_INSPECT = 8, CMD_DEVICES = 16, CMD_BENCH = 32, CMD_PROBE = 64,
       CMD_PROFILE = 128, CMD_SIMULATE = 256, CMD_END = 512 };
#define CMD_PLANS (CMD_PLAN | CMD_SIMULATE)
#define CMD_MODEL (CMD_RUN | CMD_PLANS | CMD_BENCH) /* takes a model or a pack */
#define CMD_ALL (CMD_END - 1)

/* kind, field, flag, environment variable or NULL, commands, metavar, help */
#define OPTION_LIST(X)                                                                                               \
    X(TEXT, output, "--output", NULL, CMD_COMPILE | CMD_PROFILE, "FILE", "file to write (-o)")                       \
    X(LIST, shapes, "--shape", NULL, CMD_COMPILE | CMD_MODEL, "NAME=1x128", "fix an input's shape, or a symbolic dimension: NAME=128") \
    X(TEXT, weights, "--weights", "FLASHMEM_WEIGHTS", CMD_COMPILE | CMD_MODEL | CMD_PROFILE, "fp32|fp16", "element type of large weights in the pack (fp32)") \
    X(TEXT, layout, "--layout", NULL, CMD_COMPILE | CMD_MODEL | CMD_PROFILE, "cpu|texture|gpu", "weight layout class (the device's)")  \
    X(TEXT, device, "--device", "FLASHMEM_DEVICE", CMD_COMPILE | CMD_MODEL | CMD_PROBE | CMD_PROFILE, "N|NAME", "OpenCL device, or null (the first)") \
    X(TEXT, budget, "--budget", "FLASHMEM_BUDGET", CMD_MODEL, "off|auto|min|N%|BYTES", "memory cap; -BYTES leaves that much free (auto)") \
    X(TEXT, host_budget, "--host-budget", NULL, CMD_MODEL, "BYTES", "cap on pinned staging where device memory is separate") \
    X(LIST, inputs, "--input", NULL, CMD_RUN | CMD_BENCH, "NAME=FILE.npy|FILE.npz", "input array(s)")                \
    X(TEXT, random_inputs, "--random-inputs", NULL, CMD_RUN | CMD_BENCH, "SEED", "generate the inputs")              \
    X(TEXT, output_dir, "--output-dir", NULL, CMD_RUN, "DIR", "write outputs (and generated inputs) as .npy")        \
    X(COUNT, runs, "--runs", NULL, CMD_RUN | CMD_PLANS, "N", "inferences in this process (1)")                        \
    X(FLAG, serial, "--serial", NULL, CMD_RUN, NULL, "read, then compute, in turns: what overlap is measured against") \
    X(TEXT, memory_path, "--memory-path", NULL, CMD_MODEL, "PATH", "in-place, texture-copy, texture-embedded, dma (the device's)") \
    X(COUNT, threads, "--threads", "FLASHMEM_THREADS", CMD_MODEL | CMD_PROFILE, "N", "compute threads of a CPU device (all)") \
    X(TEXT, json, "--json", NULL, CMD_RUN | CMD_BENCH | CMD_PLANS | CMD_COMPILE | CMD_PROFILE, "FILE", "write figures as JSON") \
    X(TEXT, trace, "--trace", NULL, CMD_RUN, "FILE", "write a timeline for Perfetto")                                \
    X(TEXT, slab, "--slab", NULL, CMD_MODEL, "BYTES", "largest slab of a weight (chosen at open)")                   \
    X(COUNT, read_depth, "--read-depth", NULL, CMD_MODEL, "N", "reads in flight (chosen at open)")                   \
    X(TEXT, read_size, "--read-size", NULL, CMD_MODEL, "BYTES", "bytes per read (chosen at open)")                   \
    X(TEXT, disk_rate, "--disk-rate", NULL, CMD_MODEL, "BYTES", "bytes per second to plan with (profiled)")          \
    X(COUNT, program, "--program", NULL, CMD_MODEL, "N", "program of the pack (0)")                                  \
    X(FLAG, verify, "--verify", NULL, CMD_PLAN | CMD_INSPECT, NULL, "plan: check every constraint again; inspect: read and check every weight") \
    X(TEXT, device_file, "--device-file", NULL, CMD_PLANS, "FILE|NAME", "plan for a described device: oneplus12, oneplus11, pixel8, mi6") \
    X(TEXT, step_times, "--step-times", NULL, CMD_PLANS, "SECONDS|FILE", "kernel times instead of the device's: a sum to spread by work, or a JSON list by kernel step") \
    X(TEXT, policy, "--policy", NULL, CMD_RUN | CMD_PLANS, "NAME", "a baseline policy's plan: preload-all, load-before-use, always-next, same-type, layer-buffers, published") \
    X(FLAG, minimum, "--minimum", NULL, CMD_PLAN, NULL, "print only the minimum budget in bytes")                    \
    X(FLAG, compare, "--compare", NULL, CMD_PLAN, NULL, "print every baseline policy beside our plan")               \
    X(FLAG, run, "--run", NULL, CMD_PLAN, NULL, "compare: also run each, cold, and print what was measured")          \
    X(FLAG, curve, "--curve", NULL, CMD_PLAN, NULL, "print latency and memory over budgets, from the minimum to off") \
    X(TEXT, html, "--html", NULL, CMD_PLAN, "FILE", "write the plan (with --curve, the curve too) as a page for a browser") \
    X(TEXT, objective, "--objective", NULL, CMD_RUN | CMD_PLAN | CMD_BENCH | CMD_COMPILE, "timed|opg", "what the plan is for: least latency in the budget, or the published overlap problem (timed)") \
    X(TEXT, solver, "--solver", NULL, CMD_PLANS | CMD_COMPILE, "NAME", "opg: auto, labels, cpsat, greedy, width1, soften, preload, window (auto)") \
    X(TEXT, time_limit, "--time-limit", NULL, CMD_PLANS | CMD_COMPILE, "SECONDS", "opg: of the solver (150)")                       \
    X(TEXT, lambda, "--lambda", NULL, CMD_PLANS | CMD_COMPILE, "0..1", "opg: weight of preloaded memory against distance (0.9)")     \
    X(TEXT, chunk, "--chunk", NULL, CMD_PLANS | CMD_COMPILE, "BYTES", "opg: chunk (256KiB; instances 1MiB)")                         \
    X(TEXT, m_peak, "--m-peak", NULL, CMD_PLANS | CMD_COMPILE, "BYTES", "opg: cap on converted bytes in flight (500M)")              \
    X(TEXT, instance, "--instance", NULL, CMD_PLAN, "u:A..f:C", "opg: of the graph and a class table, no device: see docs/planning.md") \
    X(TEXT, profile, "--profile", NULL, CMD_PLAN | CMD_COMPILE, "FILE|device|table", "kernel times and load capacities of a profile, of this device's, or of the class table") \
    X(FLAG, fusion, "--fusion", NULL, CMD_PLAN | CMD_COMPILE, NULL, "opg: split fused steps where that lowers the objective")        \
    X(FLAG, order, "--order", NULL, CMD_PLAN, NULL, "let CP-SAT order independent branches under the memory cap")      \
    X(FLAG, placement, "--placement", NULL, CMD_PLAN, NULL, "let CP-SAT place what is alive without fragmentation")    \
    X(FLAG, save, "--save", NULL, CMD_PLAN, NULL, "opg: keep the plan in the pack, for run --objective opg")                     \
    X(TEXT, dump_problem, "--dump-problem", NULL, CMD_PLAN, "FILE", "opg: write problem and solution as JSON")         \
    X(COUNT, cold, "--cold", NULL, CMD_BENCH, "N", "cold samples, each a fresh process (9)")                         \
    X(COUNT, warm, "--warm", NULL, CMD_BENCH, "N", "warm inferences in one process (0)")                             \
    X(TEXT, peer, "--peer", NULL, CMD_BENCH, "CMD", "command that prints JSON, run in turns with ours")              \
    X(FLAG, first_run, "--first-run", NULL, CMD_BENCH, NULL, "also measure with every cache empty")                  \
    X(FLAG, keep_all, "--keep-all", NULL, CMD_COMPILE, NULL, "make every step's tensor an output (comparisons)")     \
    X(TEXT, manifest, "--manifest", NULL, CMD_COMPILE, "FILE", "also list the files that were compiled")             \
    X(TEXT, cache_dir, "--cache-dir", "FLASHMEM_CACHE_DIR", CMD_MODEL | CMD_PROFILE, "DIR", "packs, device programs, profiles (per user)") \
    X(FLAG, no_cache, "--no-cache", NULL, CMD_MODEL | CMD_PROFILE, NULL, "neither read nor write caches")                          \
    X(TEXT, cache_limit, "--cache-limit", "FLASHMEM_CACHE_LIMIT", CMD_MODEL | CMD_PROFILE, "BYTES", "packs kept in the cache (20G)") \
    X(FLAG, full, "--full", NULL, CMD_PROFILE, NULL, "every shape and more loads, instead of a few seconds")        \
    X(TEXT, growth, "--growth", NULL, CMD_PROFILE, "E,R,H", "percent that elementwise, reusable, hierarchical kernels may grow by (300,20,0)") \
    X(LIST, check, "--check", NULL, CMD_PROFILE, "MODEL|PACK", "compare the profile's predictions with a model's kernels") \
    X(TEXT, picture, "--picture", NULL, CMD_PROFILE, "FILE.svg", "draw what --check compares")                       \
    X(TEXT, log, "--log", "FLASHMEM_LOG", CMD_ALL, "LEVEL", "error, warn, info, debug, trace (warn)")                \
    X(FLAG, quiet, "--quiet", NULL, CMD_ALL, NULL, "print errors and results only")

typedef const char *option_TEXT;
typedef long        option_COUNT; /* -1: not given */
typedef bool        option_FLAG;
typedef struct {
    const char *items[64];
    int         count;
} option_LIST;

typedef struct cli_options {
#define OPTION_FIELD(kind, field, flag, environment, commands, metavar, help) option_##kind field;
    OPTION_LIST(OPTION_FIELD)
#undef OPTION_FIELD
    const char *path; /* the one positional argument, or NULL */
    uint64_t    given; /* bit per row of OPTION_LIST: on the command line, not from the environment */
} cli_options;

/* Parses argv after the command.  0 ok, 2 bad usage (message printed).  Environment fills what was not given. */
int  cli_options_parse(cli_options *options, const char *command, int command_bit, bool wants_path, int argc, char **argv);
/* Whether the option that fills this field was on the command line. */
bool cli_option_given(const cli_options *options, const void *field);
void cli_options_help(int command_bit);

/* Values with units.  False: message printed.  Powers of 1000: K M G (KB MB GB); of 1024: KiB MiB GiB. */
bool cli_parse_bytes(const char *text, double *bytes);
/* A finite number from least to most; flag names the option in the message. */
bool cli_parse_number(const char *flag, const char *text, double least, double most, double *out);
bool cli_parse_budget(const char *text, flashmem_budget_kind *kind, double *value);
bool cli_parse_shape(const char *text, flashmem_shape *shape, char *name, size_t name_bytes);

/* Fill the library's options from the command line.  False: bad usage, message printed.  `names` holds shape names. */
typedef struct cli_shapes {
    flashmem_shape shapes[64];
    char           names[64][256];
} cli_shapes;
bool cli_compile_options(const cli_options *from, cli_shapes *shapes, flashmem_compile_options *to);
bool cli_run_options(const cli_options *from, flashmem_run_options *to);
/* --objective: timed, or opg.  False: bad usage, message printed. */
bool cli_objective(const cli_options *from, flashmem_objective *to);

#endif
