/* flashmem compile: model to pack. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "commands.h"
#include "console.h"
#include "report.h"

static int print_file(void *user, const char *path) {
    struct stat st;
    if (stat(path, &st)) return 1;
    long long mtime = (long long)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    return fprintf(user, "%lld %lld %llu %s\n", (long long)st.st_size, mtime, (unsigned long long)st.st_ino, path) < 0;
}

/* The files a compiled pack depends on, one line each: "size mtime_ns inode path". */
static int write_manifest(const char *model, const char *path, flashmem_error *error) {
    char temporary[4096];
    snprintf(temporary, sizeof temporary, "%s.%ld.tmp", path, (long)getpid());
    FILE *file = fopen(temporary, "w");
    if (!file) return cli_usage("%s: cannot be written", temporary), 1;
    flashmem_status status = flashmem_model_files(model, print_file, file, error);
    bool ok = fclose(file) == 0 && !status && rename(temporary, path) == 0;
    if (!ok) unlink(temporary);
    return ok ? 0 : status ? cli_fail(error) : (cli_usage("%s: cannot be written", path), 1);
}

static int choose_layout(const cli_options *options, flashmem_layout *layout) {
    if (!options->layout) {
        flashmem_error error = {0};
        return flashmem_device_layout(options->device, layout, &error) ? cli_fail(&error) : 0;
    }
    if (!strcmp(options->layout, "cpu")) *layout = FLASHMEM_LAYOUT_CPU;
    else if (!strcmp(options->layout, "texture")) *layout = FLASHMEM_LAYOUT_TEXTURE;
    else if (!strcmp(options->layout, "gpu")) *layout = FLASHMEM_LAYOUT_GPU;
    else return cli_usage("--layout is cpu, texture or gpu, not '%s'", options->layout), 2;
    return 0;
}

int cmd_compile(const cli_options *options) {
    if (!options->output) return cli_usage("compile needs --output PACK (-o)"), 2;
    static cli_shapes shapes;
    flashmem_compile_options to;
    if (!cli_compile_options(options, &shapes, &to)) return 2;
    int code = choose_layout(options, &to.layout);
    if (code) return code;
    cli_catch_interrupt(NULL);
    flashmem_compile_report report;
    flashmem_error error = {0};
    if (flashmem_compile(options->path, options->output, &to, &report, &error)) return cli_fail(&error);
    if (options->manifest && (code = write_manifest(options->path, options->manifest, &error))) return code;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    if (!options->quiet)
        printf("%s: %u nodes -> %u steps, %u device programs, weights %.1f MB, pack %.1f MB, %.2f s, peak memory %.0f MB\n",
               options->output, report.graph_nodes, report.steps, report.kernel_programs, (double)report.weight_bytes * 1e-6,
               (double)report.pack_bytes * 1e-6, report.seconds, (double)usage.ru_maxrss * 1024e-6);
    return options->json ? cli_report_compile(options->json, &report, (uint64_t)usage.ru_maxrss * 1024) : 0;
}
