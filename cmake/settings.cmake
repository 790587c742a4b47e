# Language, warnings and sanitizers; fm_settings(target) applies them.
if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "" FORCE)
endif()
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_C_FLAGS_DEBUG "-O0 -g")
# Assertions stay: they guard packs and plans that come from outside, and cost nothing measurable.
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g")

set(FM_WARNINGS -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla)
if(FM_WERROR)
    list(APPEND FM_WARNINGS -Werror)
endif()

if(FM_SANITIZE)
    add_compile_options(-fsanitize=${FM_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    add_link_options(-fsanitize=${FM_SANITIZE})
endif()

function(fm_settings target)
    target_compile_definitions(${target} PRIVATE _GNU_SOURCE)
    target_compile_options(${target} PRIVATE ${FM_WARNINGS})
endfunction()

# Includes FILE (relative to the root) when it exists.
macro(fm_include_if_present file)
    if(EXISTS ${CMAKE_SOURCE_DIR}/${file})
        include(${CMAKE_SOURCE_DIR}/${file})
    else()
        set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${file})
    endif()
endmacro()

# What is listed and missing: a warning while the tree is being worked on, an error with FM_STRICT.
function(fm_missing text)
    if(FM_STRICT)
        message(FATAL_ERROR "${text}")
    endif()
    message(WARNING "${text}")
endfunction()

# Drops listed files that do not exist, with a warning; the next build looks again.
function(fm_keep_present list_name)
    set(kept)
    foreach(file IN LISTS ${list_name})
        if(EXISTS ${CMAKE_SOURCE_DIR}/${file})
            list(APPEND kept ${file})
        else()
            fm_missing("${list_name}: ${file} is listed and does not exist")
            set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${file})
        endif()
    endforeach()
    set(${list_name} ${kept} PARENT_SCOPE)
endfunction()
