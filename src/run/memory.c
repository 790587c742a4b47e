/* Regions through mmap.  Huge pages double the rate of direct reads (their cost is per page) and make the first touch
 * four times cheaper; whoever reads populates block by block, just ahead of the disk, so that start-up does not pay for
 * the whole arena. */
#include "run/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static const uint64_t BLOCK = 2u << 20, PAGE = 4096;

static uint64_t round_up(uint64_t bytes, uint64_t to) { return (bytes + to - 1) / to * to; }

static bool huge_pages_forbidden(void) {
    char  line[128] = "";
    FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re");
    if (!file) return true;
    bool forbidden = !fgets(line, sizeof line, file) || strstr(line, "[never]");
    fclose(file);
    return forbidden;
}

/* Maps bytes at a 2 MiB boundary: maps more, gives the ends back. */
static char *map_aligned(uint64_t bytes) {
    uint64_t wide = bytes + BLOCK;
    char    *start = mmap(NULL, wide, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) return NULL;
    char *base = (char *)(uintptr_t)round_up((uintptr_t)start, BLOCK);
    if (base > start) munmap(start, (size_t)(base - start));
    uint64_t behind = wide - (uint64_t)(base - start) - bytes;
    if (behind) munmap(base + bytes, behind);
    return base;
}

flashmem_status fm_memory_reserve(fm_memory *memory, const uint64_t *bytes, uint32_t count, const fm_log *log,
                                  flashmem_error *err) {
    *memory = (fm_memory){ 0 };
    if (count > FM_MEMORY_REGIONS)
        return fm_fail(err, FLASHMEM_INTERNAL, "%u regions planned, at most %d", count, FM_MEMORY_REGIONS);
    memory->may_be_huge = !huge_pages_forbidden();
    for (uint32_t i = 0; i < count; i++) {
        fm_region *region = &memory->regions[i];
        region->bytes = round_up(bytes[i] ? bytes[i] : 1, PAGE);
        if (region->bytes > SIZE_MAX - 2 * BLOCK)
            return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "region %u: %" PRIu64 " bytes", i, bytes[i]);
        region->blocks = calloc(region->bytes / BLOCK + 1, sizeof *region->blocks);
        region->base = region->blocks ? map_aligned(region->bytes) : NULL;
        memory->count = i + 1;
        if (!region->base) {
            fm_memory_release(memory);
            return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "region %u: the system gives no %" PRIu64 " bytes", i,
                           bytes[i]);
        }
        if (madvise(region->base, region->bytes, MADV_HUGEPAGE) != 0) memory->may_be_huge = false;
    }
    if (!memory->may_be_huge)
        fm_warn(log, "load", "no huge pages here: memory in 4 KiB pages, direct reads are slower");
    return FLASHMEM_OK;
}

void fm_memory_release(fm_memory *memory) {
    for (uint32_t i = 0; i < memory->count; i++) {
        if (memory->regions[i].base) munmap(memory->regions[i].base, memory->regions[i].bytes);
        free((void *)memory->regions[i].blocks);
    }
    memory->count = 0;
}

/* A write that changes nothing, whoever else writes there.  Unlike MADV_POPULATE_WRITE it needs no lock of the address
 * space (since Linux 6.4), which libraries being loaded meanwhile would wait for. */
static void touch(char *at) { __atomic_fetch_or(at, 0, __ATOMIC_RELAXED); }

static void populate_block(fm_memory *memory, fm_region *region, uint64_t block) {
    uint64_t from = block * BLOCK, to = from + BLOCK < region->bytes ? from + BLOCK : region->bytes;
    if (memory->may_be_huge) touch(region->base + from); /* all of it, if a huge page is to be had */
    if (!atomic_load(&memory->no_populate) && madvise(region->base + from, to - from, MADV_POPULATE_WRITE) == 0) return;
    if (errno == EINVAL) atomic_store(&memory->no_populate, true); /* before Linux 5.14 */
    for (uint64_t at = from; at < to; at += PAGE) touch(region->base + at);
}

/* A read into a block must not begin while another thread still touches it: devices that write to memory behind the
 * caches would lose. */
