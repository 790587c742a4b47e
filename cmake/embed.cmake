# fm_embed(out_source name header prefix file...): one generated C file, generated/NAME.c, holding the given files as bytes
# in a table PREFIX_files that HEADER declares (tools/embed.c).
set(FM_EMBED_SOURCES ${CMAKE_SOURCE_DIR}/tools/embed.c ${CMAKE_SOURCE_DIR}/src/base/hash.c
    ${CMAKE_SOURCE_DIR}/src/base/hash_avx2.c
    ${CMAKE_SOURCE_DIR}/src/base/hash_avx512.c)
if(CMAKE_CROSSCOMPILING)
    find_program(FM_HOST_CC NAMES cc gcc clang REQUIRED NO_CMAKE_FIND_ROOT_PATH)
    set(FM_EMBED ${CMAKE_BINARY_DIR}/fm_embed)
    add_custom_command(OUTPUT ${FM_EMBED}
        COMMAND ${FM_HOST_CC} -std=c11 -O1 -I${CMAKE_SOURCE_DIR}/src ${FM_EMBED_SOURCES} -o ${FM_EMBED}
        DEPENDS ${FM_EMBED_SOURCES} VERBATIM)
else()
    add_executable(fm_embed ${FM_EMBED_SOURCES})
    target_include_directories(fm_embed PRIVATE ${CMAKE_SOURCE_DIR}/src ${FM_XXHASH_INCLUDE})
    fm_settings(fm_embed)
    set_target_properties(fm_embed PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tools)
    set(FM_EMBED fm_embed)
endif()

function(fm_embed out_source name header prefix)
    set(generated ${CMAKE_BINARY_DIR}/generated/${name}.c)
    set(inputs)
    foreach(file IN LISTS ARGN)
        list(APPEND inputs ${CMAKE_SOURCE_DIR}/${file})
    endforeach()
    add_custom_command(OUTPUT ${generated} COMMAND ${FM_EMBED} ${generated} ${header} ${prefix} ${inputs}
        DEPENDS ${FM_EMBED} ${inputs} COMMENT "Embedding ${name}" VERBATIM)
    set(${out_source} ${generated} PARENT_SCOPE)
endfunction()
