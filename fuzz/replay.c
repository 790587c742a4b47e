/* Runs a fuzzer's entry point without libFuzzer: on every file of the folders given, and on simple mutations of each.
 * The mutations are the same every time.      fuzz_x FOLDER... [MUTATIONS per file, 200] */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz/fuzz_input.h"

static uint64_t seed;
static uint32_t below(size_t n) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((seed >> 32) % n);
}

static void mutate(uint8_t *data, size_t *bytes) {
    for (uint32_t edits = 1 + below(6); edits > 0 && *bytes; edits--) {
        static const uint8_t extremes[] = { 0x00, 0x7f, 0x80, 0xff };
        size_t               at = below(*bytes), other = below(*bytes), length = 1 + below(16);
        if (length > *bytes - at) length = *bytes - at;
        if (length > *bytes - other) length = *bytes - other;
        switch (below(5)) {
        case 0: data[at] ^= (uint8_t)(1u << below(8)); break;
        case 1: data[at] = extremes[below(4)]; break;
        case 2: memmove(data + at, data + other, length); break;
        case 3: memset(data + at, extremes[below(4)], length); break;
        default: *bytes = below(16) ? *bytes : at; break;
        }
    }
}

static int run_file(const char *path, uint32_t mutations) {
    struct stat info;
    FILE       *f = fopen(path, "rb");
    if (!f || fstat(fileno(f), &info) != 0) return 1;
    size_t   bytes = (size_t)info.st_size;
    uint8_t *data = malloc(bytes + 1), *copy = malloc(bytes + 1);
    if (!data || !copy || fread(data, 1, bytes, f) != bytes) return 1;
    fclose(f);
    LLVMFuzzerTestOneInput(data, bytes);
    for (uint32_t m = 0; m < mutations; m++) {
        size_t length = bytes;
        seed = m * 1000003u + bytes;
        memcpy(copy, data, bytes);
        mutate(copy, &length);
        LLVMFuzzerTestOneInput(copy, length);
    }
    free(data);
    free(copy);
    return 0;
}

int main(int argc, char **argv) {
    uint32_t mutations = 200, files = 0;
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] >= '0' && argv[i][0] <= '9') mutations = (uint32_t)strtoul(argv[i], NULL, 10);
    }
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] >= '0' && argv[i][0] <= '9') continue;
        DIR *folder = opendir(argv[i]);
        if (!folder) return fprintf(stderr, "%s: no such folder\n", argv[i]), 1;
        for (struct dirent *e; (e = readdir(folder));) {
            char path[1024];
            if (e->d_name[0] == '.') continue;
            snprintf(path, sizeof path, "%s/%s", argv[i], e->d_name);
            if (run_file(path, mutations) != 0) return fprintf(stderr, "%s: cannot be read\n", path), 1;
            files++;
        }
        closedir(folder);
    }
    printf("%u files, %u mutations of each\n", files, mutations);
    return files == 0; /* an empty corpus tests nothing */
}
