set(FM_BASE_SOURCES
    src/base/arena.c
    src/base/error.c
    src/base/file.c
    src/base/half.c
    src/base/hash.c
    src/base/log.c
    src/base/status.c)
