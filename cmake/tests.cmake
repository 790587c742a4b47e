# Tests, fuzzers, benchmarks and examples.
#
#   fm_add_test(NAME test_x SOURCES tests/area/test_x.c ... [LIBS flashmem_run ...] [LABELS area ...]
#               [ENVIRONMENT NAME=VALUE ...] [TIMEOUT seconds] [LINK_OPTIONS -Wl,--wrap=malloc ...])
#       a cmocka program, registered in CTest; paths relative to the root.  LIBS defaults to flashmem_run; the program
#       may include every header of src/ and gets FM_SOURCE_DIR, FM_BINARY_DIR, FM_MODELS_DIR (complete models) and
#       FM_SKELETONS_DIR (all of the zoo, without weights) as string literals.
#   fm_add_program(NAME x SOURCES ... [LIBS ...] [FOLDER bench] [PUBLIC_ONLY])
#       an unregistered program at build/<preset>/<FOLDER>/x; PUBLIC_ONLY leaves only include/ on its path.
function(fm_add_program)
    cmake_parse_arguments(P "PUBLIC_ONLY" "NAME;FOLDER" "SOURCES;LIBS" ${ARGN})
    if(NOT P_LIBS)
        set(P_LIBS flashmem_run)
    endif()
    foreach(library IN LISTS P_LIBS)
        if(library MATCHES "^(flashmem|fm)_" AND NOT TARGET ${library})
            fm_missing("${P_NAME} left out: no target ${library}")
            return()
        endif()
    endforeach()
    foreach(source IN LISTS P_SOURCES)
        if(NOT EXISTS ${CMAKE_SOURCE_DIR}/${source})
            fm_missing("${P_NAME} left out: ${source} does not exist")
            set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${source})
            return()
        endif()
    endforeach()
    add_executable(${P_NAME} ${P_SOURCES})
    target_link_libraries(${P_NAME} PRIVATE ${P_LIBS} Threads::Threads m)
    fm_settings(${P_NAME})
    if(NOT P_PUBLIC_ONLY)
        target_include_directories(${P_NAME} PRIVATE ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR} ${FM_GENERATED_DIR}
            ${FM_XXHASH_INCLUDE})
        target_compile_definitions(${P_NAME} PRIVATE FM_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
            FM_BINARY_DIR="${CMAKE_BINARY_DIR}" FM_MODELS_DIR="${CMAKE_SOURCE_DIR}/build/models"
            FM_SKELETONS_DIR="${CMAKE_SOURCE_DIR}/build/skeletons")
    endif()
    if(P_FOLDER)
        set_target_properties(${P_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/${P_FOLDER})
    endif()
endfunction()

function(fm_add_test)
    cmake_parse_arguments(T "" "NAME;TIMEOUT" "SOURCES;LIBS;LABELS;ENVIRONMENT;LINK_OPTIONS" ${ARGN})
    if(NOT CMOCKA_FOUND)
        fm_missing("${T_NAME} left out: cmocka not found")
        return()
    endif()
    fm_add_program(NAME ${T_NAME} FOLDER tests SOURCES ${T_SOURCES} LIBS ${T_LIBS})
    if(NOT TARGET ${T_NAME})
        return()
    endif()
    target_link_libraries(${T_NAME} PRIVATE PkgConfig::CMOCKA)
    target_link_options(${T_NAME} PRIVATE ${T_LINK_OPTIONS})
    add_test(NAME ${T_NAME} COMMAND ${T_NAME})
    if(NOT T_TIMEOUT)
        set(T_TIMEOUT 1200)
    endif()
    set_tests_properties(${T_NAME} PROPERTIES LABELS "${T_LABELS}" TIMEOUT ${T_TIMEOUT}
        ENVIRONMENT "${T_ENVIRONMENT}")
endfunction()

foreach(area base layers contract schedule kernels compile run cli null)
    fm_include_if_present(tests/${area}/tests.cmake)
endforeach()
fm_include_if_present(fuzz/fuzz.cmake)
fm_include_if_present(bench/bench.cmake)
fm_include_if_present(examples/examples.cmake)
