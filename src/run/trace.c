/* Recorded runs as Chrome trace JSON, which Perfetto opens: disk, checks and conversions, kernels, stalls, memory. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "run/model.h"

enum { TRACK_DISK = 1, TRACK_CONVERSION = 64, TRACK_KERNELS = 65, TRACK_STALLS = 66, DISK_LANES = 32 };

typedef struct span {
    uint64_t begin, end, bytes;
    uint32_t track, run;
    uint32_t index; /* object, launch or conversion */
    enum { SPAN_READ, SPAN_CHECK, SPAN_LAUNCH, SPAN_GATHER, SPAN_CONVERT, SPAN_STALL } kind;
} span;

typedef struct change {
    uint64_t at;
    int64_t  bytes;
} change; /* of the engine's own memory */

struct fm_trace {
    span   *spans;
    size_t  span_count, span_capacity;
    change *changes;
    size_t  change_count, change_capacity;
    bool    short_of_memory;
};

void fm_trace_free(fm_trace *trace) {
    if (!trace) return;
    free(trace->spans);
    free(trace->changes);
    free(trace);
}

flashmem_status flashmem_model_trace_begin(flashmem_model *model, flashmem_error *error) {
    if (!model) return fm_fail(error, FLASHMEM_INVALID_ARGUMENT, "no model");
    fm_trace *fresh = calloc(1, sizeof *fresh);
    if (!fresh) return fm_fail(error, FLASHMEM_OUT_OF_MEMORY, "no memory for a trace");
    fm_trace_free(model->trace);
    model->trace = fresh;
    return FLASHMEM_OK;
}

/* --- recording ---------------------------------------------------------------------------------------------------- */

static void *grown(fm_trace *trace, void *items, size_t count, size_t *capacity, size_t each) {
    if (count < *capacity) return items;
    size_t larger = *capacity ? *capacity * 2 : 1024;
    void  *moved = realloc(items, larger * each);
    if (!moved) {
        trace->short_of_memory = true;
        return items;
    }
    *capacity = larger;
    return moved;
}

static void add_span(fm_trace *trace, span s) {
    if (s.end < s.begin || !s.begin) return;
    trace->spans = grown(trace, trace->spans, trace->span_count, &trace->span_capacity, sizeof s);
    if (trace->span_count < trace->span_capacity) trace->spans[trace->span_count++] = s;
}

static void add_change(fm_trace *trace, uint64_t at, int64_t bytes) {
    trace->changes = grown(trace, trace->changes, trace->change_count, &trace->change_capacity, sizeof *trace->changes);
    if (trace->change_count < trace->change_capacity) trace->changes[trace->change_count++] = (change){ at, bytes };
}

/* Reads overlap; each goes to the first lane that is free. */
static void record_reads(flashmem_model *model, const fm_read_record *reads, uint32_t run) {
    uint64_t lanes[DISK_LANES] = { 0 };
    for (uint32_t i = 0; i < reads->count; i++) {
        const fm_chunk_record *c = &reads->chunks[i];
        uint32_t               lane = 0;
        while (lane + 1 < DISK_LANES && lanes[lane] > c->submitted) lane++;
        lanes[lane] = c->completed;
        add_span(model->trace,
                 (span){ c->submitted, c->completed, c->bytes, TRACK_DISK + lane, run, c->object, SPAN_READ });
        add_span(model->trace,
                 (span){ c->check_from, c->check_to, c->bytes, TRACK_CONVERSION, run, c->object, SPAN_CHECK });
    }
}

