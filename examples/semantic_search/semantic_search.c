/* Semantic search over a file of sentences, with a sentence-embedding model streamed through a memory budget.
 *
 *     semantic_search MODEL.onnx VOCAB.txt SENTENCES.txt [--budget PERCENT] [--pack FILE] [--check] [QUERY...]
 *
 * The model maps token ids [batch, sequence] to hidden states [batch, sequence, width]; a sentence's embedding is their
 * mean over its own tokens, normalised.  Uses only the public interface of the two libraries. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "flashmem/compile.h"
#include "flashmem/run.h"
#include "wordpiece.h"

enum { BATCH = 8, SEQUENCE = 32, MAX_SENTENCES = 4096, BEST = 3 };

typedef struct search {
    const char *model, *vocabulary, *sentences, *pack;
    double      budget_percent;
    int         check, query_count;
    char      **queries;
} search;

typedef struct embedder {
    wordpiece      *tokens;
    flashmem_model *model;
    int64_t         ids[BATCH][SEQUENCE], mask[BATCH][SEQUENCE], types[BATCH][SEQUENCE];
    uint32_t        width;
} embedder;

static int fail(const flashmem_error *error) { return fprintf(stderr, "semantic_search: %s\n", error->message), 1; }

static void log_line(void *user, flashmem_log_level level, const char *category, const char *message) {
    (void)user;
    if (level <= FLASHMEM_LOG_WARN) fprintf(stderr, "%s: %s\n", category, message);
}

/* A bar for a person at a terminal; nothing elsewhere. */
static int show_progress(void *user, const char *stage, uint64_t done, uint64_t total) {
    static const char full[] = "##############################";
    static int        shown = -1;
    int               part = total ? (int)(30 * done / total) : 30;
    (void)user;
    if (part != shown && isatty(2))
        fprintf(stderr, "\r%-10s [%.*s%*s]%s", stage, part, full, 30 - part, "", part < 30 ? "" : "\r\033[K");
    shown = part;
    return 0;
}

/* Compiles when the pack is missing or older than the model or this program. */
static int make_pack(const search *s, flashmem_error *error) {
    struct stat model, pack, program = { 0 };
    if (stat(s->model, &model)) return fprintf(stderr, "semantic_search: %s: not there\n", s->model), 1;
    stat("/proc/self/exe", &program);
    if (!stat(s->pack, &pack) && pack.st_mtime > model.st_mtime && pack.st_mtime > program.st_mtime) return 0;
    const flashmem_shape     shapes[] = { { "batch", 0, { BATCH } }, { "sequence", 0, { SEQUENCE } } };
    flashmem_compile_options options;
    flashmem_compile_options_init(&options);
    options.shapes = shapes;
    options.shape_count = 2;
    options.log = log_line;
    options.progress = show_progress;
    return flashmem_device_layout(NULL, NULL, &options.layout, error) ||
                   flashmem_compile(s->model, s->pack, &options, NULL, error)
               ? fail(error)
               : 0;
}

static int open_embedder(embedder *e, const search *s, flashmem_error *error) {
    char why[512];
    if (!(e->tokens = wordpiece_open(s->vocabulary, why, sizeof why)))
        return fprintf(stderr, "semantic_search: %s\n", why), 1;
    int code = make_pack(s, error);
    if (code) return code;
    flashmem_run_options options;
    flashmem_run_options_init(&options);
    options.budget_kind = FLASHMEM_BUDGET_PERCENT;
    options.budget_value = s->budget_percent;
    options.log = log_line;
    options.progress = show_progress;
    if (flashmem_model_open(s->pack, &options, &e->model, error)) return fail(error);
    for (uint32_t i = 0; i < flashmem_model_input_count(e->model); i++) {
        flashmem_tensor_info info;
        flashmem_model_input_info(e->model, i, &info);
        void *data = strstr(info.name, "mask")   ? (void *)e->mask
                     : strstr(info.name, "type") ? (void *)e->types
                                                 : (void *)e->ids;
        if (flashmem_model_bind_input(e->model, i, data, sizeof e->ids, error)) return fail(error);
    }
    flashmem_tensor_info out;
    flashmem_model_output_info(e->model, 0, &out);
    e->width = (uint32_t)out.dims[2];
    return 0;
}

/* Unit embeddings [count, width] of up to BATCH texts. */
static int embed(embedder *e, char *const *texts, int count, float *to, flashmem_error *error) {
    memset(e->ids, 0, sizeof e->ids);
    memset(e->mask, 0, sizeof e->mask);
    for (int row = 0; row < BATCH; row++) { /* rows beyond count repeat the last text */
        size_t n = wordpiece_encode(e->tokens, texts[row < count ? row : count - 1], e->ids[row], SEQUENCE);
        for (size_t i = 0; i < n; i++) e->mask[row][i] = 1;
    }
    if (flashmem_model_run(e->model, error)) return fail(error);
    const float *hidden = flashmem_model_output(e->model, 0);
    for (int row = 0; row < count; row++) {
        double norm = 0;
        for (uint32_t c = 0; c < e->width; c++) {
            double sum = 0;
            for (int t = 0; t < SEQUENCE; t++)
                sum += e->mask[row][t] ? (double)hidden[((size_t)row * SEQUENCE + t) * e->width + c] : 0;
            to[(size_t)row * e->width + c] = (float)sum;
            norm += sum * sum;
        }
        for (uint32_t c = 0; c < e->width; c++) to[(size_t)row * e->width + c] /= (float)sqrt(norm);
    }
    return 0;
}

