/* Cache of packs: DIR/packs/KEY.flm with DIR/packs/KEY.files, the manifest of every file that was compiled. */
#include "pack_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "commands.h"
#include "console.h"

extern char **environ;

int cli_check_file(const char *path) {
    struct stat st;
    if (stat(path, &st) || access(path, R_OK)) return cli_usage("%s: %s", path, strerror(errno)), 1;
    return S_ISREG(st.st_mode) ? 0 : (cli_usage("%s: not a regular file", path), 1);
}

bool cli_is_pack(const char *path) {
    char        magic[8] = "";
    struct stat st;
    FILE       *file = stat(path, &st) == 0 && S_ISREG(st.st_mode) ? fopen(path, "rb") : NULL; /* a pipe would wait */
    if (!file) return false;
    size_t got = fread(magic, 1, 8, file);
    fclose(file);
    size_t length = strlen(path);
    return (got == 8 && !memcmp(magic, "FLASHMEM", 8)) || (length > 4 && !strcmp(path + length - 4, ".flm"));
}

/* FNV-1a: the key only names a cache entry; its manifest is compared in full. */
static uint64_t hash_text(uint64_t hash, const char *text) {
    for (; *text; text++) hash = (hash ^ (unsigned char)*text) * 0x100000001B3u;
    return (hash ^ '\n') * 0x100000001B3u;
}

/* "size mtime_ns inode path"; in the path a line end is written \n and a backslash \\. */
bool cli_manifest_line(const char *path, char *line, size_t bytes) {
    struct stat st;
    if (stat(path, &st)) return false;
    long long mtime = (long long)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    int    head = snprintf(line, bytes, "%lld %lld %llu ", (long long)st.st_size, mtime, (unsigned long long)st.st_ino);
    size_t at = (size_t)head;
    for (; *path; path++) {
        if (at + 4 > bytes) return false;
        if (*path == '\n' || *path == '\\') line[at++] = '\\';
        line[at++] = *path == '\n' ? 'n' : *path;
    }
    if (at + 2 > bytes) return false;
    memcpy(line + at, "\n", 2);
    return true;
}

static void unescape(char *to, const char *from) {
    for (; *from; from++) {
        if (*from == '\\' && from[1]) *to++ = *++from == 'n' ? '\n' : *from;
        else *to++ = *from;
    }
    *to = 0;
}

const char *cli_manifest_stale(const char *path) {
    FILE *file = fopen(path, "r");
    if (!file) return "not compiled before with these options";
    static char line[CLI_MANIFEST_LINE], now[CLI_MANIFEST_LINE], file_path[CLI_MANIFEST_LINE];
    const char *why = "its file list is empty";
    while (fgets(line, sizeof line, file)) {
        char *name = line;
        for (int field = 0; field < 3 && name; field++) name = strchr(name, ' ') ? strchr(name, ' ') + 1 : NULL;
        why = "its file list is unreadable";
        if (!name) break;
        char *end = strchr(name, '\n');
        if (!end) break;
        *end = 0;
        unescape(file_path, name);
        bool there = cli_manifest_line(file_path, now, sizeof now);
        *end = '\n';
        why = "the model, its external data or this program changed";
        if (!there || strcmp(line, now)) break;
        why = NULL;
    }
    fclose(file);
    return why;
}

static bool make_folders(const char *path) {
    char part[PATH_MAX];
    snprintf(part, sizeof part, "%s", path);
    for (char *at = part + 1;; at++) {
        if (*at && *at != '/') continue;
        char kept = *at;
        *at = 0;
        if (mkdir(part, 0777) && errno != EEXIST) return false;
        if (!(*at = kept)) return true;
    }
}

static const char *cache_root(const cli_options *options, char *buffer, size_t bytes) {
    const char *base = options->cache_dir, *home;
    if (base && *base) snprintf(buffer, bytes, "%s", base);
    else if ((base = getenv("XDG_CACHE_HOME")) && *base) snprintf(buffer, bytes, "%s/flashmem", base);
    else if ((home = getenv("HOME")) && *home) snprintf(buffer, bytes, "%s/.cache/flashmem", home);
    else snprintf(buffer, bytes, "/tmp/flashmem-%ld", (long)getuid());
    return buffer;
}