static void record_launches(flashmem_model *model, const fm_read_record *reads, uint32_t run) {
    const fm_executor *x = &model->executor;
    const fm_replay   *r = &model->replay;
    uint64_t           free_at = x->run_begin > model->device_up ? x->run_begin : model->device_up;
    for (uint32_t k = 0; k < r->step_count; k++) {
        const fm_step_record *record = &x->records[k];
        uint64_t              arrival = fm_needs_arrival(model, reads, k);
        if (arrival > free_at) add_span(model->trace, (span){ free_at, arrival, 0, TRACK_STALLS, run, k, SPAN_STALL });
        bool gather = x->gathers[k].rows > 0;
        add_span(model->trace, (span){ record->begin, record->end, 0, gather ? TRACK_CONVERSION : TRACK_KERNELS, run, k,
                                       gather ? SPAN_GATHER : SPAN_LAUNCH });
        if (record->end > free_at) free_at = record->end;
    }
    for (uint32_t i = 0; i < r->convert_count; i++) {
        const fm_step_record *record = &x->records[r->step_count + i];
        if (record->end)
            add_span(model->trace, (span){ record->begin, record->end, 0, TRACK_CONVERSION, run, i, SPAN_CONVERT });
    }
}

static void record_memory(flashmem_model *model, const fm_read_record *reads) {
    const fm_executor *x = &model->executor;
    const fm_replay   *r = &model->replay;
    if (x->run == 0) add_change(model->trace, x->run_begin, (int64_t)(r->staging_bytes + r->image_bytes));
    for (uint32_t o = 0; o < r->object_count; o++) {
        if (!reads->requested[o]) continue;
        add_change(model->trace, reads->requested[o], (int64_t)r->objects[o].bytes);
        if (!r->objects[o].resident)
            add_change(model->trace, x->records[r->objects[o].freed].end, -(int64_t)r->objects[o].bytes);
    }
    for (uint32_t v = 0; v < model->program->value_count; v++) {
        const fm_replay_value *value = &r->values[v];
        if (!value->placed || value->from < 0 || value->to >= (int32_t)r->step_count) continue;
        add_change(model->trace, value->from == 0 ? x->run_begin : x->records[value->from].begin,
                   (int64_t)value->bytes);
        add_change(model->trace, value->to + 1 == (int32_t)r->step_count ? x->run_end : x->records[value->to].end,
                   -(int64_t)value->bytes);
    }
}

void fm_trace_record_run(flashmem_model *model) {
    const fm_read_record *reads = fm_reader_record(model->reader, model->executor.run);
    record_reads(model, reads, (uint32_t)model->executor.run);
    record_launches(model, reads, (uint32_t)model->executor.run);
    record_memory(model, reads);
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static void write_text(FILE *to, const char *text) {
    fputc('"', to);
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c == '"' || *c == '\\') fprintf(to, "\\%c", *c);
        else if (*c < 0x20) fprintf(to, "\\u%04x", *c);
        else fputc(*c, to);
    }
    fputc('"', to);
}

static double micros(const flashmem_model *model, uint64_t at) {
    return at > model->opened ? (double)(at - model->opened) * 1e-3 : 0;
}

static const char *launch_name(const flashmem_model *model, uint32_t k) {
    return fm_program_string(model->program, model->program->steps[model->replay.steps[k].step].name);
}

static void span_name(const flashmem_model *model, const span *s, char *name, size_t bytes) {
    const fm_replay         *r = &model->replay;
    const fm_replay_step    *step = s->kind == SPAN_LAUNCH || s->kind == SPAN_GATHER || s->kind == SPAN_STALL
                                        ? &r->steps[s->index]
                                        : NULL;
    const fm_replay_convert *copied = s->kind == SPAN_CONVERT ? &r->converts[s->index] : NULL;
    switch (s->kind) {
    case SPAN_READ: snprintf(name, bytes, "%s", model->objects[s->index].name); break;
    case SPAN_CHECK: snprintf(name, bytes, "check %s", model->objects[s->index].name); break;
    case SPAN_CONVERT:
        if (copied->panels < r->images[copied->image].panels)
            snprintf(name, bytes, "image %u [%u+%u]", copied->image, copied->first_panel, copied->panels);
        else snprintf(name, bytes, "image %u", copied->image);
        break;
    case SPAN_STALL: snprintf(name, bytes, "wait: %s", launch_name(model, s->index)); break;
    case SPAN_GATHER: snprintf(name, bytes, "rows: %s", launch_name(model, s->index)); break;
    case SPAN_LAUNCH:
        if (step->panels)
            snprintf(name, bytes, "%s [%u+%u]", launch_name(model, s->index), step->first_panel, step->panels);
        else snprintf(name, bytes, "%s", launch_name(model, s->index));
        break;
    }
}

