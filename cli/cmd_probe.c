/* flashmem probe: makes a context and runs an empty kernel, for `bench` to measure what the bare runtime costs. */
#include <stdio.h>

#include "commands.h"
#include "console.h"

int cmd_probe(const cli_options *options) {
    flashmem_error error = { 0 };
    double         seconds;
    if (flashmem_device_probe(options->device, 0, &seconds, &error)) return cli_fail(&error);
    if (!options->quiet) fprintf(stderr, "device ready in %.1f ms\n", seconds * 1e3);
    return 0;
}
