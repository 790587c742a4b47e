/* Where a command gets its pack: the file itself, or a model compiled in a child process (so that this process's memory
 * stays the runner's) into a cache.  Who may include: cli. */
#ifndef CLI_PACK_CACHE_H
#define CLI_PACK_CACHE_H

#include <limits.h>

#include "options.h"

typedef struct cli_pack {
    char        path[PATH_MAX];  /* of the pack */
    char        model[PATH_MAX]; /* of the model, or "" when a pack was given */
    bool        temporary;       /* removed by cli_pack_release */
    const char *cache;           /* "given", "hit", "miss", "off" */
    double      compile_seconds; /* 0 unless compiled now */
} cli_pack;

/* shapes: the --shape texts to compile for (those of the options, and those that --input arrays imply).  Returns 0, or
 * an exit code with the message printed.  Key: path, options, version; and size, mtime and inode of the model, its
 * external files and this program must be as they were; never a hash of the content.  The log says HIT or MISS and why. */
int  cli_pack_get(cli_pack *pack, const cli_options *options, const option_LIST *shapes);
void cli_pack_release(cli_pack *pack);
/* After an error: a pack of the cache that is damaged goes, so that the next run compiles again; says so. */
void cli_pack_distrust(const cli_pack *pack, const flashmem_error *error);
/* For the interrupt handler: also stops the compiler when a signal reached only this process. */
void cli_pack_interrupt(void);
enum { CLI_MANIFEST_LINE = 2 * 4096 + 128 };
/* One line of a manifest, with its line end: the file's size, time, inode and path.  False: no such file. */
bool cli_manifest_line(const char *path, char *line, size_t bytes);
/* Why a list of files ("size mtime_ns inode path" lines) does not hold any more, or NULL: every file is as it was. */
const char *cli_manifest_stale(const char *path);
/* The weight layout to compile for: asked for, implied by the memory path, or the device's.  Returns 0 or an exit code. */
int         cli_choose_layout(const cli_options *options, flashmem_layout *layout);
/* 0, or 1 with the message printed: not there, not readable, not a regular file. */
int         cli_check_file(const char *path);
bool        cli_is_pack(const char *path); /* by its first bytes */

#endif