static void write_span(FILE *to, const flashmem_model *model, const span *s) {
    char name[512];
    span_name(model, s, name, sizeof name);
    fputs(",\n{\"ph\":\"X\",\"pid\":1,\"name\":", to);
    write_text(to, name);
    fprintf(to, ",\"tid\":%u,\"ts\":%.3f,\"dur\":%.3f,\"args\":{\"run\":%u,\"index\":%u,\"bytes\":%" PRIu64 "}}",
            s->track, micros(model, s->begin), (double)(s->end - s->begin) * 1e-3, s->run, s->index, s->bytes);
}

static void write_track(FILE *to, uint32_t track, const char *name, uint32_t number) {
    fprintf(to, ",\n{\"ph\":\"M\",\"pid\":1,\"tid\":%u,\"name\":\"thread_name\",\"args\":{\"name\":\"%s", track, name);
    if (number != UINT32_MAX) fprintf(to, " %u", number);
    fprintf(to,
            "\"}},\n{\"ph\":\"M\",\"pid\":1,\"tid\":%u,\"name\":\"thread_sort_index\",\"args\":{\"sort_index\":%u}}",
            track, track);
}

static int by_time(const void *a, const void *b) {
    uint64_t x = ((const change *)a)->at, y = ((const change *)b)->at;
    return (x > y) - (x < y);
}

static void write_memory(FILE *to, const flashmem_model *model) {
    fm_trace *trace = model->trace;
    int64_t   bytes = 0;
    if (trace->change_count) qsort(trace->changes, trace->change_count, sizeof *trace->changes, by_time);
    for (size_t i = 0; i < trace->change_count; i++) {
        bytes += trace->changes[i].bytes;
        if (i + 1 < trace->change_count && trace->changes[i + 1].at == trace->changes[i].at) continue;
        fprintf(to, ",\n{\"ph\":\"C\",\"pid\":1,\"name\":\"memory\",\"ts\":%.3f,\"args\":{\"bytes\":%" PRId64 "}}",
                micros(model, trace->changes[i].at), bytes);
    }
}

static void write_events(FILE *to, const flashmem_model *model) {
    const fm_trace *trace = model->trace;
    uint32_t        lanes = 0;
    for (size_t i = 0; i < trace->span_count; i++)
        if (trace->spans[i].track < TRACK_CONVERSION && trace->spans[i].track > lanes) lanes = trace->spans[i].track;
    fputs("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n"
          "{\"ph\":\"M\",\"pid\":1,\"name\":\"process_name\",\"args\":{\"name\":\"flashmem\"}}",
          to);
    for (uint32_t lane = TRACK_DISK; lane <= lanes; lane++) write_track(to, lane, "disk", lane - TRACK_DISK);
    write_track(to, TRACK_CONVERSION, "conversion", UINT32_MAX);
    write_track(to, TRACK_KERNELS, "kernels", UINT32_MAX);
    write_track(to, TRACK_STALLS, "stalls", UINT32_MAX);
    for (size_t i = 0; i < trace->span_count; i++) write_span(to, model, &trace->spans[i]);
    write_memory(to, model);
    fputs("\n]}\n", to);
}

flashmem_status flashmem_model_trace_write(flashmem_model *model, const char *path, flashmem_error *error) {
    char  *text = NULL;
    size_t bytes = 0;
    if (!model || !model->trace) return fm_fail(error, FLASHMEM_INVALID_ARGUMENT, "no trace was begun");
    if (model->trace->short_of_memory) fm_warn(&model->log, "trace", "the trace is cut: no memory for more");
    FILE *to = open_memstream(&text, &bytes);
    if (!to) return fm_fail_errno(error, errno, "%s: compose the trace", path);
    write_events(to, model);
    bool            failed = fclose(to) != 0;
    flashmem_status status = failed ? fm_fail(error, FLASHMEM_OUT_OF_MEMORY, "%s: no memory to compose the trace", path)
                                    : fm_file_save(path, text, bytes, error);
    free(text);
    return status;
}
