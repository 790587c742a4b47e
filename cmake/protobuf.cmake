# fm_add_protos(out_sources proto...): C from .proto files, included as "<name>.pb-c.h" from ${FM_GENERATED_DIR}.
set(FM_GENERATED_DIR ${CMAKE_BINARY_DIR}/generated)
file(MAKE_DIRECTORY ${FM_GENERATED_DIR})

function(fm_add_protos out_sources)
    set(generated)
    foreach(proto IN LISTS ARGN)
        get_filename_component(name ${proto} NAME_WE)
        get_filename_component(folder ${CMAKE_SOURCE_DIR}/${proto} DIRECTORY)
        set(source ${FM_GENERATED_DIR}/${name}.pb-c.c)
        set(header ${FM_GENERATED_DIR}/${name}.pb-c.h)
        add_custom_command(
            OUTPUT ${source} ${header}
            COMMAND ${FM_PROTOC_C} --c_out=${FM_GENERATED_DIR} --proto_path=${folder} ${name}.proto
            DEPENDS ${CMAKE_SOURCE_DIR}/${proto}
            COMMENT "Generating ${name}.pb-c.c" VERBATIM)
        set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "-w")
        list(APPEND generated ${source} ${header})
    endforeach()
    set(${out_sources} ${generated} PARENT_SCOPE)
endfunction()
