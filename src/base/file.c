/* Files over POSIX calls. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One call moves at most this much: Linux caps a call just below 2 GiB. */
enum { LARGEST_CALL = 1 << 30 };

flashmem_status fm_file_open(const char *path, int *fd, uint64_t *size, flashmem_error *err) {
    struct stat info;
    *fd = -1;
    /* O_NONBLOCK: opening a FIFO must not wait for a writer; regular files ignore it. */
    int opened = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (opened < 0) return fm_fail_errno(err, errno, "%s: open for reading", path);
    if (fstat(opened, &info) != 0) {
        int saved = errno;
        close(opened);
        return fm_fail_errno(err, saved, "%s: stat", path);
    }
    if (!S_ISREG(info.st_mode)) {
        close(opened);
        return fm_fail(err, FLASHMEM_IO, "%s: is %s, a regular file is wanted", path,
                       S_ISDIR(info.st_mode) ? "a folder" : "a device, pipe or socket");
    }
    *fd = opened;
    if (size) *size = (uint64_t)info.st_size;
    return FLASHMEM_OK;
}

flashmem_status fm_file_read(int fd, const char *path, uint64_t offset, void *to, size_t bytes, flashmem_error *err) {
    if (offset > INT64_MAX || bytes > INT64_MAX - offset)
        return fm_fail(err, FLASHMEM_IO, "%s: offset %" PRIu64 " + %zu bytes is beyond any file", path, offset, bytes);
    for (size_t done = 0; done < bytes;) {
        size_t  want = bytes - done < LARGEST_CALL ? bytes - done : LARGEST_CALL;
        ssize_t got = pread(fd, (char *)to + done, want, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fm_fail_errno(err, errno, "%s: read of %zu bytes at offset %" PRIu64, path, bytes, offset);
        if (got == 0)
            return fm_fail(err, FLASHMEM_IO, "%s: the file ends at %" PRIu64 ", %zu bytes at offset %" PRIu64 " wanted",
                           path, offset + done, bytes, offset);
        done += (size_t)got;
    }
    return FLASHMEM_OK;
}

/* The file that path stands for, links followed, malloc'd: renaming over a device or a link would replace it (with
 * enough rights, /dev/null for the whole machine). */
static flashmem_status resolve_target(const char *path, char **target, flashmem_error *err) {
    struct stat info;
    int         exists = stat(path, &info) == 0;
    if (exists && !S_ISREG(info.st_mode))
        return fm_fail(err, FLASHMEM_IO, "%s: is %s, only a regular file can be replaced", path,
                       S_ISDIR(info.st_mode) ? "a folder" : "a device, pipe or socket");
    *target = exists ? realpath(path, NULL) : NULL;
    if (!*target) *target = strdup(path); /* new, or reachable only under this name */
    return *target ? FLASHMEM_OK : fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "%s: no memory for the path", path);
}

/* Owner-only from mkstemp; commit gives the file the mode that open(..., 0666) would have. */
flashmem_status fm_file_writer_open(fm_file_writer *writer, const char *path, flashmem_error *err) {
    char *copy, *temporary;
    *writer = (fm_file_writer){ .fd = -1 };
    FM_TRY(resolve_target(path, &copy, err));
    size_t length = strlen(copy);
    temporary = malloc(length + sizeof ".tmp-XXXXXX");
    if (!temporary) {
        free(copy);
        free(temporary);
        return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "%s: no memory for the path", path);
    }
    memcpy(temporary, copy, length);
    memcpy(temporary + length, ".tmp-XXXXXX", sizeof ".tmp-XXXXXX");
    int fd = mkstemp(temporary);
    if (fd < 0) {
        int saved = errno;
        free(copy);
        free(temporary);
        return fm_fail_errno(err, saved, "%s: create a temporary file beside it", path);
    }
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    writer->fd = fd;
    writer->path = copy;
    writer->temporary = temporary;
    return FLASHMEM_OK;
}

flashmem_status fm_file_writer_write(fm_file_writer *writer, uint64_t offset, const void *from, size_t bytes,
                                     flashmem_error *err) {
    if (offset > INT64_MAX || bytes > INT64_MAX - offset)
        return fm_fail(err, FLASHMEM_IO, "%s: offset %" PRIu64 " + %zu bytes is beyond any file", writer->path, offset,
                       bytes);
    for (size_t done = 0; done < bytes;) {
        size_t  want = bytes - done < LARGEST_CALL ? bytes - done : LARGEST_CALL;
        ssize_t put = pwrite(writer->fd, (const char *)from + done, want, (off_t)(offset + done));
        if (put < 0 && errno == EINTR) continue;
        if (put < 0)
            return fm_fail_errno(err, errno, "%s: write of %zu bytes at offset %" PRIu64, writer->path, bytes, offset);
        done += (size_t)put;
    }
    if (offset + bytes > writer->size) writer->size = offset + bytes;
    return FLASHMEM_OK;
}

/* Reading the mask means setting it for a moment, so /proc is asked first: other threads may create files. */
static mode_t creation_mode(void) {
    unsigned mask = 022;
    FILE    *status = fopen("/proc/self/status", "re");
    if (status) {
        char line[256];
        while (fgets(line, sizeof line, status))
            if (sscanf(line, "Umask: %o", &mask) == 1) break;
        fclose(status);
    }
    return 0666 & ~(mode_t)mask;
}

