/* Failing with a message.  Anyone may include this. */
#ifndef FM_BASE_ERROR_H
#define FM_BASE_ERROR_H

#include "flashmem/status.h"

/* Writes the first failure's status and message (printf format) to err unless err is NULL or already holds one;
 * returns status. */
__attribute__((format(printf, 3, 4)))
flashmem_status fm_fail(flashmem_error *err, flashmem_status status, const char *format, ...);

/* The same for a failed system call: appends ": " strerror(saved_errno); ENOSPC and EDQUOT become DISK_FULL, ENOMEM
 * OUT_OF_MEMORY, anything else IO. */
__attribute__((format(printf, 3, 4)))
flashmem_status fm_fail_errno(flashmem_error *err, int saved_errno, const char *format, ...);

/* Clears err (NULL allowed). */
void fm_error_clear(flashmem_error *err);

/* Forwards a failure to the caller: FM_TRY(call(..., err)); */
#define FM_TRY(call)                                        \
    do {                                                    \
        flashmem_status fm_try_status_ = (call);            \
        if (fm_try_status_ != FLASHMEM_OK) return fm_try_status_; \
    } while (0)

/* Forwards through the function's one cleanup label; needs a local `flashmem_status status`. */
#define FM_TRY_GOTO(call)                             \
    do {                                              \
        status = (call);                              \
        if (status != FLASHMEM_OK) goto cleanup;      \
    } while (0)

#endif
