/* Children, samples and the page cache. */
#include "bench_child.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "commands.h"
#include "console.h"

extern char **environ;

int64_t bench_resident(const char *path) {
    int         fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st)) {
        if (fd >= 0) close(fd);
        return -1;
    }
    int64_t        resident = 0;
    size_t         size = (size_t)st.st_size, pages = (size + 4095) / 4096;
    void          *map = size ? mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    unsigned char *flags = malloc(pages ? pages : 1);
    if (size && (map == MAP_FAILED || !flags || mincore(map, size, flags))) resident = -1;
    for (size_t i = 0; resident >= 0 && i < pages; i++) resident += (flags[i] & 1) * 4096;
    if (map != MAP_FAILED) munmap(map, size);
    free(flags);
    close(fd);
    return resident;
}

int64_t bench_drop(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    fsync(fd);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
    return bench_resident(path);
}

/* The environment with `extra` in front: the first of equal names wins for getenv. */
static char **merged_environment(char *const *extra) {
    size_t own = 0, added = 0;
    while (environ[own]) own++;
    while (extra && extra[added]) added++;
    char **all = calloc(own + added + 1, sizeof *all);
    if (!all) return NULL;
    if (added) memcpy(all, extra, added * sizeof *all);
    memcpy(all + added, environ, own * sizeof *all);
    return all;
}

static bool start_and_wait(bench_child *child, const char *path, char *const *argv, char *const *extra, int output) {
    posix_spawn_file_actions_t actions;
    pid_t                      pid;
    char                     **all = merged_environment(extra);
    if (!all) return cli_usage("no memory to start %s", argv[0]);
    posix_spawn_file_actions_init(&actions);
    if (output >= 0) posix_spawn_file_actions_adddup2(&actions, output, 1);
    child->spawn_ns = (double)cli_now_ns();
    int why = posix_spawn(&pid, path, &actions, NULL, argv, all);
    posix_spawn_file_actions_destroy(&actions);
    free(all);
    if (why) return cli_usage("%s could not be started: %s", argv[0], strerror(why));
    int           status;
    struct rusage usage;
    while (wait4(pid, &status, 0, &usage) < 0 && errno == EINTR) {
    }
    child->seconds = ((double)cli_now_ns() - child->spawn_ns) * 1e-9;
    child->peak_bytes = (uint64_t)usage.ru_maxrss * 1024;
    if (WIFEXITED(status) && !WEXITSTATUS(status)) return true;
    if (WIFEXITED(status))
        return cli_usage("a measured process (%s %s) ended with code %d", argv[0], argv[1] ? argv[1] : "",
                         WEXITSTATUS(status));
    return cli_usage("a measured process (%s %s) ended on signal %d", argv[0], argv[1] ? argv[1] : "",
                     WTERMSIG(status));
}

bool bench_run_self(bench_child *child, const char *const *arguments, char *const *environment,
                    const char *report_path) {
    char *argv[BENCH_MOST_ARGUMENTS + 2] = { (char *)"flashmem" };
    for (int i = 0; arguments[i] && i < BENCH_MOST_ARGUMENTS; i++) argv[i + 1] = (char *)arguments[i];
    *child = (bench_child){ 0 };
    if (!start_and_wait(child, "/proc/self/exe", argv, environment, -1)) return false;
    if (!report_path) return true;
    json_error_t why;
    child->report = json_load_file(report_path, 0, &why);
    unlink(report_path);
    return child->report || cli_usage("the measured process wrote no report: %s", why.text);
}

bool bench_run_peer(bench_child *child, const char *command, char *const *environment) {
    char *argv[] = { (char *)"sh", (char *)"-c", (char *)command, NULL };
    FILE *output = tmpfile();
    *child = (bench_child){ 0 };
    if (!output) return cli_usage("no temporary file for the peer's output: %s", strerror(errno));
    bool         ok = start_and_wait(child, "/bin/sh", argv, environment, fileno(output));
    json_error_t why = { .text = "" };
    if (ok) {
        rewind(output);
        child->report = json_loadf(output, 0, &why);
        ok = json_is_object(child->report) || cli_usage("the peer command printed no JSON object: %s", why.text);
    }
    fclose(output);
    return ok;
}

void bench_add(bench_samples *samples, double value) {
    if (samples->count < (int)(sizeof samples->values / sizeof *samples->values))
        samples->values[samples->count++] = value;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double ranked(const bench_samples *samples, double rank) {
    if (!samples->count) return NAN;
    bench_samples sorted = *samples;
    qsort(sorted.values, (size_t)sorted.count, sizeof *sorted.values, compare);
    double at = rank * (sorted.count - 1);
    int    low = (int)at, high = low + 1 < sorted.count ? low + 1 : low;
    return sorted.values[low] + (at - low) * (sorted.values[high] - sorted.values[low]);
}
double bench_median(const bench_samples *samples) { return ranked(samples, 0.5); }
double bench_min(const bench_samples *samples) { return ranked(samples, 0); }
double bench_max(const bench_samples *samples) { return ranked(samples, 1); }