static double cosine(const float *a, const float *b, uint32_t width) {
    double sum = 0;
    for (uint32_t c = 0; c < width; c++) sum += (double)a[c] * (double)b[c];
    return sum;
}

/* Published similarities of this model to "A man is eating food."; a wrong bit anywhere moves them. */
static int check_known(embedder *e, flashmem_error *error) {
    static const struct {
        const char *text;
        double      cosine;
    } known[] = {
        { "A man is eating a piece of bread.", 0.755337 },
        { "Someone has lunch.", 0.511639 },
        { "The girl is carrying a baby.", -0.104958 },
    };
    char  *texts[4] = { (char *)"A man is eating food.", (char *)known[0].text, (char *)known[1].text,
                        (char *)known[2].text };
    float *rows = calloc((size_t)4 * e->width, sizeof *rows);
    int    code = rows ? embed(e, texts, 4, rows, error) : 1;
    if (!code) printf("\nSimilarity to \"%s\"\n", texts[0]);
    for (int i = 0; i < 3 && !code; i++) {
        double got = cosine(rows, rows + (size_t)(i + 1) * e->width, e->width);
        int    good = fabs(got - known[i].cosine) <= 1e-3;
        printf("  %9.6f   published %9.6f   %s   %s\n", got, known[i].cosine, good ? "ok   " : "WRONG", known[i].text);
        if (!good) code = 1;
    }
    free(rows);
    return code;
}

static int read_sentences(const char *path, char **lines) {
    FILE *file = fopen(path, "r");
    if (!file) return fprintf(stderr, "semantic_search: %s: cannot be read\n", path), -1;
    char buffer[2048];
    int  count = 0;
    while (count < MAX_SENTENCES && fgets(buffer, sizeof buffer, file)) {
        buffer[strcspn(buffer, "\r\n")] = 0;
        if (*buffer && (lines[count] = strdup(buffer))) count++;
    }
    fclose(file);
    return count;
}

static int answer(embedder *e, char *query, char **lines, const float *rows, int count, flashmem_error *error) {
    float *q = calloc(e->width, sizeof *q);
    char  *one[] = { query };
    char   used[MAX_SENTENCES] = { 0 };
    int    code = q ? embed(e, one, 1, q, error) : 1;
    if (!code) printf("\nQuery: %s\n", query);
    for (int rank = 0; rank < BEST && rank < count && !code; rank++) {
        int    best = -1;
        double score = -2;
        for (int i = 0; i < count; i++) {
            double s = cosine(q, rows + (size_t)i * e->width, e->width);
            if (!used[i] && s > score) score = s, best = i;
        }
        used[best] = 1;
        printf("  %6.3f  %s\n", score, lines[best]);
    }
    free(q);
    return code;
}

static int run(const search *s) {
    flashmem_error error = { 0 };
    embedder      *e = calloc(1, sizeof *e);
    char         **lines = calloc(MAX_SENTENCES, sizeof *lines);
    float         *rows = NULL;
    int            count = e && lines ? read_sentences(s->sentences, lines) : -1, code = count < 0;
    if (!code && !(code = open_embedder(e, s, &error))) {
        rows = calloc(((size_t)count + BATCH) * e->width, sizeof *rows);
        code = rows ? 0 : 1;
    }
    for (int i = 0; i < count && !code; i += BATCH)
        code = embed(e, lines + i, count - i < BATCH ? count - i : BATCH, rows + (size_t)i * e->width, &error);
    if (!code) {
        flashmem_stats stats;
        flashmem_model_stats(e->model, &stats);
        printf("%d sentences embedded; weights %.1f MB, streamed through %.1f MB\n", count,
               (double)stats.weight_bytes * 1e-6, (double)stats.planned_peak_bytes * 1e-6);
    }
    for (int i = 0; i < s->query_count && !code; i++) code = answer(e, s->queries[i], lines, rows, count, &error);
    if (!code && s->check) code = check_known(e, &error);
    free(rows);
    for (int i = 0; i < count; i++) free(lines[i]);
    free(lines);
    if (e) {
        flashmem_model_close(e->model);
        wordpiece_close(e->tokens);
    }
    free(e);
    return code;
}

/* -1: not a number. */
static double percentage(const char *text) {
    char  *end;
    double value = strtod(text, &end);
    return end == text || (*end && strcmp(end, "%")) || !(value >= 0) ? -1 : value;
}

int main(int argc, char **argv) {
    char  *words[64];
    int    count = 0;
    search s = { .budget_percent = 25, .pack = "semantic_search.flm" };
    for (int i = 1; i < argc && count < 64; i++) {
        if (!strcmp(argv[i], "--check")) s.check = 1;
        else if (!strcmp(argv[i], "--budget") && i + 1 < argc) s.budget_percent = percentage(argv[++i]);
        else if (!strcmp(argv[i], "--pack") && i + 1 < argc) s.pack = argv[++i];
        else words[count++] = argv[i];
    }
    if (count < 3 || s.budget_percent < 0) {
        fputs("usage: semantic_search MODEL.onnx VOCAB.txt SENTENCES.txt [--budget PERCENT] [--pack FILE] [--check] "
              "[QUERY...]\n",
              stderr);
        return 2;
    }
    s.model = words[0];
    s.vocabulary = words[1];
    s.sentences = words[2];
    s.queries = words + 3;
    s.query_count = count - 3;
    return run(&s);
}
