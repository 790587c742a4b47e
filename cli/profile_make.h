/* Making the profile of a device: the compile half writes micro-benchmark packs, the run half runs them.
 * Who may include: cli. */
#ifndef CLI_PROFILE_MAKE_H
#define CLI_PROFILE_MAKE_H

#include <limits.h>

#include "flashmem/profile.h"
#include "options.h"

/* What is to be profiled: device, threads, weights, cache folder and growth of the options; layout as given or the
 * device's.  0 or an exit code with the message printed. */
typedef struct cli_profile_request {
    const cli_options       *options;
    flashmem_profile_options profile;
    char                     path[PATH_MAX]; /* where the profile belongs: --output, or in the cache */
    char                     pack[PATH_MAX]; /* of the pack being run; removed afterwards */
} cli_profile_request;
int cli_profile_request_init(cli_profile_request *request, const cli_options *options);

/* Measures and learns; *out is to be closed. */
int cli_profile_make(cli_profile_request *request, flashmem_profile **out);
/* The profile at request->path when it is of this device and these kernels; else a short one is made and saved there.
 * For commands that need one. */
int cli_profile_get(cli_profile_request *request, flashmem_profile **out);

#endif
