# Fuzzers.  fuzz_onnx and fuzz_pack replay their corpora, with mutations, as ordinary tests; `ninja fuzzers` builds them
# with libFuzzer and sanitizers when clang is there: build/<preset>/fuzz/libfuzzer_onnx CORPUS_FOLDER.
fm_add_program(NAME fuzz_seeds FOLDER fuzz SOURCES fuzz/make_seeds.c tests/compile/onnx_writer.c LIBS flashmem_compile)
fm_add_program(NAME fuzz_onnx FOLDER fuzz SOURCES fuzz/fuzz_onnx.c fuzz/fuzz_input.c fuzz/replay.c LIBS flashmem_compile)
fm_add_program(NAME fuzz_pack FOLDER fuzz SOURCES fuzz/fuzz_pack.c fuzz/fuzz_input.c fuzz/replay.c LIBS flashmem_run)

set(fresh ${CMAKE_BINARY_DIR}/fuzz/seeds)
if(TARGET fuzz_seeds)
    # Seeds of this very version: the pack format may have moved on since the corpus was stored.
    add_test(NAME fuzz_seeds COMMAND fuzz_seeds ${fresh})
    set_tests_properties(fuzz_seeds PROPERTIES FIXTURES_SETUP fuzz_seeds LABELS fuzz)
endif()
foreach(kind onnx pack)
    if(TARGET fuzz_${kind})
        add_test(NAME fuzz_${kind} COMMAND fuzz_${kind} ${CMAKE_SOURCE_DIR}/fuzz/corpus/${kind} ${fresh}/${kind})
        set_tests_properties(fuzz_${kind} PROPERTIES FIXTURES_REQUIRED fuzz_seeds LABELS fuzz TIMEOUT 300)
    endif()
endforeach()

find_program(FM_CLANG NAMES clang)
if(FM_CLANG AND PROTOBUF_C_FOUND AND FM_PROTOC_C)
    # base comes as built: older clangs lack what half.c asks of the CPU, and nothing untrusted is parsed there.
    set(common ${FM_CONTRACT_SOURCES} ${FM_SCHEDULE_SOURCES} ${FM_KERNELS_SOURCES} fuzz/fuzz_input.c)
    set(fuzz_onnx_sources ${common} ${FM_COMPILE_SOURCES} fuzz/fuzz_onnx.c)
    set(fuzz_pack_sources ${common} ${FM_RUN_SOURCES} fuzz/fuzz_pack.c)
    set(fuzz_onnx_generated ${compile_protos})
    list(FILTER fuzz_onnx_generated INCLUDE REGEX "\\.c$")
    set(fuzz_onnx_libs -lprotobuf-c)
    set(fuzz_pack_generated)
    set(fuzz_pack_libs -ldl)
    foreach(kind onnx pack)
        set(binary ${CMAKE_BINARY_DIR}/fuzz/libfuzzer_${kind})
        add_custom_command(OUTPUT ${binary}
            COMMAND ${FM_CLANG} -g -O1 -std=c11 -w -D_GNU_SOURCE -fsanitize=fuzzer,address,undefined
                -fno-sanitize-recover=undefined -I${CMAKE_SOURCE_DIR} -I${CMAKE_SOURCE_DIR}/include -I${CMAKE_SOURCE_DIR}/src
                -I${FM_GENERATED_DIR} -I${FM_XXHASH_INCLUDE} ${fuzz_${kind}_sources} ${embedded_kernels}
                ${fuzz_${kind}_generated} $<TARGET_OBJECTS:fm_base> -o ${binary} ${fuzz_${kind}_libs} -lpthread -lm
            DEPENDS fm_base ${fuzz_${kind}_sources} ${embedded_kernels} ${fuzz_${kind}_generated}
            WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} COMMENT "Building libfuzzer_${kind}" COMMAND_EXPAND_LISTS VERBATIM)
        list(APPEND fuzzers ${binary})
    endforeach()
    add_custom_target(fuzzers DEPENDS ${fuzzers})
endif()
