/* A graph as an overlap problem: nodes to steps (groups of nodes when fused), constants to weights, both cut in slabs. */
#include "compile/plan/instance.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "compile/ops/op.h"
#include "compile/plan/capacity.h"

enum { SMALL = 64, SMALLEST_SLAB = 4096, MOST_STEPS = 1 << 20, NONE = -1 };

static const double BYTES_PER_SECOND = 60e9, LAUNCH_SECONDS = 5e-6, LOAD_BYTES_PER_SECOND = 65e9;

/* What is known of a tensor.  A view's root is what it is a view of; all else is about roots. */
typedef struct fact {
    const fm_tensor *tensor;
    struct fact     *root;
    uint32_t         source;      /* place in g->tensors */
    int64_t          step;        /* that makes it, or NONE */
    bool             leaves;      /* another step reads it, or the model's user */
    int64_t          whole, rows; /* constants: weight of each kind, or NONE */
} fact;

typedef struct weight {
    const fact *fact;
    bool        rows;     /* what Gather reads of it */
    bool        cuttable; /* only products use it */
    uint64_t    bytes;
    uint32_t    parts, first, last; /* steps, before cutting */
} weight;

typedef struct step {
    const fm_node    *node; /* its first */
    uint32_t          source;
    fm_capacity_class capacity_class;
    double            macs, bytes;
    uint32_t          parts, first_part;
    int64_t           cut; /* weight that its parts follow, or NONE */
} step;

typedef struct pair { /* a step and what it reads from outside, or a weight that it uses */
    uint32_t step, other;
} pair;

typedef struct builder {
    const fm_graph            *g;
    const fm_instance_options *options;
    fm_arena                  *arena;
    fact                      *facts; /* by address of their tensors */
    step                      *steps;
    size_t                     step_count, step_capacity;
    weight                    *weights;
    size_t                     weight_count, weight_capacity;
    pair                      *reads;
    size_t                     read_count, read_capacity; /* other: place in facts */
    pair                      *uses;
    size_t                     use_count, use_capacity; /* other: weight */
    uint32_t                   part_count, row_count;
} builder;

/* --- options ------------------------------------------------------------------------------------------------------ */

void fm_instance_options_init(fm_instance_options *options) {
    *options = (fm_instance_options){ .speed = 'A', .chunk_bytes = 1 << 20, .m_peak_bytes = 500000000, .lambda = 0.9 };
}

flashmem_status fm_instance_parse(const char *text, fm_instance_options *options, flashmem_error *err) {
    bool form = (text[0] == 'u' || text[0] == 'f') && text[1] == ':' && text[2] >= 'A' && text[2] <= 'C' && !text[3];
    if (!form)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT,
                       "instance '%.40s', expected u:A, u:B, u:C, f:A, f:B or f:C (u: unfused, f: fused; A, B, C: 1.0, "
                       "0.35, 1.25 TMAC/s)",
                       text);
    options->fused = text[0] == 'f';
    options->speed = text[2];
    return FLASHMEM_OK;
}

static double macs_per_second(char speed) { return speed == 'A' ? 1.0e12 : speed == 'B' ? 0.35e12 : 1.25e12; }

static double growth(fm_capacity_class c) {
    return c == FM_CAPACITY_ELEMENTWISE ? 3 : c == FM_CAPACITY_REUSABLE ? 0.2 : 0;
}

static flashmem_status check_options(const fm_instance_options *o, flashmem_error *err) {
    if (o->speed < 'A' || o->speed > 'C')
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "instance speed 0x%02x, expected A, B or C", o->speed & 0xff);
    if (o->slab_bytes && o->slab_bytes < SMALLEST_SLAB)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "slabs of %" PRIu64 " bytes, expected at least %d or 0 (whole)",
                       o->slab_bytes, SMALLEST_SLAB);
    return FLASHMEM_OK;
}

/* --- tensors ------------------------------------------------------------------------------------------------------ */

static int by_tensor(const void *a, const void *b) {
    uintptr_t x = (uintptr_t)((const fact *)a)->tensor, y = (uintptr_t)((const fact *)b)->tensor;
    return x < y ? -1 : x > y;
}

static fact *root_of(const builder *b, const fm_tensor *t) {
    fact key = { .tensor = t };
    return ((fact *)bsearch(&key, b->facts, b->g->tensor_count, sizeof key, by_tensor))->root;
}