static volatile pid_t compiling; /* child, or 0 */
void                  cli_pack_interrupt(void) {
                     if (compiling > 0) kill(compiling, SIGINT);
}

/* Runs this program's own `compile` and waits. */
static int compile_child(const char *model, const char *pack, const char *manifest, const char *layout,
                         const cli_options *options, const option_LIST *shapes) {
    const char *argv[160];
    int         argc = 0;
    argv[argc++] = "flashmem";
    argv[argc++] = "compile";
    argv[argc++] = model;
    argv[argc++] = "--output";
    argv[argc++] = pack;
    argv[argc++] = "--manifest";
    argv[argc++] = manifest;
    argv[argc++] = "--layout";
    argv[argc++] = layout;
    argv[argc++] = "--log";
    argv[argc++] = cli_console_level();
    if (cli_console_quiet()) argv[argc++] = "--quiet";
    if (options->weights) {
        argv[argc++] = "--weights";
        argv[argc++] = options->weights;
    }
    for (int i = 0; i < shapes->count; i++) {
        argv[argc++] = "--shape";
        argv[argc++] = shapes->items[i];
    }
    argv[argc] = NULL;
    pid_t                      child;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0); /* its summary is not ours */
    int why = posix_spawn(&child, "/proc/self/exe", &actions, NULL, (char **)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (why) return cli_usage("the compiler could not be started: %s", strerror(why)), 1;
    compiling = child;
    if (cli_interrupted()) cli_pack_interrupt();
    int status;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    compiling = 0;
    if (cli_interrupted() && WIFEXITED(status) && !WEXITSTATUS(status)) return cli_usage("interrupted"), 1;
    if (WIFEXITED(status)) return WEXITSTATUS(status);
    cli_usage("the compiler ended on signal %d", WTERMSIG(status));
    return 1;
}

/* Temporary files that nobody has written to for a day: their compiler was killed. */
static void sweep(const char *folder) {
    DIR   *dir = opendir(folder);
    time_t now = time(NULL);
    if (!dir) return;
    for (struct dirent *entry; (entry = readdir(dir));) {
        char        path[PATH_MAX];
        struct stat st;
        if (!strstr(entry->d_name, ".tmp")) continue;
        if (snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) >= (int)sizeof path || stat(path, &st))
            continue;
        if (S_ISREG(st.st_mode) && now - st.st_mtime > 24 * 3600) unlink(path);
    }
    closedir(dir);
}

/* Oldest packs go until the rest fits the limit; the one in use stays. */
static void evict(const char *folder, const char *keep, double limit) {
    for (;;) {
        DIR *dir = opendir(folder);
        if (!dir) return;
        double          total = 0;
        char            oldest[PATH_MAX] = "";
        struct timespec oldest_time = { 0 };
        for (struct dirent *entry; (entry = readdir(dir));) {
            size_t length = strlen(entry->d_name);
            if (length < 4 || strcmp(entry->d_name + length - 4, ".flm")) continue;
            char        path[PATH_MAX];
            struct stat st;
            if (snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) >= (int)sizeof path || stat(path, &st))
                continue;
            total += (double)st.st_size;
            bool older = !*oldest || st.st_mtim.tv_sec < oldest_time.tv_sec ||
                         (st.st_mtim.tv_sec == oldest_time.tv_sec && st.st_mtim.tv_nsec < oldest_time.tv_nsec);
            if (strcmp(path, keep) && older) {
                snprintf(oldest, sizeof oldest, "%s", path);
                oldest_time = st.st_mtim;
            }
        }
        closedir(dir);
        if (total <= limit || !*oldest || unlink(oldest)) return;
        char manifest[PATH_MAX + 4];
        snprintf(manifest, sizeof manifest, "%.*s.files", (int)strlen(oldest) - 4, oldest);
        unlink(manifest);
    }
}

static const char *const layout_names[] = { "cpu", "texture", "gpu" };

int cli_choose_layout(const cli_options *options, flashmem_layout *layout) {
    flashmem_error error = { 0 };
    for (int l = 0; options->layout && l < 3; l++)
        if (!strcmp(options->layout, layout_names[l])) return *layout = (flashmem_layout)l, 0;
    if (options->layout) return cli_usage("--layout is cpu, texture or gpu, not '%s'", options->layout), 2;
    *layout = FLASHMEM_LAYOUT_TEXTURE;
    if (options->memory_path && !strncmp(options->memory_path, "texture", 7)) return 0;
    return flashmem_device_layout(options->device, options->no_cache ? "" : options->cache_dir, layout, &error)
               ? cli_fail(&error)
               : 0;
}

