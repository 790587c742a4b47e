/* Arguments of replayed steps, resolved once at open: what every device needs to launch them.
 * Who may include: run, tests. */
#ifndef FM_RUN_OPERANDS_H
#define FM_RUN_OPERANDS_H

#include "base/arena.h"
#include "run/gpu/gpu.h"

typedef enum fm_operand_kind { FM_OPERAND_MEMORY, FM_OPERAND_IMAGE, FM_OPERAND_INT, FM_OPERAND_FLOAT } fm_operand_kind;

typedef struct fm_operand {
    uint8_t  kind; /* fm_operand_kind */
    bool     write;
    uint32_t value;         /* MEMORY, IMAGE: root of the alias chain */
    uint32_t region;        /* MEMORY: or FM_NONE: bound by the caller */
    uint64_t offset, bytes; /* MEMORY: in the region; bytes of the value, or of the slab's part */
    uint32_t object;        /* MEMORY, IMAGE of a weight: replay object, else FM_NONE */
    uint32_t image;         /* IMAGE: row of replay->images */
    uint32_t slot;          /* the device's own index of a buffer; equal (region, offset, bytes) share one */
    int32_t  number;        /* INT */
    float    real;          /* FLOAT */
} fm_operand;

typedef struct fm_launch {
    fm_operand *operands;
    uint32_t    count;
    uint32_t    kernel; /* of the program; FM_NONE: a GATHER_ROWS step, which the host does */
    uint32_t    dims;
    size_t      global[3], local[3]; /* local[0] 0: the implementation chooses */
} fm_launch;

/* The value whose storage v shares (itself without an alias). */
uint32_t fm_value_root(const fm_program *program, uint32_t v);

/* One launch per replayed step.  *slots gets the number of distinct buffers.  BAD_PACK, INTERNAL. */
flashmem_status fm_launches_make(const fm_gpu_setup *setup, fm_arena *arena, fm_launch **out, uint32_t *slots,
                                 flashmem_error *err);

/* GATHER_ROWS of a replayed step: indices, table weight and output values, and how many rows. */
typedef struct fm_gather {
    uint32_t indices, weight, out;
    uint32_t rows;
} fm_gather;
flashmem_status fm_gather_of(const fm_pack *pack, const fm_program *program, uint32_t step, fm_gather *out,
                             flashmem_error *err);

#endif
