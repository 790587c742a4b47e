/* Disk rate by direct reads from several threads, and the matmul model that the compute peak is taken from. */
#include "bench_limits.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "commands.h"

#define HUGE_PAGE ((size_t)2 << 20)

typedef struct reading {
    int           fd;
    size_t        request, end, slots;
    atomic_size_t next;
    atomic_bool   failed;
    char         *memory; /* [slots][request], filled in turn */
} reading;

static void *read_blocks(void *user) {
    reading *r = user;
    for (;;) {
        size_t at = atomic_fetch_add(&r->next, r->request);
        if (at >= r->end) return NULL;
        ssize_t got = pread(r->fd, r->memory + at / r->request % r->slots * r->request, r->request, (off_t)at);
        if (got <= 0) return atomic_store(&r->failed, true), NULL;
    }
}

double bench_disk_rate(const char *path, const bench_disk *disk) {
    struct stat st;
    reading     r = { .fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC), .request = disk->request };
    if (r.fd < 0) return 0;
    r.slots = disk->memory / disk->request;
    if (r.slots < (size_t)disk->depth) r.slots = (size_t)disk->depth;
    size_t bytes = r.slots * r.request;
    void  *map = mmap(NULL, bytes + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    double rate = 0;
    if (map != MAP_FAILED && !fstat(r.fd, &st) && st.st_size > 0) {
        r.memory = (char *)(((uintptr_t)map + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
        r.end = (size_t)st.st_size < (size_t)1000000000 ? (size_t)st.st_size : (size_t)1000000000;
        madvise(r.memory, bytes, MADV_HUGEPAGE);
        memset(r.memory, 1, bytes);
        pthread_t          threads[16];
        int                started = 0;
        unsigned long long began = cli_now_ns();
        while (started < disk->depth && started < 16 && !pthread_create(&threads[started], NULL, read_blocks, &r))
            started++;
        for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
        if (started && !atomic_load(&r.failed)) rate = (double)r.end / ((double)(cli_now_ns() - began) * 1e-9);
    }
    if (map != MAP_FAILED) munmap(map, bytes + HUGE_PAGE);
    close(r.fd);
    return rate;
}

bench_disk bench_disk_best(const char *path) {
    bench_disk best = { 4, (size_t)1 << 20, 0 };
    double     fastest = 0;
    for (int depth = 2; depth <= 8; depth *= 2)
        for (size_t request = (size_t)1 << 20; request <= (size_t)4 << 20; request *= 4) {
            bench_disk disk = { depth, request, 0 };
            double     rate = bench_disk_rate(path, &disk);
            if (rate > fastest) fastest = rate, best = disk;
        }
    return best;
}

/* Just enough of the protobuf wire format for one ONNX model. */
typedef struct message {
    unsigned char bytes[1024];
    size_t        count;
} message;

static void put_varint(message *m, uint64_t value) {
    for (; value > 127; value >>= 7) m->bytes[m->count++] = (unsigned char)(value | 128);
    m->bytes[m->count++] = (unsigned char)value;
}
static void put_int(message *m, unsigned field, uint64_t value) {
    put_varint(m, field << 3);
    put_varint(m, value);
}
static void put_bytes(message *m, unsigned field, const void *data, size_t bytes) {
    put_varint(m, field << 3 | 2);
    put_varint(m, bytes);
    memcpy(m->bytes + m->count, data, bytes);
    m->count += bytes;
}
static void put_text(message *m, unsigned field, const char *text) { put_bytes(m, field, text, strlen(text)); }
static void put_message(message *m, unsigned field, const message *inner) {
    put_bytes(m, field, inner->bytes, inner->count);
}
static void put_pair(message *m, unsigned field, const char *key, const char *value) {
    message pair = { .count = 0 };
    put_text(&pair, 1, key);
    put_text(&pair, 2, value);
    put_message(m, field, &pair);
}

/* ValueInfoProto: float32 [size, size]. */
static void put_value_info(message *m, unsigned field, const char *name, int size) {
    message info = { .count = 0 }, type = { .count = 0 }, tensor = { .count = 0 }, shape = { .count = 0 },
            dim = { .count = 0 };
    put_int(&dim, 1, (uint64_t)size);
    put_message(&shape, 1, &dim);
    put_message(&shape, 1, &dim);
    put_int(&tensor, 1, 1);
    put_message(&tensor, 2, &shape);
    put_message(&type, 1, &tensor);
    put_text(&info, 1, name);
    put_message(&info, 2, &type);
    put_message(m, field, &info);
}

bool bench_write_matmul(const char *path, int size) {
    char    bytes[32];
    message node = { .count = 0 }, weight = { .count = 0 }, graph = { .count = 0 }, opset = { .count = 0 },
            model = { .count = 0 };
    put_text(&node, 1, "x");
    put_text(&node, 1, "w");
    put_text(&node, 2, "y");
    put_text(&node, 4, "MatMul");
    put_int(&weight, 1, (uint64_t)size);
    put_int(&weight, 1, (uint64_t)size);
    put_int(&weight, 2, 1);
    put_text(&weight, 8, "w");
    snprintf(bytes, sizeof bytes, "%lld", (long long)size * size * 4);
    put_pair(&weight, 13, "location", "weights.bin");
    put_pair(&weight, 13, "offset", "0");
    put_pair(&weight, 13, "length", bytes);
    put_int(&weight, 14, 1);
    put_message(&graph, 1, &node);
    put_text(&graph, 2, "matmul");
    put_message(&graph, 5, &weight);
    put_value_info(&graph, 11, "x", size);
    put_value_info(&graph, 12, "y", size);
    put_int(&opset, 2, 17);
    put_int(&model, 1, 8);
    put_message(&model, 7, &graph);
    put_message(&model, 8, &opset);
    put_pair(&model, 14, "fill:w", "normal:0.02");
    FILE *file = fopen(path, "wb");
    if (!file) return false;
    bool ok = fwrite(model.bytes, 1, model.count, file) == model.count;
    return fclose(file) == 0 && ok;
}
