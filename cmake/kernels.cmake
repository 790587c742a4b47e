# fm_embed_kernels(out_source file...): one generated C file holding the given files as bytes (tools/embed.c).
function(fm_embed_kernels out_source)
    set(generated ${CMAKE_BINARY_DIR}/generated/embedded_kernels.c)
    set(inputs)
    foreach(file IN LISTS ARGN)
        list(APPEND inputs ${CMAKE_SOURCE_DIR}/${file})
    endforeach()
    set(tool_sources ${CMAKE_SOURCE_DIR}/tools/embed.c ${CMAKE_SOURCE_DIR}/src/base/hash.c
        ${CMAKE_SOURCE_DIR}/src/base/hash_avx2.c
        ${CMAKE_SOURCE_DIR}/src/base/hash_avx512.c)
    if(CMAKE_CROSSCOMPILING)
        find_program(FM_HOST_CC NAMES cc gcc clang REQUIRED NO_CMAKE_FIND_ROOT_PATH)
        set(tool ${CMAKE_BINARY_DIR}/fm_embed)
        add_custom_command(OUTPUT ${tool}
            COMMAND ${FM_HOST_CC} -std=c11 -O1 -I${CMAKE_SOURCE_DIR}/src ${tool_sources} -o ${tool}
            DEPENDS ${tool_sources} VERBATIM)
    else()
        add_executable(fm_embed ${tool_sources})
        target_include_directories(fm_embed PRIVATE ${CMAKE_SOURCE_DIR}/src ${FM_XXHASH_INCLUDE})
        fm_settings(fm_embed)
        set_target_properties(fm_embed PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tools)
        set(tool fm_embed)
    endif()
    add_custom_command(OUTPUT ${generated} COMMAND ${tool} ${generated} ${inputs} DEPENDS ${tool} ${inputs}
        COMMENT "Embedding kernels" VERBATIM)
    set(${out_source} ${generated} PARENT_SCOPE)
endfunction()
