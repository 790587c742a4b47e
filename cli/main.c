/* flashmem: dispatch to a command. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "commands.h"
#include "console.h"

unsigned long long cli_start_ns;

typedef struct command {
    const char *name;
    int         bit;
    const char *argument; /* NULL: takes no file */
    int (*run)(const cli_options *options);
    const char *help;
} command;

static const command commands[] = {
    { "compile", CMD_COMPILE, "MODEL.onnx", cmd_compile, "turn a model into a pack" },
    { "run", CMD_RUN, "MODEL.onnx|PACK.flm", cmd_run, "run a model or a pack inside a memory budget" },
    { "plan", CMD_PLAN, "MODEL.onnx|PACK.flm", cmd_plan, "print or verify the plan; minimum budget" },
    { "simulate", CMD_SIMULATE, "MODEL.onnx|PACK.flm", cmd_simulate, "predict a plan on a described device" },
    { "inspect", CMD_INSPECT, "PACK.flm", cmd_inspect, "show what a pack holds" },
    { "devices", CMD_DEVICES, NULL, cmd_devices, "list OpenCL devices" },
    { "bench", CMD_BENCH, "MODEL.onnx|PACK.flm", cmd_bench, "measure cold and warm, beside a peer" },
    { "profile", CMD_PROFILE, NULL, cmd_profile, "measure this device: rates, kernel times, load capacities" },
    { "probe", CMD_PROBE, NULL, cmd_probe, "bring the device up and run an empty kernel" },
};
#define COMMAND_COUNT (sizeof commands / sizeof *commands)

unsigned long long cli_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (unsigned long long)t.tv_sec * 1000000000u + (unsigned long long)t.tv_nsec;
}

static void print_help(FILE *to) {
    fputs("flashmem runs neural networks inside a memory budget, streaming their weights from disk.\n\n"
          "usage: flashmem COMMAND [OPTIONS] [FILE]\n\n",
          to);
    for (size_t i = 0; i < COMMAND_COUNT; i++) fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].help);
    fputs("\n'flashmem COMMAND --help' lists a command's options; 'flashmem --version' prints the version.\n", to);
}

static int print_command_help(const command *c) {
    printf("usage: flashmem %s [OPTIONS]%s%s\n%s.\n\n", c->name, c->argument ? " " : "", c->argument ? c->argument : "",
           c->help);
    cli_options_help(c->bit);
    return 0;
}

static int dispatch(int argc, char **argv) {
    if (argc < 2) return print_help(stderr), 2;
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) return print_help(stdout), 0;
    if (!strcmp(argv[1], "--version")) return puts("flashmem " FLASHMEM_VERSION), 0;
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        const command *c = &commands[i];
        if (strcmp(argv[1], c->name)) continue;
        for (int a = 2; a < argc; a++)
            if (!strcmp(argv[a], "--help") || !strcmp(argv[a], "-h")) return print_command_help(c);
        cli_options options;
        int         code = cli_options_parse(&options, c->name, c->bit, c->argument != NULL, argc - 2, argv + 2);
        return code ? code : c->run(&options);
    }
    cli_usage("unknown command '%s'; 'flashmem --help' lists them", argv[1]);
    return 2;
}

int main(int argc, char **argv) {
    cli_start_ns = cli_now_ns();
    int code = dispatch(argc, argv);
    if (!fflush(stdout) && !ferror(stdout)) return code;
    cli_usage("standard output: %s", strerror(errno));
    return code ? code : 1;
}