static void list_tensors(builder *b) {
    const fm_graph *g = b->g;
    b->facts = fm_arena_array(b->arena, g->tensor_count, sizeof *b->facts);
    for (size_t i = 0; i < g->tensor_count; i++)
        b->facts[i] = (fact){
            .tensor = g->tensors[i], .source = (uint32_t)i, .step = NONE, .whole = NONE, .rows = NONE
        };
    qsort(b->facts, g->tensor_count, sizeof *b->facts, by_tensor);
    for (size_t i = 0; i < g->tensor_count; i++) b->facts[i].root = &b->facts[i];
}

/* Floating-point elements are counted as fp16; others as they are stored. */
static uint64_t counted_bytes(flashmem_dtype dtype, int64_t count) {
    return (uint64_t)count * (fm_dtype_is_float(dtype) ? 2 : fm_dtype_bytes(dtype));
}

static uint64_t tensor_bytes(const fm_tensor *t) { return counted_bytes(t->dtype, fm_shape_count(&t->shape)); }

/* Elements of a constant, what broadcasting repeats counted once: the fewest along its recipe, or those of the largest
 * factor or addend. */
static int64_t constant_count(const fm_tensor *t) {
    int64_t least = fm_shape_count(&t->shape), others = 0;
    for (const fm_recipe *r = t->constant;; r = r->inputs[0]) {
        int64_t count = fm_shape_count(&r->shape);
        if (count < least) least = count;
        if (r->kind == FM_RECIPE_LEAF || r->kind == FM_RECIPE_CONCAT) break;
        if (r->kind != FM_RECIPE_SCALE && r->kind != FM_RECIPE_ADD) continue;
        const fm_recipe *other = r->inputs[1];
        while (other->kind == FM_RECIPE_BROADCAST) other = other->inputs[0];
        count = fm_shape_count(&other->shape);
        if (count > others) others = count;
    }
    return least > others ? least : others;
}

static bool is_weight(const fm_tensor *t) {
    return t->constant && (uint64_t)constant_count(t) * fm_dtype_bytes(t->dtype) > SMALL;
}

/* --- nodes to steps ----------------------------------------------------------------------------------------------- */

/* The step that an elementwise node joins: of those that make what it reads, the one that begins last.  All it reads is
 * then made by that step or one before, so that steps can run in the order in which they begin. */
static int64_t joined_step(const builder *b, const fm_node *node, uint32_t index, fm_capacity_class c) {
    int64_t latest = NONE;
    if (!b->options->fused || c != FM_CAPACITY_ELEMENTWISE) return NONE;
    if (b->options->split && b->options->split[index]) return NONE;
    for (uint32_t i = 0; i < node->input_count; i++) {
        int64_t made = node->inputs[i] ? root_of(b, node->inputs[i])->step : NONE;
        if (made > latest) latest = made;
    }
    return latest;
}

static void make_view(const builder *b, const fm_node *node) {
    if (node->input_count && node->inputs[0] && node->outputs[0])
        root_of(b, node->outputs[0])->root = root_of(b, node->inputs[0]);
}

/* Every node's step, in order; views get that of no step: UINT32_MAX. */
static uint32_t *assign_steps(builder *b) {
    uint32_t *steps = fm_arena_array(b->arena, b->g->node_count, sizeof *steps), index = 0;
    for (const fm_node *node = b->g->first; node; node = node->next, index++) {
        fm_capacity_class c = fm_capacity_of_node(node);
        steps[index] = UINT32_MAX;
        if (c == FM_CAPACITY_NONE) {
            make_view(b, node);
            continue;
        }
        int64_t at = joined_step(b, node, index, c);
        if (at == NONE) {
            at = (int64_t)b->step_count;
            FM_PUSH(b->arena, b->steps, b->step_count, b->step_capacity) = (step){
                .node = node, .source = index, .capacity_class = c, .parts = 1, .cut = NONE
            };
        }
        steps[index] = (uint32_t)at;
        b->steps[at].macs += fm_node_macs(node);
        for (uint32_t i = 0; i < node->output_count; i++)
            if (node->outputs[i]) root_of(b, node->outputs[i])->step = at;
    }
    return steps;
}

/* --- what steps read ---------------------------------------------------------------------------------------------- */

