#include "made_plan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB (UINT64_C(1) << 20)
static const double DISK = 0.42e9, STARTUP = 0.02, CONVERT = 4e9;

static const char *const hostile[] = {
    "</script><img src=x onerror=\"document.title='broken in'\"><script>document.title='broken in'</script>",
    "<!--<script>",
    "<img src=x onerror=document.title='broken'>",
    "quote\" apostrophe' back\\slash &amp; &lt;b&gt; ${alert(1)}",
    "line\nfeed\ttab \x01 control",
    "not \xff\xfe UTF-8 \xc3",
    "\xe2\x80\xa8 separator \xf0\x9f\x92\xa5 \xe6\xa8\xa1\xe5\x9e\x8b",
    "__proto__",
    "",
};
enum { HOSTILE = sizeof hostile / sizeof *hostile };

static void *zeroed(size_t count, size_t size) {
    void *memory = calloc(count + 1, size);
    if (!memory) abort();
    return memory;
}

static const char *name_of(made_kind kind, const char *what, uint32_t i) {
    static const char *const parts[] = { "attention/query", "attention/key", "mlp/in", "mlp/out" };
    char                    *name = zeroed(6000, 1);
    if (kind == MADE_HOSTILE && i % 3 == 0) {
        uint32_t which = i / 3 % (HOSTILE + 1);
        if (which < HOSTILE) strcpy(name, hostile[which]);
        else memset(name, 'w', 5000);
    } else {
        sprintf(name, "block.%u/%s/%s", i / 12, parts[i / 3 % 4], what);
    }
    return name;
}

static void make_step(flashmem_plan_step *s, made_kind kind, uint32_t k) {
    static const flashmem_cost_class cost[] = { FLASHMEM_COST_MATMUL, FLASHMEM_COST_NORM, FLASHMEM_COST_ELEMENTWISE };
    static const flashmem_capacity_class capacity[] = { FLASHMEM_CAPACITY_REUSABLE, FLASHMEM_CAPACITY_HIERARCHICAL,
                                                        FLASHMEM_CAPACITY_ELEMENTWISE };
    static const double                  growth[] = { 0.2, 0, 3 };
    static const char *const             what[] = { "matmul", "norm", "gelu" };
    uint32_t                             c = k % 3;
    *s = (flashmem_plan_step){ .name = name_of(kind, what[c], k),
                               .step = k,
                               .cost_class = cost[c],
                               .capacity_class = capacity[c],
                               .seconds = c ? 0.00005 + 0.00001 * (k % 7) : 0.001 + 0.0004 * (k % 11),
                               .flops = c ? 1e5 : 2e8,
                               .bytes = 400e3,
                               .activation_bytes = 300000 + 50000 * (k % 9),
                               .image_bytes = kind == MADE_TEXTURE ? 12 * MIB : 0 };
    if (kind == MADE_OVERLAP) s->capacity_bytes = (uint64_t)(growth[c] * s->seconds * 5e9);
}

/* Objects are read one after the other, each once the launch eight before its use has ended. */
static void run(flashmem_plan *p, flashmem_plan_step *steps, flashmem_plan_object *objects, made_kind kind) {
    double   disk = 0, free_at = STARTUP;
    uint32_t o = 0;
    for (uint32_t k = 0; k < p->step_count; k++) {
        flashmem_plan_step *s = &steps[k];
        double              ready = free_at;
        if (o < p->object_count && objects[o].first == k) {
            flashmem_plan_object *x = &objects[o++];
            x->request = x->after < 0 ? disk : fmax(disk, steps[x->after].end);
            disk = x->arrival = x->request + (double)x->bytes / DISK;
            ready = fmax(ready, x->arrival);
            if (kind == MADE_TEXTURE) {
                x->convert_start = ready;
                ready = x->convert_end = ready + (double)x->bytes / CONVERT;
            }
        }
        s->start = ready;
        s->end = free_at = s->start + s->seconds;
        double before = k ? steps[k - 1].end : STARTUP;
        s->stall = s->start - before;
        p->stall += s->stall;
        p->compute_seconds += s->seconds;
    }
    p->latency = free_at;
    p->disk_seconds = (double)p->read_bytes / DISK;
}

static void make_objects(flashmem_plan *p, flashmem_plan_step *steps, flashmem_plan_object *objects, made_kind kind) {
    for (uint32_t k = 0; k < p->step_count; k += 3) {
        uint32_t o = p->object_count++;
        objects[o] = (flashmem_plan_object){ .name = name_of(kind, "weight", k),
                                             .object = o,
                                             .weight = o,
                                             .panels = 64,
                                             .bytes = (1 + o * 7 % 5) * MIB / 2,
                                             .first = k,
                                             .last = k + (o % 16 == 3 && k + 20 < p->step_count ? 20 : 0),
                                             .after = k < 24 ? -1 : (int32_t)k - 24,
                                             .resident = kind != MADE_OVERLAP && o % 10 == 0,
                                             .offset = (uint64_t)o % 9 * 3 * MIB };
        if (objects[o].resident) {
            objects[o].after = -1;
            p->resident_bytes += objects[o].bytes;
        }
        p->read_bytes += objects[o].bytes;
        for (uint32_t l = (uint32_t)(objects[o].after + 1); l <= objects[o].last && !objects[o].resident; l++)
            steps[l].weight_bytes += objects[o].bytes;
    }
    for (uint32_t k = 0; k < p->step_count; k++) steps[k].resident_bytes = p->resident_bytes;
}

