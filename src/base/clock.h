/* Monotonic time.  Anyone may include. */
#ifndef FM_BASE_CLOCK_H
#define FM_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t fm_clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
static inline double fm_clock_seconds(void) { return (double)fm_clock_ns() * 1e-9; }

#endif
