/* Measured child processes and the page cache: what `bench` is made of.  Who may include: cli. */
#ifndef CLI_BENCH_CHILD_H
#define CLI_BENCH_CHILD_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Writes file back and drops it from the page cache; returns the bytes still resident (mincore), -1 if unreadable. */
int64_t bench_drop(const char *path);
int64_t bench_resident(const char *path);

enum { BENCH_MOST_ARGUMENTS = 192 }; /* of a child, 64 inputs among them */

typedef struct bench_child {
    double   spawn_ns;   /* CLOCK_MONOTONIC just before the process was made */
    double   seconds;    /* until it was reaped */
    uint64_t peak_bytes; /* wait4's ru_maxrss */
    json_t  *report;     /* parsed, owned by the caller; NULL if none */
} bench_child;

/* This program with the given arguments (NULL-terminated, without argv[0]); environment: extra NAME=VALUE or NULL.
 * report_path: JSON file it writes, read and removed, or NULL.  False: message printed. */
bool bench_run_self(bench_child *child, const char *const *arguments, char *const *environment,
                    const char *report_path);
/* A shell command that prints one JSON object on standard output. */
bool bench_run_peer(bench_child *child, const char *command, char *const *environment);

/* Median, least and greatest of samples. */
typedef struct bench_samples {
    double values[1000];
    int    count;
} bench_samples;
void   bench_add(bench_samples *samples, double value);
double bench_median(const bench_samples *samples); /* NaN when empty */
double bench_min(const bench_samples *samples);
double bench_max(const bench_samples *samples);

#endif
