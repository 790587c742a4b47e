/* Log, progress and errors on standard error. */
#include "console.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const     level_names[] = { "error", "warn", "info", "debug", "trace" };
static flashmem_log_level    level = FLASHMEM_LOG_WARN;
static bool                  quiet, bar_shown;
static volatile sig_atomic_t interrupted;
static void (*on_interrupt)(void);

bool cli_console_setup(const char *name, bool be_quiet) {
    quiet = be_quiet;
    if (!name) return true;
    for (int i = 0; i < 5; i++)
        if (!strcmp(name, level_names[i])) return level = (flashmem_log_level)i, true;
    return cli_usage("--log is error, warn, info, debug or trace, not '%s'", name);
}

bool        cli_console_quiet(void) { return quiet; }
const char *cli_console_level(void) { return level_names[level]; }

void cli_console_clear_progress(void) {
    if (bar_shown) fputs("\r\033[K", stderr);
    bar_shown = false;
}

static void write_log(void *user, flashmem_log_level at, const char *category, const char *message) {
    (void)user;
    if (at > level || (quiet && at > FLASHMEM_LOG_ERROR)) return;
    cli_console_clear_progress();
    fprintf(stderr, "%s %s: %s\n", level_names[at], category, message);
}

static double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A bar at most 10 times a second, and only for work that lasts; plain lines at quarters where there is no terminal. */
static int show_progress(void *user, const char *stage, uint64_t done, uint64_t total) {
    (void)user;
    static char   current[64];
    static double began, shown;
    static int    quarter;
    if (interrupted) return 1;
    if (quiet || !total) return 0;
    double now = seconds_now();
    if (strncmp(current, stage, sizeof current - 1)) {
        snprintf(current, sizeof current, "%s", stage);
        began = shown = now;
        quarter = 0;
    }
    if (now - began < 0.5) return 0;
    double fraction = done < total ? (double)done / (double)total : 1;
    if (!isatty(2)) {
        if ((int)(fraction * 4) > quarter) fprintf(stderr, "%s: %d %%\n", stage, (quarter = (int)(fraction * 4)) * 25);
        return 0;
    }
    if (now - shown < 0.1 && done < total) return 0;
    shown = now;
    static const char full[] = "########################################";
    int               width = (int)(fraction * 40);
    fprintf(stderr, "\r%-10s [%.*s%*s] %3.0f %%", stage, width, full, 40 - width, "", fraction * 100);
    bar_shown = true;
    if (done >= total) cli_console_clear_progress();
    return 0;
}

void cli_console_attach(flashmem_log_fn *log, flashmem_progress_fn *progress, void **user) {
    *log = write_log;
    *progress = show_progress;
    *user = NULL;
}

bool cli_usage(const char *format, ...) {
    va_list args;
    va_start(args, format);
    cli_console_clear_progress();
    fputs("flashmem: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return false;
}

int cli_fail(const flashmem_error *error) {
    cli_console_clear_progress();
    fprintf(stderr, "flashmem: %s\n", error->message[0] ? error->message : flashmem_status_text(error->status));
    return 1;
}

bool cli_interrupted(void) { return interrupted; }

static void handle_interrupt(int signal_number) {
    (void)signal_number;
    interrupted = 1;
    if (on_interrupt) on_interrupt();
}

void cli_catch_interrupt(void (*also)(void)) {
    on_interrupt = also;
    struct sigaction action = { .sa_handler = handle_interrupt, .sa_flags = SA_RESTART };
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}