static uint32_t weight_of(builder *b, fact *f, bool rows) {
    int64_t *known = rows ? &f->rows : &f->whole;
    if (*known == NONE) {
        *known = (int64_t)b->weight_count;
        uint64_t bytes = rows ? 0 : counted_bytes(f->tensor->dtype, constant_count(f->tensor));
        FM_PUSH(b->arena, b->weights, b->weight_count, b->weight_capacity) = (weight){
            .fact = f, .rows = rows, .cuttable = !rows, .bytes = bytes, .parts = 1, .first = UINT32_MAX
        };
    }
    return (uint32_t)*known;
}

static void use_constant(builder *b, const fm_node *node, uint32_t input, uint32_t at, fact *f) {
    bool     rows = input == 0 && strcmp(node->op->name, "Gather") == 0;
    uint32_t index = weight_of(b, f, rows);
    weight  *w = &b->weights[index];
    uint64_t table = counted_bytes(f->tensor->dtype, constant_count(f->tensor));
    if (rows) {
        uint64_t read = tensor_bytes(node->outputs[0]);
        w->bytes = read < table - w->bytes ? w->bytes + read : table;
    }
    if (fm_capacity_of_node(node) != FM_CAPACITY_REUSABLE) w->cuttable = false;
    if (w->first > at) w->first = at;
    if (w->last < at) w->last = at;
    FM_PUSH(b->arena, b->uses, b->use_count, b->use_capacity) = (pair){ at, index };
}

static void read_tensor(builder *b, uint32_t at, fact *f) {
    if (f->step == (int64_t)at) return;
    f->leaves = true;
    FM_PUSH(b->arena, b->reads, b->read_count, b->read_capacity) = (pair){ at, (uint32_t)(f - b->facts) };
}

static void collect_reads(builder *b, const uint32_t *steps) {
    uint32_t index = 0;
    for (const fm_node *node = b->g->first; node; node = node->next, index++)
        for (uint32_t i = 0; i < node->input_count && steps[index] != UINT32_MAX; i++) {
            fact *f = node->inputs[i] ? root_of(b, node->inputs[i]) : NULL;
            if (!f) continue;
            if (!f->tensor->constant) read_tensor(b, steps[index], f);
            else if (is_weight(f->tensor)) use_constant(b, node, i, steps[index], f);
        }
    for (size_t i = 0; i < b->g->output_count; i++) root_of(b, b->g->outputs[i])->leaves = true;
}

static int by_pair(const void *a, const void *b) {
    const pair *x = a, *y = b;
    if (x->step != y->step) return x->step < y->step ? -1 : 1;
    return x->other < y->other ? -1 : x->other > y->other;
}

static size_t distinct(pair *pairs, size_t count) {
    size_t kept = 0;
    if (count) qsort(pairs, count, sizeof *pairs, by_pair);
    for (size_t i = 0; i < count; i++)
        if (!kept || by_pair(&pairs[kept - 1], &pairs[i]) != 0) pairs[kept++] = pairs[i];
    return kept;
}

/* Bytes that a step moves: each thing that it reads from outside once, what it makes for others, its weights. */
static void measure_steps(builder *b) {
    b->read_count = distinct(b->reads, b->read_count);
    b->use_count = distinct(b->uses, b->use_count);
    for (size_t i = 0; i < b->read_count; i++)
        b->steps[b->reads[i].step].bytes += (double)tensor_bytes(b->facts[b->reads[i].other].tensor);
    for (size_t i = 0; i < b->use_count; i++)
        b->steps[b->uses[i].step].bytes += (double)b->weights[b->uses[i].other].bytes;
    for (size_t i = 0; i < b->g->tensor_count; i++) {
        const fact *f = &b->facts[i];
        if (f->root == f && f->step != NONE && f->leaves) b->steps[f->step].bytes += (double)tensor_bytes(f->tensor);
    }
}

/* --- slabs -------------------------------------------------------------------------------------------------------- */