/* Weights last-used first take what capacity is left nearest before their use; those that need too much are preloaded. */
static void make_overlap(flashmem_plan *p, flashmem_plan_step *steps, flashmem_plan_object *objects) {
    flashmem_plan_weight *weights = zeroed(p->object_count, sizeof *weights);
    flashmem_plan_load   *loads = zeroed((size_t)p->object_count * 64, sizeof *loads);
    p->chunk_bytes = MIB / 4;
    p->m_peak_bytes = 8 * MIB;
    p->m_peak_chunks = p->peak_chunks = 32;
    p->lambda = 0.9;
    for (uint32_t w = 0; w < p->object_count; w++) {
        flashmem_plan_object *x = &objects[w];
        uint64_t              chunks = (x->bytes + p->chunk_bytes - 1) / p->chunk_bytes, done = 0;
        uint32_t              first = p->load_count;
        for (uint32_t l = x->first; l-- > 0 && done < chunks && p->load_count - first < 30;) {
            uint64_t left = (steps[l].capacity_bytes - steps[l].load_bytes) / p->chunk_bytes;
            uint64_t take = left < chunks - done ? left : chunks - done;
            if (!take) continue;
            loads[p->load_count++] = (flashmem_plan_load){ l, (uint32_t)take };
            done += take;
        }
        x->preload = w % 5 == 0 || done < chunks;
        if (x->preload) p->load_count = first;
        for (uint32_t i = first; i < p->load_count; i++)
            steps[loads[i].step].load_bytes += loads[i].chunks * p->chunk_bytes;
        p->preload_bytes += x->preload ? x->bytes : 0;
        weights[w] = (flashmem_plan_weight){ x->name,    x->bytes, (uint32_t)chunks,     x->first, x->last,
                                             x->preload, first,    p->load_count - first };
    }
    p->weights = weights;
    p->weight_count = p->object_count;
    p->loads = loads;
}

flashmem_plan *made_plan(made_kind kind, uint32_t count) {
    flashmem_plan        *p = zeroed(1, sizeof *p);
    flashmem_plan_step   *steps = zeroed(count, sizeof *steps);
    flashmem_plan_object *objects = zeroed(count, sizeof *objects);
    *p = (flashmem_plan){ .model = kind == MADE_HOSTILE ? hostile[0] : "models/made.onnx",
                          .device = "made device",
                          .objective_kind = kind == MADE_OVERLAP ? "opg" : "timed",
                          .status = "FEASIBLE",
                          .solver = kind == MADE_OVERLAP ? "greedy" : "recursion",
                          .capacities = "class table",
                          .seconds = 0.0012,
                          .minimum_bytes = 9 * MIB,
                          .minimum_bound_bytes = 9 * MIB,
                          .steps = steps,
                          .step_count = kind == MADE_EMPTY ? 0 : count,
                          .kernel_steps = count,
                          .objects = objects,
                          .read_depth = 16,
                          .read_request_bytes = 512 << 10,
                          .region_count = 1 };
    for (uint32_t k = 0; k < p->step_count; k++) make_step(&steps[k], kind, k);
    make_objects(p, steps, objects, kind);
    if (kind == MADE_OVERLAP) make_overlap(p, steps, objects);
    run(p, steps, objects, kind);
    for (uint32_t k = 0; k < p->step_count; k++) {
        const flashmem_plan_step *s = &steps[k];
        uint64_t                  sum = s->activation_bytes + s->weight_bytes + s->resident_bytes + s->image_bytes;
        if (sum > p->live_bound_bytes) p->live_bound_bytes = sum;
        p->average_bytes += (double)sum / p->step_count;
    }
    p->peak_bytes = p->region_bytes[0] = p->live_bound_bytes + p->live_bound_bytes / 50;
    p->budget_bytes = p->peak_bytes + p->peak_bytes / 8;
    p->weight_bytes = p->read_bytes;
    p->objective = p->latency;
    p->bound = fmax(p->disk_seconds, p->compute_seconds + STARTUP);
    p->gap = p->objective > 0 ? fmax(0, (p->objective - p->bound) / p->objective) : 0;
    return p;
}

void made_plan_free(flashmem_plan *p) {
    for (uint32_t i = 0; i < p->step_count; i++) free((void *)(uintptr_t)p->steps[i].name);
    for (uint32_t i = 0; i < p->object_count; i++) free((void *)(uintptr_t)p->objects[i].name);
    free((void *)(uintptr_t)p->steps);
    free((void *)(uintptr_t)p->objects);
    free((void *)(uintptr_t)p->weights);
    free((void *)(uintptr_t)p->loads);
    free(p);
}
