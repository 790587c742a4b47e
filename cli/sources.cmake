# Files of the program flashmem.
set(FM_CLI_SOURCES
    cli/arrays.c
    cli/bench_child.c
    cli/bench_limits.c
    cli/cmd_bench.c
    cli/cmd_compile.c
    cli/cmd_devices.c
    cli/cmd_inspect.c
    cli/cmd_plan.c
    cli/cmd_probe.c
    cli/cmd_run.c
    cli/cmd_simulate.c
    cli/compare.c
    cli/console.c
    cli/device_file.c
    cli/inputs.c
    cli/main.c
    cli/options.c
    cli/output.c
    cli/overlap.c
    cli/pack_cache.c
    cli/plan_text.c
    cli/planning.c
    cli/planning_times.c
    cli/report.c
    cli/report_simulation.c
)

# What a plan is shown as: text, JSON, a page.  Scripts in the order in which they need each other.
list(APPEND FM_CLI_SOURCES
    cli/curve.c
    cli/plan_html.c
    cli/plan_json.c
    cli/plan_why.c
)
set(FM_CLI_PAGE
    cli/page/page.html
    cli/page/page.css
    cli/page/plan.js
    cli/page/pen.js
    cli/page/charts.js
    cli/page/view.js
    cli/page/details.js
    cli/page/tables.js
    cli/page/main.js
)

list(APPEND FM_CLI_SOURCES
    cli/cmd_profile.c
    cli/profile_check.c
    cli/profile_make.c
    cli/profile_picture.c
)