static void own_or_await(fm_memory *memory, fm_region *region, uint64_t block) {
    static const struct timespec little = { .tv_nsec = 50000 };
    uint8_t                      untouched = FM_BLOCK_UNTOUCHED;
    if (atomic_load(&region->blocks[block]) == FM_BLOCK_POPULATED) return; /* every read but a block's first */
    if (atomic_compare_exchange_strong(&region->blocks[block], &untouched, FM_BLOCK_TAKEN)) {
        populate_block(memory, region, block);
        atomic_store(&region->blocks[block], FM_BLOCK_POPULATED);
        return;
    }
    while (atomic_load(&region->blocks[block]) != FM_BLOCK_POPULATED) nanosleep(&little, NULL);
}

void fm_memory_populate(fm_memory *memory, void *at, uint64_t bytes) {
    for (uint32_t r = 0; r < memory->count; r++) {
        fm_region *region = &memory->regions[r];
        uint64_t   offset = (uint64_t)((char *)at - region->base);
        if ((char *)at < region->base || offset >= region->bytes) continue;
        for (uint64_t block = offset / BLOCK; block <= (offset + bytes - 1) / BLOCK; block++)
            own_or_await(memory, region, block);
        return;
    }
}

static bool overlaps_region(const fm_memory *memory, uintptr_t from, uintptr_t to) {
    for (uint32_t i = 0; i < memory->count; i++) {
        uintptr_t base = (uintptr_t)memory->regions[i].base;
        if (from < base + memory->regions[i].bytes && to > base) return true;
    }
    return false;
}

bool fm_memory_in_huge_pages(const fm_memory *memory) {
    FILE *file = fopen("/proc/self/smaps", "re");
    if (!file) return false;
    char     line[512];
    bool     ours = false;
    uint64_t resident = 0, huge = 0;
    while (fgets(line, sizeof line, file)) {
        uintptr_t from, to;
        uint64_t  kib;
        char      permissions[8];
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %7s", &from, &to, permissions) == 3)
            ours = overlaps_region(memory, from, to);
        else if (ours && sscanf(line, "Rss: %" SCNu64, &kib) == 1) resident += kib;
        else if (ours && sscanf(line, "AnonHugePages: %" SCNu64, &kib) == 1) huge += kib;
    }
    fclose(file);
    return huge > 0 && huge * 2 >= resident;
}

static uint64_t meminfo_available(void) {
    FILE *file = fopen("/proc/meminfo", "re");
    if (!file) return 0;
    char     line[256];
    uint64_t kib = 0;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1) break;
    fclose(file);
    return kib * 1024;
}

/* A number in folder/name; UINT64_MAX when there is none ("max", no such file). */
static uint64_t group_number(const char *folder, const char *name) {
    char     path[4352];
    uint64_t value = UINT64_MAX;
    if (snprintf(path, sizeof path, "/sys/fs/cgroup%s/%s", folder, name) >= (int)sizeof path) return UINT64_MAX;
    FILE *file = fopen(path, "re");
    if (!file) return UINT64_MAX;
    if (fscanf(file, "%" SCNu64, &value) != 1) value = UINT64_MAX;
    fclose(file);
    return value;
}

/* What the control groups above this process leave, version 2 layout. */
static uint64_t group_available(void) {
    char  line[4096], *folder = NULL;
    FILE *file = fopen("/proc/self/cgroup", "re");
    if (!file) return UINT64_MAX;
    while (!folder && fgets(line, sizeof line, file))
        if (strncmp(line, "0::/", 4) == 0) folder = line + 3;
    fclose(file);
    if (!folder) return UINT64_MAX;
    folder[strcspn(folder, "\n")] = '\0';
    uint64_t available = UINT64_MAX;
    while (*folder) {
        uint64_t most = group_number(folder, "memory.max"), used = group_number(folder, "memory.current");
        if (most != UINT64_MAX && used != UINT64_MAX) {
            uint64_t left = most > used ? most - used : 0;
            if (left < available) available = left;
        }
        *strrchr(folder, '/') = '\0'; /* the group above */
    }
    return available;
}

uint64_t fm_memory_available(void) {
    uint64_t system = meminfo_available(), group = group_available();
    return group < system ? group : system;
}
