/* Names and texts of statuses, from the one list in flashmem/status.h. */
#include "flashmem/status.h"

const char *flashmem_status_name(flashmem_status status) {
    static const char *const names[] = {
#define FM_STATUS_NAME(name, text) #name,
        FLASHMEM_STATUS_LIST(FM_STATUS_NAME)
#undef FM_STATUS_NAME
    };
    return (unsigned)status < FLASHMEM_STATUS_COUNT ? names[status] : "UNKNOWN";
}

const char *flashmem_status_text(flashmem_status status) {
    static const char *const texts[] = {
#define FM_STATUS_TEXT(name, text) text,
        FLASHMEM_STATUS_LIST(FM_STATUS_TEXT)
#undef FM_STATUS_TEXT
    };
    return (unsigned)status < FLASHMEM_STATUS_COUNT ? texts[status] : "not a status of this version";
}
