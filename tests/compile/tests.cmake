fm_add_test(NAME test_ops_infer SOURCES tests/compile/test_ops_infer.c tests/compile/ops_case.c LIBS flashmem_compile
    LABELS compile)
fm_add_test(NAME test_ops_fold SOURCES tests/compile/test_ops_fold.c tests/compile/ops_case.c LIBS flashmem_compile
    LABELS compile)
fm_add_test(NAME test_ops_lower SOURCES tests/compile/test_ops_lower.c tests/compile/ops_case.c LIBS flashmem_compile
    LABELS compile)
fm_add_program(NAME fold_outputs SOURCES tests/compile/fold_outputs.c LIBS flashmem_compile FOLDER tests)

fm_add_test(NAME test_recipe SOURCES tests/compile/test_recipe.c LIBS flashmem_compile LABELS compile)
foreach(name test_graph test_onnx_tensors test_onnx_graph test_onnx_hostile test_pack_weights test_compile)
    fm_add_test(NAME ${name} SOURCES tests/compile/${name}.c tests/compile/onnx_writer.c LIBS flashmem_compile
        LABELS compile)
endforeach()
fm_add_test(NAME test_compile_no_memory SOURCES tests/compile/test_compile_no_memory.c tests/compile/onnx_writer.c
    LIBS flashmem_compile LABELS compile LINK_OPTIONS -Wl,--wrap=malloc -Wl,--wrap=calloc)

foreach(name test_lower_program test_passes_recognise test_passes_attention test_passes_epilogue)
    fm_add_test(NAME ${name} SOURCES tests/compile/${name}.c tests/compile/ops_case.c LIBS flashmem_compile LABELS compile)
endforeach()

fm_add_test(NAME test_ops_macs SOURCES tests/compile/test_ops_macs.c tests/compile/ops_case.c LIBS flashmem_compile
    LABELS compile)
fm_add_test(NAME test_plan_instance SOURCES tests/compile/test_plan_instance.c tests/compile/onnx_writer.c
    LIBS flashmem_compile LABELS compile)

foreach(name test_plan_optimum test_plan_verify test_plan_problem test_plan_labels)
    fm_add_test(NAME ${name} SOURCES tests/compile/plan/${name}.c tests/compile/plan/plan_case.c LIBS flashmem_compile
        LABELS compile plan)
endforeach()
fm_add_test(NAME test_plan_no_memory SOURCES tests/compile/plan/test_plan_no_memory.c tests/compile/plan/plan_case.c
    LIBS flashmem_compile LABELS compile plan LINK_OPTIONS -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc)
fm_add_program(NAME solve_problem SOURCES tests/compile/plan/solve_problem.c LIBS flashmem_compile FOLDER tests)
fm_add_test(NAME test_plan_fusion SOURCES tests/compile/plan/test_plan_fusion.c LIBS flashmem_compile LABELS compile plan)

fm_add_test(NAME test_lower_planned SOURCES tests/compile/test_lower_planned.c tests/compile/onnx_writer.c
    LIBS flashmem_compile LABELS compile)

fm_add_test(NAME test_planner_simulate SOURCES tests/compile/test_planner_simulate.c LIBS flashmem_compile LABELS compile)
fm_add_test(NAME test_plan_program SOURCES tests/compile/plan/test_plan_program.c LIBS flashmem_compile LABELS compile plan)

foreach(name test_profiler test_profile_file test_profile_no_library)
    fm_add_test(NAME ${name} SOURCES tests/compile/profile/${name}.c tests/compile/profile/fake_device.c
        LIBS flashmem_compile $<$<BOOL:${JANSSON_FOUND}>:PkgConfig::JANSSON> LABELS compile profile)
    if(TEST ${name})
        set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 77) # no XGBoost
    endif()
endforeach()
fm_add_test(NAME test_trees SOURCES tests/compile/profile/test_trees.c LIBS flashmem_compile LABELS compile profile)

if(CMOCKA_FOUND)
    add_library(fake_ortools MODULE tests/compile/plan/fake_ortools.c)
    set_target_properties(fake_ortools PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
endif()
fm_add_test(NAME test_cpsat SOURCES tests/compile/plan/test_cpsat.c LIBS flashmem_compile LABELS compile plan cpsat)
fm_add_test(NAME test_cpsat_overlap SOURCES tests/compile/plan/test_cpsat_overlap.c tests/compile/plan/plan_case.c
    LIBS flashmem_compile LABELS compile plan cpsat)
fm_add_test(NAME test_cpsat_no_memory SOURCES tests/compile/plan/test_cpsat_no_memory.c tests/compile/plan/plan_case.c
    LIBS flashmem_compile LABELS compile plan cpsat LINK_OPTIONS -Wl,--wrap=malloc -Wl,--wrap=calloc)
fm_add_test(NAME test_cpsat_order SOURCES tests/compile/plan/test_cpsat_order.c LIBS flashmem_compile
    LABELS compile plan cpsat)
fm_add_test(NAME test_cpsat_place SOURCES tests/compile/plan/test_cpsat_place.c LIBS flashmem_compile
    LABELS compile plan cpsat)
fm_add_test(NAME test_cpsat_library SOURCES tests/compile/plan/test_cpsat_library.c tests/compile/plan/plan_case.c
    LIBS flashmem_compile LABELS compile plan cpsat)
if(TARGET test_cpsat_library)
    add_dependencies(test_cpsat_library fake_ortools flashmem_run_shared)
    target_compile_definitions(test_cpsat_library PRIVATE FAKE_ORTOOLS="$<TARGET_FILE:fake_ortools>")
    target_include_directories(test_cpsat_library SYSTEM PRIVATE ${PROTOBUF_C_INCLUDE_DIRS})
endif()
