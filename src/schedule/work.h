/* What a launch does and how long a device takes for it: the one cost model of planning, learning and simulating.
 * Who may include: compile, run, tests. */
#ifndef FM_SCHEDULE_WORK_H
#define FM_SCHEDULE_WORK_H

#include "contract/pack.h"
#include "flashmem/device.h"

typedef struct fm_work {
    flashmem_cost_class cost_class;
    double flops;
    double bytes;        /* activations moved */
    double weight_bytes; /* read where they lie or from images */
    double rows, row_bytes; /* GATHER_ROWS: reads of aligned spans, apart from the above */
    double share;        /* of the whole step */
} fm_work;

/* Of `panels` panels of a splittable step; panels 0: the whole step. */
fm_work fm_step_work(const fm_packed *packed, const fm_program *program, uint32_t step, uint32_t panels);
/* launch + max(flops / rate of the class, (bytes + weight_bytes) / bandwidth); for rows what the disk takes for them. */
double fm_work_seconds(const flashmem_device *device, const fm_work *work);
/* Of a launch: `panels` panels of step (0: all of it).  step_seconds, if not NULL, holds what whole steps take; a part
 * takes its share of what is more than a launch. */
double fm_launch_seconds(const flashmem_device *device, const fm_packed *packed, const fm_program *program,
                         const double *step_seconds, uint32_t step, uint32_t panels);
/* Of a copy of weight bytes into an image. */
double fm_convert_seconds(const flashmem_device *device, double bytes);
/* By what loading beside it costs: hierarchical, reusable or elementwise. */
flashmem_capacity_class fm_capacity_class_of(flashmem_cost_class cost_class);

#endif
