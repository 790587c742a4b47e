/* The commands; each in its own file, listed once in main.c.  Exit codes: 0 ok, 1 the request failed, 2 bad usage. */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include "options.h"

int cmd_compile(const cli_options *options);
int cmd_run(const cli_options *options);
int cmd_plan(const cli_options *options);
int cmd_inspect(const cli_options *options);
int cmd_devices(const cli_options *options);
int cmd_bench(const cli_options *options);
int cmd_simulate(const cli_options *options);
int cmd_probe(const cli_options *options);
int cmd_profile(const cli_options *options);

/* CLOCK_MONOTONIC at the entry of main, nanoseconds: where integrated latency starts. */
extern unsigned long long cli_start_ns;
unsigned long long cli_now_ns(void);

#endif
