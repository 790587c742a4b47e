/* Runs the steps of a program on an OpenCL device with plain blocking buffers: kernel tests and micro-benchmarks.
 *
 * Nothing of the run half is used: a value is a buffer of its own between two guards that are checked afterwards, an
 * image argument an image made from the weight's panels, #include of embedded .clh files is expanded here. */
#ifndef FM_TESTS_KERNELS_HARNESS_H
#define FM_TESTS_KERNELS_HARNESS_H

#include "base/error.h"
#include "contract/program.h"

typedef struct fm_harness fm_harness;

/* The first device, or the first whose name contains FLASHMEM_TEST_DEVICE. */
flashmem_status fm_harness_open(fm_harness **out, flashmem_error *err);
void            fm_harness_close(fm_harness *harness); /* NULL allowed */
const char     *fm_harness_device_name(const fm_harness *harness);
uint32_t        fm_harness_device_bits(const fm_harness *harness);    /* FM_DEVICE_* */
double          fm_harness_build_seconds(const fm_harness *harness);  /* spent in clBuildProgram so far */
uint32_t        fm_harness_programs_built(const fm_harness *harness); /* distinct (source, options) */

typedef struct fm_harness_run {
    const fm_program *program;
    const fm_weight  *weights;     /* the table fm_value.weight indexes; may be NULL without weights */
    void            **data;        /* per value: bytes of it, read before and written back after; NULL: zeros */
    uint32_t          part_panels; /* > 0: every splittable step runs in parts of this many panels (the last shorter) */
    uint32_t          repeats;     /* times each step runs; 0 is 1 */
    double           *samples;     /* NULL, or [step_count][repeats] seconds by device events, parts summed */
} fm_harness_run;

/* Values' data of inputs and weights must be set; weights are packed as their record says (fm_harness_pack).  Status
 * DEVICE with the build log, or INTERNAL when a kernel wrote outside its buffers. GATHER_ROWS steps are refused. */
flashmem_status fm_harness_execute(fm_harness *harness, const fm_harness_run *run, flashmem_error *err);

/* Packs matrix [k][n] (row-major float32) as a PANELS weight of layout and format: fills *weight and returns the
 * packed bytes (malloc'd, 64-byte aligned, weight->panels * weight->panel_bytes).  padding: extra bytes between panels,
 * a multiple of the element size times 16 (cpu) or 4 (texture). */
void *fm_harness_pack(fm_weight *weight, flashmem_layout layout, fm_weight_format format, const float *matrix,
                      uint64_t k, uint64_t n, uint64_t padding);

/* Uniform in [-1, 1), reproducible. */
void fm_harness_fill(float *to, size_t count, uint32_t seed);
/* Largest |got - want| over the largest |want| (or 1e-30); NaN anywhere gives infinity. */
double fm_harness_error(const float *got, const float *want, size_t count);

#endif