static flashmem_status sync_folder_of(const char *path, flashmem_error *err) {
    char *folder = strdup(path);
    if (!folder) return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "%s: no memory for the path", path);
    char *slash = strrchr(folder, '/');
    if (slash) slash[slash == folder] = '\0';
    int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(folder);
    if (fd < 0) return FLASHMEM_OK; /* a folder that may be written but not read: the file itself is synced */
    int failed = fsync(fd) != 0 && errno != EINVAL, saved = errno;
    close(fd);
    return failed ? fm_fail_errno(err, saved, "%s: sync its folder", path) : FLASHMEM_OK;
}

flashmem_status fm_file_writer_commit(fm_file_writer *writer, bool sync, flashmem_error *err) {
    flashmem_status status = FLASHMEM_OK;
    int             closing = -1;
    if (fchmod(writer->fd, creation_mode()) != 0 && errno != EPERM) {
        status = fm_fail_errno(err, errno, "%s: set its mode", writer->temporary);
        goto cleanup;
    }
    if (sync && fsync(writer->fd) != 0) {
        status = fm_fail_errno(err, errno, "%s: sync", writer->temporary);
        goto cleanup;
    }
    closing = writer->fd;
    writer->fd = -1;
    if (close(closing) != 0 && errno != EINTR) {
        status = fm_fail_errno(err, errno, "%s: close", writer->temporary);
        goto cleanup;
    }
    if (rename(writer->temporary, writer->path) != 0) {
        status = fm_fail_errno(err, errno, "%s: rename %s over it", writer->path, writer->temporary);
        goto cleanup;
    }
    writer->temporary[0] = '\0'; /* nothing left to remove */
    if (sync) status = sync_folder_of(writer->path, err);
cleanup:
    fm_file_writer_abort(writer);
    return status;
}

void fm_file_writer_abort(fm_file_writer *writer) {
    if (!writer->temporary) return;
    if (writer->fd >= 0) close(writer->fd);
    if (writer->temporary[0]) unlink(writer->temporary);
    free(writer->temporary);
    free(writer->path);
    *writer = (fm_file_writer){ .fd = -1 };
}

flashmem_status fm_file_load(const char *path, size_t limit, void **data, size_t *bytes, flashmem_error *err) {
    flashmem_status status = FLASHMEM_OK;
    int             fd = -1;
    uint64_t        size = 0;
    char           *memory = NULL;
    *data = NULL;
    if (bytes) *bytes = 0;
    FM_TRY_GOTO(fm_file_open(path, &fd, &size, err));
    if (size > limit || size >= SIZE_MAX) {
        status = fm_fail(err, FLASHMEM_IO, "%s: %" PRIu64 " bytes, at most %zu are read", path, size, limit);
        goto cleanup;
    }
    memory = malloc((size_t)size + 1);
    if (!memory) {
        status = fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "%s: no memory for its %" PRIu64 " bytes", path, size);
        goto cleanup;
    }
    FM_TRY_GOTO(fm_file_read(fd, path, 0, memory, (size_t)size, err));
    memory[size] = '\0';
    *data = memory;
    if (bytes) *bytes = (size_t)size;
    memory = NULL;
cleanup:
    free(memory);
    if (fd >= 0) close(fd);
    return status;
}

flashmem_status fm_file_save(const char *path, const void *data, size_t bytes, flashmem_error *err) {
    fm_file_writer writer;
    FM_TRY(fm_file_writer_open(&writer, path, err));
    flashmem_status status = fm_file_writer_write(&writer, 0, data, bytes, err);
    if (status == FLASHMEM_OK) return fm_file_writer_commit(&writer, false, err);
    fm_file_writer_abort(&writer);
    return status;
}

static flashmem_status make_one_folder(const char *path, flashmem_error *err) {
    struct stat info;
    if (mkdir(path, 0777) == 0) return FLASHMEM_OK;
    int saved = errno;
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) return FLASHMEM_OK;
    return fm_fail_errno(err, saved, "%s: create the folder", path);
}

flashmem_status fm_file_make_folders(const char *path, flashmem_error *err) {
    char *prefix = strdup(path);
    if (!prefix) return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "%s: no memory for the path", path);
    flashmem_status status = FLASHMEM_OK;
    for (char *at = prefix + 1; *prefix && status == FLASHMEM_OK; at++) {
        if (*at != '/' && *at != '\0') continue;
        char kept = *at;
        *at = '\0';
        status = make_one_folder(prefix, err);
        *at = kept;
        if (!kept) break;
    }
    free(prefix);
    return status;
}

char *fm_file_cache_folder(void) {
    const char *own = getenv("FLASHMEM_CACHE_DIR"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char        per_user[64];
    snprintf(per_user, sizeof per_user, "/tmp/flashmem-%lu", (unsigned long)getuid());
    const char *base = per_user, *below = "";
    if (own && *own) base = own;
    else if (xdg && xdg[0] == '/') base = xdg, below = "/flashmem"; /* the XDG rules ignore relative paths */
    else if (home && home[0] == '/') base = home, below = "/.cache/flashmem";
    size_t bytes = strlen(base) + strlen(below) + 1;
    char  *folder = malloc(bytes);
    if (folder) snprintf(folder, bytes, "%s%s", base, below);
    return folder;
}
