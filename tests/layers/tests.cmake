# Includes, exported symbols and public headers.
find_package(Python3 COMPONENTS Interpreter)
if(Python3_FOUND)
    add_test(NAME check_layers COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tools/check_layers.py
        ${CMAKE_SOURCE_DIR})
    set_tests_properties(check_layers PROPERTIES LABELS layers)
endif()
if(NOT FM_SANITIZE)
    add_test(NAME check_exports COMMAND ${CMAKE_SOURCE_DIR}/tools/check_exports.sh ${CMAKE_NM}
        $<TARGET_FILE:flashmem_run_shared>
        $<$<TARGET_EXISTS:flashmem_compile_shared>:$<TARGET_FILE:flashmem_compile_shared>>)
    set_tests_properties(check_exports PROPERTIES LABELS layers)
endif()
find_program(FM_CXX NAMES c++ g++ clang++)
add_test(NAME check_headers COMMAND ${CMAKE_SOURCE_DIR}/tools/check_headers.sh ${CMAKE_SOURCE_DIR}/include
    ${CMAKE_C_COMPILER} ${FM_CXX})
set_tests_properties(check_headers PROPERTIES LABELS layers SKIP_RETURN_CODE 77)
if(NOT FM_SANITIZE AND NOT CMAKE_CROSSCOMPILING)
    add_test(NAME check_install COMMAND ${CMAKE_SOURCE_DIR}/tools/check_install.sh ${CMAKE_BINARY_DIR}
        ${CMAKE_C_COMPILER} run $<$<TARGET_EXISTS:flashmem_compile>:compile>)
    set_tests_properties(check_install PROPERTIES LABELS layers)
endif()
