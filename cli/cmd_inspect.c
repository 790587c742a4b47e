/* flashmem inspect: what a pack holds. */
#include "commands.h"
#include "console.h"

int cmd_inspect(const cli_options *options) {
    flashmem_error error = { 0 };
    if (flashmem_pack_inspect(options->path, options->verify, stdout, &error)) return cli_fail(&error);
    return 0;
}
