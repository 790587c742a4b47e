/* The arena's regions: anonymous memory in huge pages where the system gives them, populated as reads approach.
 * Who may include: run, tests. */
#ifndef FM_RUN_MEMORY_H
#define FM_RUN_MEMORY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"

enum { FM_MEMORY_REGIONS = 64 };
enum { FM_BLOCK_UNTOUCHED, FM_BLOCK_TAKEN /* by a thread that is populating it */, FM_BLOCK_POPULATED };

typedef struct fm_region {
    char            *base;   /* 2 MiB aligned, zeroed by the system */
    uint64_t         bytes;  /* rounded up to 4 KiB; nothing beyond is mapped */
    _Atomic uint8_t *blocks; /* per 2 MiB: FM_BLOCK_* */
} fm_region;

typedef struct fm_memory {
    fm_region    regions[FM_MEMORY_REGIONS];
    uint32_t     count;
    bool         may_be_huge; /* the system did not refuse huge pages */
    _Atomic bool no_populate; /* the system has no MADV_POPULATE_WRITE */
} fm_memory;

/* Maps one region per entry; nothing is touched yet. OUT_OF_MEMORY. */
flashmem_status fm_memory_reserve(fm_memory *memory, const uint64_t *bytes, uint32_t count, const fm_log *log,
                                  flashmem_error *err);
void            fm_memory_release(fm_memory *memory);

/* Gives the blocks under [at, at + bytes) their pages before a read needs them.  Contents stay, whoever writes there
 * meanwhile.  Any thread: a block that another is populating is waited for. */
void fm_memory_populate(fm_memory *memory, void *at, uint64_t bytes);

/* Whether most of the populated bytes lie in huge pages; asks the system (milliseconds). */
bool fm_memory_in_huge_pages(const fm_memory *memory);

/* Bytes the system has free for new allocations, limits of the control group included; 0 when it does not say. */
uint64_t fm_memory_available(void);

#endif
