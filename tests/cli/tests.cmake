# What shows a plan, on plans made by hand.  The files of the program that it needs are compiled again for it.
fm_add_test(NAME test_plan_why SOURCES tests/cli/test_plan_why.c tests/cli/made_plan.c cli/plan_why.c LABELS cli)
if(MINIZIP_FOUND)
    fm_add_test(NAME test_curve SOURCES tests/cli/test_curve.c cli/curve.c cli/console.c cli/arrays.c cli/output.c
        LIBS flashmem_run PkgConfig::MINIZIP LABELS cli)
endif()