/* A step has as many parts as the largest weight that its product uses has slabs. */
static flashmem_status cut(builder *b, flashmem_error *err) {
    uint64_t slab = b->options->slab_bytes, parts = 0, rows = 0;
    for (size_t i = 0; i < b->weight_count; i++) {
        weight *w = &b->weights[i];
        if (slab && w->cuttable && w->bytes > slab) {
            uint64_t count = w->bytes / slab + (w->bytes % slab != 0);
            w->parts = count < MOST_STEPS ? (uint32_t)count : MOST_STEPS;
        }
        rows += w->parts;
    }
    for (size_t i = 0; i < b->use_count; i++) {
        step         *s = &b->steps[b->uses[i].step];
        const weight *w = &b->weights[b->uses[i].other];
        if (w->parts <= s->parts) continue;
        s->parts = w->parts;
        s->cut = (int64_t)b->uses[i].other;
    }
    for (size_t i = 0; i < b->step_count; i++) {
        b->steps[i].first_part = (uint32_t)parts;
        parts += b->steps[i].parts;
        if (parts > MOST_STEPS || rows > MOST_STEPS)
            return fm_fail(err, FLASHMEM_INVALID_ARGUMENT,
                           "%s: slabs of %" PRIu64 " bytes make more than %d steps or weights: choose larger ones",
                           b->g->path, slab, MOST_STEPS);
    }
    b->part_count = (uint32_t)parts;
    b->row_count = (uint32_t)rows;
    return FLASHMEM_OK;
}

static uint64_t slab_bytes(const builder *b, const weight *w, uint32_t part) {
    if (w->parts == 1) return w->bytes;
    uint64_t begin = part * b->options->slab_bytes;
    return w->bytes - begin < b->options->slab_bytes ? w->bytes - begin : b->options->slab_bytes;
}

/* --- fusion ------------------------------------------------------------------------------------------------------- */

static double seconds_of(const builder *b, double macs, double bytes) {
    double compute = macs / macs_per_second(b->options->speed), moving = bytes / BYTES_PER_SECOND;
    return (compute > moving ? compute : moving) + LAUNCH_SECONDS;
}

static uint64_t whole_bytes(double bytes) { return bytes >= 9e18 ? (uint64_t)9e18 : (uint64_t)bytes; }

static uint64_t capacity_of(fm_capacity_class c, double seconds) {
    return whole_bytes(growth(c) * seconds * LOAD_BYTES_PER_SECOND);
}

static double node_bytes(const fm_node *node) {
    double bytes = 0;
    for (uint32_t i = 0; i < node->input_count; i++)
        if (node->inputs[i]) bytes += (double)tensor_bytes(node->inputs[i]);
    for (uint32_t i = 0; i < node->output_count; i++)
        if (node->outputs[i]) bytes += (double)tensor_bytes(node->outputs[i]);
    return bytes;
}

flashmem_status fm_instance_candidates(const fm_graph *g, const fm_instance_options *options, fm_arena *arena,
                                       fm_fusion_candidate **out, uint32_t *count, flashmem_error *err) {
    builder  b = { .g = g, .options = options, .arena = arena };
    size_t   capacity = 0, found = 0;
    uint32_t index = 0;
    *out = NULL;
    FM_TRY(check_options(options, err));
    list_tensors(&b);
    const uint32_t *steps = assign_steps(&b);
    collect_reads(&b, steps);
    measure_steps(&b);
    for (const fm_node *node = g->first; node; node = node->next, index++) {
        const step *s = steps[index] == UINT32_MAX ? NULL : &b.steps[steps[index]];
        if (!s || s->node == node || s->capacity_class != FM_CAPACITY_REUSABLE) continue;
        uint64_t fused = capacity_of(FM_CAPACITY_REUSABLE, seconds_of(&b, s->macs, s->bytes));
        uint64_t own = capacity_of(FM_CAPACITY_ELEMENTWISE, seconds_of(&b, 0, node_bytes(node)));
        FM_PUSH(arena, *out, found, capacity) = (fm_fusion_candidate){
            .name = fm_arena_printf(arena, "%s | %s", s->node->name ? s->node->name : s->node->op->name,
                                    node->name ? node->name : node->op->name),
            .step = steps[index],
            .source = index,
            .fused_bytes = fused,
            .split_bytes = fused + own
        };
    }
    *count = (uint32_t)found;
    return FLASHMEM_OK;
}

/* --- the problem -------------------------------------------------------------------------------------------------- */

static const char *part_name(const builder *b, const char *name, uint32_t parts, uint32_t part) {
    return parts == 1 ? name : fm_arena_printf(b->arena, "%s#%u", name, part);
}

