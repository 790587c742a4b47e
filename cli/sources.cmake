# Files of the program flashmem.
set(FM_CLI_SOURCES
    cli/arrays.c
    cli/cmd_bench.c
    cli/cmd_compile.c
    cli/cmd_devices.c
    cli/cmd_inspect.c
    cli/cmd_plan.c
    cli/cmd_probe.c
    cli/cmd_run.c
    cli/console.c
    cli/inputs.c
    cli/main.c
    cli/options.c
    cli/pack_cache.c
    cli/report.c
)
