/* Device description files: a flashmem_device as JSON, its fields by name.  Who may include: cli. */
#ifndef CLI_DEVICE_FILE_H
#define CLI_DEVICE_FILE_H

#include "flashmem/device.h"

/* A path (it has a '/' or ends in .json), or the name of a device that came with the program: NAME.json in
 * FLASHMEM_DEVICES, beside the program's share folder, or in its source.  What a file leaves out is as
 * flashmem_device_init has it; what no device has is an error.  Returns 0, or an exit code with the message printed. */
int cli_device_load(const char *name, flashmem_device *device);

#endif
