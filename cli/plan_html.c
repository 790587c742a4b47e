/* page/page.html with the styles, the scripts and the plan put where its markers are.  The plan is JSON by columns:
 *
 *     texts [unique]   model, device, plan, memory, curve: as in plan --json   cost_classes [name]
 *     steps {name [index of texts], start [ms], ...}            objects {...}   weights {..., load [[[step, chunks]...]]}
 *
 * Names come from the user's model.  As JSON in ASCII without '<' they cannot end the element that holds them, and the
 * page only ever shows them as text. */
#include "plan_html.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "arrays.h"
#include "console.h"
#include "flashmem/device.h"
#include "output.h"
#include "page/page.h"
#include "plan_json.h"
#include "plan_why.h"
#include "report.h"

typedef struct texts {
    json_t *list, *index; /* unique texts; from text to its place */
} texts;

static json_t *text_index(texts *t, const char *from) {
    json_t *text = cli_report_text(from), *known = json_object_get(t->index, json_string_value(text));
    if (!known) {
        known = json_integer((json_int_t)json_array_size(t->list));
        json_object_set_new(t->index, json_string_value(text), known);
        json_array_append(t->list, text);
    }
    json_decref(text);
    return json_incref(known);
}

static json_t *ms(double seconds) { return isfinite(seconds) ? json_real(seconds * 1e3) : json_null(); }
static json_t *real(double x) { return isfinite(x) ? json_real(x) : json_null(); }
static json_t *whole(uint64_t n) { return json_integer((json_int_t)n); }

/* One column: `value` of every row r of the plan's array `rows`. */
#define COLUMN(object, key, type, rows, count, value) \
    do {                                              \
        json_t *column_ = json_array();               \
        for (uint32_t i_ = 0; i_ < (count); i_++) {   \
            const type *r = &(rows)[i_];              \
            json_array_append_new(column_, value);    \
        }                                             \
        json_object_set_new(object, key, column_);    \
    } while (0)

#define STEP(key, value) COLUMN(o, key, flashmem_plan_step, p->steps, p->step_count, value)

static json_t *steps_object(const flashmem_plan *p, texts *t) {
    json_t *o = json_object();
    STEP("name", text_index(t, r->name));
    STEP("step", whole(r->step));
    STEP("part", whole(r->part));
    STEP("cost_class", whole(r->cost_class));
    STEP("capacity_class", whole(r->capacity_class));
    STEP("seconds", ms(r->seconds));
    STEP("start", ms(r->start));
    STEP("end", ms(r->end));
    STEP("stall", ms(r->stall));
    STEP("flops", real(r->flops));
    STEP("bytes", real(r->bytes));
    STEP("activation_bytes", whole(r->activation_bytes));
    STEP("weight_bytes", whole(r->weight_bytes));
    STEP("resident_bytes", whole(r->resident_bytes));
    STEP("image_bytes", whole(r->image_bytes));
    STEP("capacity_bytes", whole(r->capacity_bytes));
    STEP("load_bytes", whole(r->load_bytes));
    return o;
}

static json_t *object_why(const flashmem_plan *p, const flashmem_plan_object *r, texts *t) {
    char text[512];
    cli_why_object_text(p, (uint32_t)(r - p->objects), text, sizeof text);
    return text_index(t, text);
}

#define OBJECT(key, value) COLUMN(o, key, flashmem_plan_object, p->objects, p->object_count, value)

static json_t *objects_object(const flashmem_plan *p, texts *t) {
    json_t *o = json_object();
    OBJECT("name", text_index(t, r->name));
    OBJECT("object", whole(r->object));
    OBJECT("part", whole(r->part));
    OBJECT("first_panel", whole(r->first_panel));
    OBJECT("panels", whole(r->panels));
    OBJECT("bytes", whole(r->bytes));
    OBJECT("first", whole(r->first));
    OBJECT("last", whole(r->last));
    OBJECT("resident", whole(r->resident));
    OBJECT("preload", whole(r->preload));
    OBJECT("region", whole(r->region));
    OBJECT("offset", whole(r->offset));
    OBJECT("request", ms(r->request));
    OBJECT("arrival", ms(r->arrival));
    OBJECT("convert_start", ms(r->convert_start));
    OBJECT("convert_end", ms(r->convert_end));
    OBJECT("why", object_why(p, r, t));
    return o;
}

static json_t *weight_why(const flashmem_plan *p, const cli_reason *reason, texts *t) {
    char text[512];
    cli_why_weight_text(p, reason, text, sizeof text);
    return text_index(t, text);
}

