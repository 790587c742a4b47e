# make install: headers, both halves static and shared, the program, pkg-config files and CMake packages
# (find_package(flashmem-run), find_package(flashmem-compile); targets flashmem::flashmem_run and so on).
include(CMakePackageConfigHelpers)

install(DIRECTORY include/flashmem DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
if(TARGET flashmem)
    install(TARGETS flashmem RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
    install(DIRECTORY devices DESTINATION ${CMAKE_INSTALL_DATADIR}/flashmem FILES_MATCHING PATTERN "*.json")
endif()

function(fm_install_half half description private_libs)
    set(target flashmem_${half})
    if(NOT TARGET ${target})
        return()
    endif()
    set(package flashmem-${half})
    set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/${package})
    install(TARGETS ${target} ${target}_shared EXPORT ${package}-targets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
    install(EXPORT ${package}-targets NAMESPACE flashmem:: DESTINATION ${package_dir})
    set(FM_PACKAGE ${package})
    set(FM_LIBRARY ${target})
    set(FM_DESCRIPTION ${description})
    set(FM_PRIVATE_LIBS ${private_libs})
    set(FM_FIND_PROTOBUF_C "")
    if(half STREQUAL "compile")
        set(FM_FIND_PROTOBUF_C
            "find_dependency(PkgConfig)\npkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c)\npkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)")
    endif()
    file(RELATIVE_PATH FM_PREFIX_FROM_PC /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
    configure_file(cmake/flashmem.pc.in ${CMAKE_BINARY_DIR}/${package}.pc @ONLY)
    configure_package_config_file(cmake/package.cmake.in ${CMAKE_BINARY_DIR}/${package}-config.cmake
        INSTALL_DESTINATION ${package_dir})
    write_basic_package_version_file(${CMAKE_BINARY_DIR}/${package}-config-version.cmake COMPATIBILITY SameMinorVersion)
    install(FILES ${CMAKE_BINARY_DIR}/${package}-config.cmake ${CMAKE_BINARY_DIR}/${package}-config-version.cmake
        DESTINATION ${package_dir})
    install(FILES ${CMAKE_BINARY_DIR}/${package}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endfunction()

set(run_private_libs "-pthread -ldl -lm")
if(FM_HAVE_LIBURING)
    string(APPEND run_private_libs " -luring")
endif()
fm_install_half(run "Runs FlashMem packs inside a memory budget" "${run_private_libs}")
fm_install_half(compile "Compiles ONNX models to FlashMem packs" "-pthread -ldl -lm -lprotobuf-c -ljansson")
