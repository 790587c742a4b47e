/* Predictions of a device profile beside what the kernels of models took.  Who may include: cli. */
#ifndef CLI_PROFILE_CHECK_H
#define CLI_PROFILE_CHECK_H

#include <jansson.h>

#include "profile_make.h"

/* A launch: the lower quartile of several runs, everything resident. */
typedef struct cli_check_launch {
    flashmem_cost_class cost_class;
    uint32_t            step;
    double              measured, predicted; /* seconds */
} cli_check_launch;

typedef struct cli_check {
    char              model[256]; /* file name */
    cli_check_launch *launches; uint32_t count;
    double            measured, predicted; /* sums, seconds */
    double            mean, middle, most;  /* |predicted - measured| / measured of launches */
} cli_check;

/* Runs the model (compiled into the cache for the profile's layout and weights, or a pack).  0 or an exit code with the
 * message printed; check is to be freed in any case. */
int     cli_check_model(cli_check *check, const cli_profile_request *request, const flashmem_profile *profile,
                        const char *model);
void    cli_check_free(cli_check *check);
void    cli_check_print(const cli_check *checks, uint32_t count);
json_t *cli_check_json(const cli_check *check);

/* profile_picture.c: one self-contained SVG page, predicted over measured seconds of every launch. */
int cli_check_draw(const char *path, const cli_check *checks, uint32_t count, const char *device);

#endif
