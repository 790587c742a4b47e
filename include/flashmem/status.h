/* Statuses and errors shared by the compile and run halves.  C99-clean; thread-safe (no state). */
#ifndef FLASHMEM_STATUS_H
#define FLASHMEM_STATUS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define FLASHMEM_API
#else
#define FLASHMEM_API __attribute__((visibility("default")))
#endif

#define FLASHMEM_VERSION "0.1.0"

/* One row per status: enumerator, text. */
#define FLASHMEM_STATUS_LIST(X)                                        \
    X(OK, "success")                                                   \
    X(INVALID_ARGUMENT, "an argument is out of its documented range")  \
    X(OUT_OF_MEMORY, "the system gave no memory")                      \
    X(IO, "a file could not be read or written")                       \
    X(DISK_FULL, "no space is left on the device")                     \
    X(BAD_MODEL, "not a valid model")                                  \
    X(UNSUPPORTED, "the model needs what this version does not have")  \
    X(BAD_PACK, "not a valid pack")                                    \
    X(CORRUPT, "weight bytes do not match their checksum")             \
    X(WRONG_LAYOUT, "the pack is laid out for another device class")   \
    X(BAD_INPUT, "an input has the wrong name, type or shape")         \
    X(BUDGET, "the budget is below the minimum")                       \
    X(DEVICE, "no such device, or the device reported an error")       \
    X(CANCELLED, "cancelled by the caller")                            \
    X(INTERNAL, "an invariant does not hold: please report it")

typedef enum flashmem_status {
#define FLASHMEM_STATUS_ENUM(name, text) FLASHMEM_##name,
    FLASHMEM_STATUS_LIST(FLASHMEM_STATUS_ENUM)
#undef FLASHMEM_STATUS_ENUM
    FLASHMEM_STATUS_COUNT
} flashmem_status;

/* Caller-owned; may be NULL wherever it is a parameter.  Zero before a call: a failure is written only where none stands,
 * so zero it again to go on after one. */
typedef struct flashmem_error {
    flashmem_status status;
    char            message[1024];
} flashmem_error;

/* "BAD_PACK"; static storage. */
FLASHMEM_API const char *flashmem_status_name(flashmem_status status);
/* "not a valid pack"; static storage. */
FLASHMEM_API const char *flashmem_status_text(flashmem_status status);

typedef enum flashmem_log_level {
    FLASHMEM_LOG_ERROR,
    FLASHMEM_LOG_WARN,  /* a fallback was taken, with its reason */
    FLASHMEM_LOG_INFO,  /* once per process or model */
    FLASHMEM_LOG_DEBUG, /* once per pass or segment */
    FLASHMEM_LOG_TRACE  /* once per step */
} flashmem_log_level;

/* category: "import", "plan", "load", "cl", "cache"...  May be called from any thread of the library; must not call
 * back into it.  The message has no line end. */
typedef void (*flashmem_log_fn)(void *user, flashmem_log_level level, const char *category, const char *message);

/* done of total, in the unit of the stage; return nonzero to cancel (FLASHMEM_CANCELLED). */
typedef int (*flashmem_progress_fn)(void *user, const char *stage, uint64_t done, uint64_t total);

/* Element types of inputs and outputs; numbers are ONNX's TensorProto.DataType. */
typedef enum flashmem_dtype {
    FLASHMEM_F32 = 1, FLASHMEM_U8 = 2, FLASHMEM_I8 = 3, FLASHMEM_U16 = 4, FLASHMEM_I16 = 5, FLASHMEM_I32 = 6,
    FLASHMEM_I64 = 7, FLASHMEM_BOOL = 9, FLASHMEM_F16 = 10, FLASHMEM_F64 = 11, FLASHMEM_U32 = 12, FLASHMEM_U64 = 13,
    FLASHMEM_BF16 = 16
} flashmem_dtype;

#define FLASHMEM_MAX_RANK 8

typedef struct flashmem_tensor_info {
    const char    *name;  /* owned by the object that was asked */
    flashmem_dtype dtype;
    uint32_t       rank;
    int64_t        dims[FLASHMEM_MAX_RANK];
    uint64_t       bytes; /* of the dense row-major array */
    uint64_t       limit; /* integer inputs: values must lie below (smallest axis they index); 0 = not an index */
    uint32_t       is_mask; /* integer or bool input used as a 0/1 mask */
} flashmem_tensor_info;

typedef enum flashmem_weights { FLASHMEM_WEIGHTS_FP32, FLASHMEM_WEIGHTS_FP16 } flashmem_weights;
typedef enum flashmem_layout { FLASHMEM_LAYOUT_CPU, FLASHMEM_LAYOUT_TEXTURE, FLASHMEM_LAYOUT_GPU } flashmem_layout;

#ifdef __cplusplus
}
#endif
#endif