static json_t *loads_array(const flashmem_plan *p, const flashmem_plan_weight *w) {
    json_t *loads = json_array();
    for (uint32_t i = 0; i < w->load_count; i++) {
        const flashmem_plan_load *l = &p->loads[w->first_load + i];
        json_array_append_new(loads, json_pack("[I,I]", (json_int_t)l->step, (json_int_t)l->chunks));
    }
    return loads;
}

#define WEIGHT(key, value) COLUMN(o, key, flashmem_plan_weight, p->weights, p->weight_count, value)

/* NULL: no memory. */
static json_t *weights_object(const flashmem_plan *p, texts *t) {
    json_t     *o = json_object();
    cli_reason *reasons = cli_why_weights(p);
    WEIGHT("name", text_index(t, r->name));
    WEIGHT("bytes", whole(r->bytes));
    WEIGHT("chunks", whole(r->chunks));
    WEIGHT("first", whole(r->first));
    WEIGHT("last", whole(r->last));
    WEIGHT("preload", whole(r->preload));
    WEIGHT("load", loads_array(p, r));
    if (reasons) WEIGHT("why", weight_why(p, &reasons[r - p->weights], t));
    free(reasons);
    if (reasons) return o;
    json_decref(o);
    return NULL;
}

static json_t *page_data(const flashmem_plan *p, const cli_curve *curve) {
    json_t *root = json_object(), *classes = json_array();
    texts   t = { json_array(), json_object() };
    for (uint32_t c = 0; c < FLASHMEM_COST_CLASSES; c++)
        json_array_append_new(classes, json_string(flashmem_cost_class_name(c)));
    json_t *weights = weights_object(p, &t);
    json_object_set_new(root, "model", cli_report_text(p->model));
    json_object_set_new(root, "device", cli_report_text(p->device));
    json_object_set_new(root, "plan", cli_plan_figures(p));
    json_object_set_new(root, "memory", cli_plan_memory(p));
    json_object_set_new(root, "cost_classes", classes);
    json_object_set_new(root, "steps", steps_object(p, &t));
    json_object_set_new(root, "objects", objects_object(p, &t));
    json_object_set_new(root, "weights", weights);
    if (curve && curve->count) json_object_set_new(root, "curve", cli_plan_curve(curve));
    json_object_set_new(root, "texts", t.list);
    json_decref(t.index);
    if (weights) return root;
    json_decref(root);
    return NULL;
}

/* --- the page ----------------------------------------------------------------------------------------------------- */

static void write_data(const char *json, FILE *to) {
    for (const char *at = json;;) {
        size_t plain = strcspn(at, "<");
        fwrite(at, 1, plain, to);
        if (!at[plain]) return;
        fputs("\\u003c", to);
        at += plain + 1;
    }
}

static void write_files(const char *ending, FILE *to) {
    for (const cli_page_file *file = cli_page_files; file->name; file++) {
        const char *dot = strrchr(file->name, '.');
        if (dot && !strcmp(dot, ending)) fwrite(file->data, 1, file->bytes, to);
    }
}

/* page.html up to the marker; returns what follows it. */
static const char *write_until(const char *at, const char *marker, FILE *to) {
    const char *found = strstr(at, marker);
    if (!found) return at;
    fwrite(at, 1, (size_t)(found - at), to);
    return found + strlen(marker);
}

static void write_page(const char *json, FILE *to) {
    const char *at = (const char *)cli_page_files[0].data;
    at = write_until(at, "<!--style-->", to);
    write_files(".css", to);
    at = write_until(at, "<!--plan-->", to);
    write_data(json, to);
    at = write_until(at, "<!--script-->", to);
    write_files(".js", to);
    fputs(at, to);
}

int cli_plan_html(const char *path, const flashmem_plan *plan, const cli_curve *curve) {
    flashmem_error error = { 0 };
    cli_output     output;
    json_t        *data = page_data(plan, curve);
    char          *json = data ? json_dumps(data, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(9)) : NULL;
    bool           ok = json || cli_error(&error, FLASHMEM_OUT_OF_MEMORY, "%s: no memory for the page", path);
    json_decref(data);
    if (ok && (ok = cli_output_begin(&output, path, &error))) {
        errno = 0;
        FILE *file = fopen(output.temporary, "w");
        if (file) write_page(json, file);
        bool written = file && !ferror(file);
        written = file && fclose(file) == 0 && written;
        ok = cli_output_end(&output, path, written, &error);
    }
    free(json);
    return ok ? 0 : cli_fail(&error);
}
