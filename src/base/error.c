/* Writes the first failure into the caller's flashmem_error. */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool holds_failure(const flashmem_error *err) { return err->status != FLASHMEM_OK; }

flashmem_status fm_fail(flashmem_error *err, flashmem_status status, const char *format, ...) {
    if (err && !holds_failure(err)) {
        va_list args;
        va_start(args, format);
        vsnprintf(err->message, sizeof err->message, format, args);
        va_end(args);
        err->status = status;
    }
    return status;
}

static flashmem_status status_of_errno(int saved_errno) {
    switch (saved_errno) {
    case ENOSPC:
    case EDQUOT: return FLASHMEM_DISK_FULL;
    case ENOMEM: return FLASHMEM_OUT_OF_MEMORY;
    default: return FLASHMEM_IO;
    }
}

/* strerror shares a buffer between threads, and which strerror_r is declared depends on feature macros. */
static void append_errno_text(char *message, size_t room, int saved_errno) {
    char text[128];
#if defined(__GLIBC__) && defined(_GNU_SOURCE)
    const char *said = strerror_r(saved_errno, text, sizeof text);
#else
    if (strerror_r(saved_errno, text, sizeof text) != 0) snprintf(text, sizeof text, "errno %d", saved_errno);
    const char *said = text;
#endif
    size_t used = strlen(message);
    snprintf(message + used, room - used, ": %s", said);
}

flashmem_status fm_fail_errno(flashmem_error *err, int saved_errno, const char *format, ...) {
    flashmem_status status = status_of_errno(saved_errno);
    if (err && !holds_failure(err)) {
        va_list args;
        va_start(args, format);
        vsnprintf(err->message, sizeof err->message, format, args);
        va_end(args);
        append_errno_text(err->message, sizeof err->message, saved_errno);
        err->status = status;
    }
    return status;
}

void fm_error_clear(flashmem_error *err) {
    if (!err) return;
    err->status = FLASHMEM_OK;
    err->message[0] = '\0';
}