static uint64_t entry_key(const cli_pack *pack, const char *layout, const cli_options *options,
                          const option_LIST *shapes) {
    uint64_t key = hash_text(hash_text(0xCBF29CE484222325u, FLASHMEM_VERSION), pack->model);
    key = hash_text(key, layout);
    key = hash_text(key, options->weights ? options->weights : "fp32");
    for (int i = 0; i < shapes->count; i++) key = hash_text(key, shapes->items[i]);
    return key;
}

int cli_pack_get(cli_pack *pack, const cli_options *options, const option_LIST *shapes) {
    *pack = (cli_pack){ .cache = "given" };
    double limit = 20e9;
    if (options->cache_limit && !cli_parse_bytes(options->cache_limit, &limit)) return 2;
    if (cli_check_file(options->path)) return 1;
    if (cli_is_pack(options->path)) {
        if (options->shapes.count || cli_option_given(options, &options->weights) || options->layout)
            return cli_usage("--shape, --weights and --layout apply to a model; %s is a pack: compile it again",
                             options->path),
                   2;
        snprintf(pack->path, sizeof pack->path, "%s", options->path);
        return 0;
    }
    if (!realpath(options->path, pack->model)) return cli_usage("%s: %s", options->path, strerror(errno)), 1;
    flashmem_layout chosen;
    int             code = cli_choose_layout(options, &chosen);
    if (code) return code;
    const char *layout = layout_names[chosen];
    char root[PATH_MAX - 64], folder[PATH_MAX - 40], manifest[PATH_MAX], part[PATH_MAX + 64];
    pack->temporary = options->no_cache;
    pack->cache = options->no_cache ? "off" : "miss";
    if (options->no_cache) snprintf(folder, sizeof folder, "%s", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    else snprintf(folder, sizeof folder, "%s/packs", cache_root(options, root, sizeof root));
    if (!make_folders(folder)) return cli_usage("%s: %s", folder, strerror(errno)), 1;
    uint64_t key = entry_key(pack, layout, options, shapes);
    if (options->no_cache) snprintf(pack->path, sizeof pack->path, "%s/flashmem-%ld.flm", folder, (long)getpid());
    else snprintf(pack->path, sizeof pack->path, "%s/%016" PRIx64 ".flm", folder, key);
    snprintf(manifest, sizeof manifest, "%.*s.files", (int)strlen(pack->path) - 4, pack->path);
    const char *stale = options->no_cache ? "--no-cache" : cli_manifest_stale(manifest);
    if (!stale && access(pack->path, R_OK)) stale = "its pack was removed";
    flashmem_log_fn      log;
    flashmem_progress_fn progress;
    void                *user;
    cli_console_attach(&log, &progress, &user);
    snprintf(part, sizeof part, "pack %s: %s%s%s", stale ? "MISS" : "HIT", pack->path, stale ? ": " : "",
             stale ? stale : "");
    log(user, FLASHMEM_LOG_INFO, "cache", part);
    if (!stale) {
        pack->cache = "hit";
        utimensat(AT_FDCWD, pack->path, NULL, 0); /* last use, for eviction */
        return 0;
    }
    unsigned long long began = cli_now_ns();
    code = compile_child(pack->model, pack->path, manifest, layout, options, shapes);
    pack->compile_seconds = (double)(cli_now_ns() - began) * 1e-9;
    if (options->no_cache) unlink(manifest);
    if (code) return cli_pack_release(pack), code;
    if (!options->no_cache) {
        sweep(folder);
        evict(folder, pack->path, limit);
    }
    return 0;
}

void cli_pack_distrust(const cli_pack *pack, const flashmem_error *error) {
    if (error->status != FLASHMEM_BAD_PACK && error->status != FLASHMEM_CORRUPT) return;
    if (strcmp(pack->cache, "hit") || unlink(pack->path)) return;
    fprintf(stderr, "flashmem: the damaged pack was removed from the cache; run again to compile %s anew\n",
            pack->model);
}

void cli_pack_release(cli_pack *pack) {
    if (pack->temporary) unlink(pack->path);
    pack->temporary = false;
}