/* Parts share a step's time, its launch included, by the bytes of their slabs. */
static fm_overlap_step *make_steps(const builder *b) {
    fm_overlap_step *out = fm_arena_array(b->arena, b->part_count, sizeof *out);
    for (size_t i = 0; i < b->step_count; i++) {
        const step *s = &b->steps[i];
        double      seconds = seconds_of(b, s->macs, s->bytes);
        for (uint32_t part = 0; part < s->parts; part++) {
            const weight *w = s->cut == NONE ? NULL : &b->weights[s->cut];
            double        share = w ? (double)slab_bytes(b, w, part) / (double)w->bytes : 1, own = seconds * share;
            out[s->first_part + part] = (fm_overlap_step){ .name = part_name(b, s->node->name, s->parts, part),
                                                           .capacity_class = s->capacity_class,
                                                           .seconds = own,
                                                           .capacity_bytes = capacity_of(s->capacity_class, own),
                                                           .source = s->source };
        }
    }
    return out;
}

static uint32_t last_part(const step *s) { return s->first_part + s->parts - 1; }

/* Slab k is used by part k of a step that is cut alike, else by all parts. */
static fm_overlap_weight make_weight(const builder *b, const weight *w, uint32_t part) {
    const step *first = &b->steps[w->first], *last = &b->steps[w->last];
    const char *name = w->fact->tensor->name;
    bool cut_first = w->parts > 1 && first->parts == w->parts, cut_last = w->parts > 1 && last->parts == w->parts;
    if (w->rows && w->fact->whole != NONE) name = fm_arena_printf(b->arena, "%s#rows", name);
    return (fm_overlap_weight){ .name = part_name(b, name, w->parts, part),
                                .bytes = slab_bytes(b, w, part),
                                .first = first->first_part + (cut_first ? part : 0),
                                .last = cut_last ? last->first_part + part : last_part(last),
                                .source = w->fact->source,
                                .part = part };
}

/* Sorted by first use; equal ones in the order in which the graph names them. */
static fm_overlap_weight *make_weights(const builder *b) {
    fm_overlap_weight *made = fm_arena_array(b->arena, b->row_count, sizeof *made), *out;
    uint32_t          *begin = fm_arena_array(b->arena, b->part_count + 1u, sizeof *begin), count = 0;
    for (size_t i = 0; i < b->weight_count; i++)
        for (uint32_t part = 0; part < b->weights[i].parts; part++)
            made[count++] = make_weight(b, &b->weights[i], part);
    for (uint32_t i = 0; i < count; i++) begin[made[i].first + 1]++;
    for (uint32_t l = 0; l < b->part_count; l++) begin[l + 1] += begin[l];
    out = fm_arena_array(b->arena, count, sizeof *out);
    for (uint32_t i = 0; i < count; i++) out[begin[made[i].first]++] = made[i];
    return out;
}

/* "gptn-s f:A" */
static const char *problem_name(const builder *b) {
    const char *slash = strrchr(b->g->path, '/'), *file = slash ? slash + 1 : b->g->path;
    size_t      bytes = strlen(file), end = bytes > 5 && strcmp(file + bytes - 5, ".onnx") == 0 ? bytes - 5 : bytes;
    return fm_arena_printf(b->arena, "%.*s %c:%c", (int)end, file, b->options->fused ? 'f' : 'u', b->options->speed);
}

flashmem_status fm_instance_build(const fm_graph *g, const fm_instance_options *options, fm_arena *arena,
                                  fm_overlap_problem *out, flashmem_error *err) {
    builder b = { .g = g, .options = options, .arena = arena };
    FM_TRY(check_options(options, err));
    list_tensors(&b);
    const uint32_t *steps = assign_steps(&b);
    if (b.step_count == 0)
        return fm_fail(err, FLASHMEM_UNSUPPORTED, "%s: no step is left to plan after folding", g->path);
    collect_reads(&b, steps);
    measure_steps(&b);
    FM_TRY(cut(&b, err));
    *out = (fm_overlap_problem){
        .name = problem_name(&b),
        .step_count = b.part_count,
        .weight_count = b.row_count,
        .chunk_bytes = options->chunk_bytes,
        .m_peak_bytes = options->m_peak_bytes,
        .distance = FM_DISTANCE_WEIGHTS,
    };
    return fm_overlap_problem_finish(out, make_steps(&b), make_weights(&b), options->lambda, err);
}
