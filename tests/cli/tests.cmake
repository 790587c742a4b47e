# What shows a plan, on plans made by hand.  The files of the program that it needs are compiled again for it.
fm_add_test(NAME test_plan_why SOURCES tests/cli/test_plan_why.c tests/cli/made_plan.c cli/plan_why.c LABELS cli)
if(TARGET fm_page)
    fm_add_program(NAME write_made_plan FOLDER tests SOURCES tests/cli/write_made_plan.c tests/cli/made_plan.c
        cli/plan_html.c cli/plan_json.c cli/plan_text.c cli/plan_why.c cli/report.c cli/output.c cli/console.c cli/arrays.c
        LIBS flashmem_run PkgConfig::JANSSON PkgConfig::MINIZIP)
    target_sources(write_made_plan PRIVATE $<TARGET_OBJECTS:fm_page>)
    fm_add_test(NAME test_curve SOURCES tests/cli/test_curve.c cli/curve.c cli/console.c cli/arrays.c cli/output.c
        LIBS flashmem_run PkgConfig::MINIZIP LABELS cli)
endif()
