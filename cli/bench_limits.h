/* The machine's limits, measured between the samples they are compared with.  Who may include: cli. */
#ifndef CLI_BENCH_LIMITS_H
#define CLI_BENCH_LIMITS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct bench_disk {
    int    depth;
    size_t request, memory; /* bytes; memory is gone through in turn, at least depth requests of it */
} bench_disk;

/* Direct reads of up to 1 GB of the file into huge-page memory touched before, bytes per second; 0 where direct reads
 * are refused. */
double bench_disk_rate(const char *path, const bench_disk *disk);
/* The fastest of 1 and 4 MiB requests at depths 2, 4, 8 on this file. */
bench_disk bench_disk_best(const char *path);

/* Writes a model of one matrix product, size x size x size, whose weight is generated: the rate limit of a device. */
bool bench_write_matmul(const char *path, int size);

#endif
