/* Log lines to a host callback.  Thread-safe as the callback is.  Anyone may include. */
#ifndef FM_BASE_LOG_H
#define FM_BASE_LOG_H

#include "flashmem/status.h"

typedef struct fm_log {
    flashmem_log_fn write; /* NULL: silent */
    void           *user;
} fm_log;

__attribute__((format(printf, 4, 5)))
void fm_log_write(const fm_log *log, flashmem_log_level level, const char *category, const char *format, ...);

#define fm_warn(log, category, ...)  fm_log_write((log), FLASHMEM_LOG_WARN, (category), __VA_ARGS__)
#define fm_info(log, category, ...)  fm_log_write((log), FLASHMEM_LOG_INFO, (category), __VA_ARGS__)
#define fm_debug(log, category, ...) fm_log_write((log), FLASHMEM_LOG_DEBUG, (category), __VA_ARGS__)
#define fm_trace(log, category, ...) fm_log_write((log), FLASHMEM_LOG_TRACE, (category), __VA_ARGS__)

#endif
