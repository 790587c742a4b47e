/* See wordpiece.h. */
#include "wordpiece.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define LONGEST_WORD 100 /* code points; longer words are [UNK], as in the reference tokenizer */

typedef struct entry {
    const char *token;
    int64_t     id;
} entry;

struct wordpiece {
    char   *text;    /* the vocabulary file, line ends replaced by NUL */
    entry  *entries; /* sorted by token */
    size_t  count;
    int64_t cls, sep, unk;
};

static int compare(const void *a, const void *b) {
    return strcmp(((const entry *)a)->token, ((const entry *)b)->token);
}

static int64_t find(const wordpiece *w, const char *token) {
    entry key = { token, 0 }, *found = bsearch(&key, w->entries, w->count, sizeof key, compare);
    return found ? found->id : -1;
}

static char *load(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    char *text = NULL;
    long  size = fseek(file, 0, SEEK_END) ? -1 : ftell(file);
    if (size >= 0 && !fseek(file, 0, SEEK_SET) && (text = calloc(1, (size_t)size + 1)) &&
        fread(text, 1, (size_t)size, file) != (size_t)size) {
        free(text);
        text = NULL;
    }
    fclose(file);
    return text;
}

wordpiece *wordpiece_open(const char *path, char *error, size_t error_bytes) {
    wordpiece *w = calloc(1, sizeof *w);
    if (!w || !(w->text = load(path))) {
        snprintf(error, error_bytes, "%s: %s", path, strerror(errno));
        return free(w), NULL;
    }
    size_t lines = 1;
    for (const char *c = w->text; *c; c++) lines += *c == '\n' || *c == '\r';
    w->entries = calloc(lines, sizeof *w->entries);
    for (char *line = w->text; w->entries && *line;) {
        char *end = line + strcspn(line, "\r\n"), *next = end + strspn(end, "\r");
        if (*next == '\n') next++;
        *end = 0;
        w->entries[w->count] = (entry){ line, (int64_t)w->count };
        w->count++;
        line = next;
    }
    if (w->entries) qsort(w->entries, w->count, sizeof *w->entries, compare);
    w->cls = find(w, "[CLS]");
    w->sep = find(w, "[SEP]");
    w->unk = find(w, "[UNK]");
    if (w->entries && w->cls >= 0 && w->sep >= 0 && w->unk >= 0) return w;
    snprintf(error, error_bytes, "%s: not a BERT vocabulary (no [CLS], [SEP], [UNK])", path);
    wordpiece_close(w);
    return NULL;
}

void wordpiece_close(wordpiece *w) {
    if (!w) return;
    free(w->entries);
    free(w->text);
    free(w);
}

static bool is_punctuation(utf8proc_int32_t c) {
    if (c < 128) return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
    utf8proc_category_t k = utf8proc_category(c);
    return k >= UTF8PROC_CATEGORY_PC && k <= UTF8PROC_CATEGORY_PO;
}

static bool is_ideograph(utf8proc_int32_t c) {
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2CEAF) ||
           (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

static bool is_space(utf8proc_int32_t c) {
    utf8proc_category_t k = utf8proc_category(c);
    return c == '\t' || c == '\n' || c == '\r' || (k >= UTF8PROC_CATEGORY_ZS && k <= UTF8PROC_CATEGORY_ZP);
}

static bool is_dropped(utf8proc_int32_t c) {
    utf8proc_category_t k = utf8proc_category(c);
    return c == 0 || c == 0xFFFD || k == UTF8PROC_CATEGORY_CC || k == UTF8PROC_CATEGORY_CF || k == UTF8PROC_CATEGORY_MN;
}

/* Greedy longest match over one word of UTF-8; appends up to limit ids. */
static size_t encode_word(const wordpiece *w, const char *word, size_t bytes, size_t points, int64_t *ids,
                          size_t limit) {
    int64_t pieces[LONGEST_WORD];
    size_t  count = 0;
    for (size_t start = 0; start < bytes && points <= LONGEST_WORD;) {
        char    piece[4 * LONGEST_WORD + 3] = "##";
        int64_t id = -1;
        size_t  end = bytes;
        for (; end > start; end--) {
            if (end < bytes && ((unsigned char)word[end] & 0xC0) == 0x80) continue; /* inside a code point */
            size_t prefix = start ? 2 : 0;
            memcpy(piece + prefix, word + start, end - start);
            piece[prefix + end - start] = 0;
            if ((id = find(w, piece)) >= 0) break;
        }
        if (id < 0) {
            count = 0;
            break;
        }
        pieces[count++] = id;
        start = end;
    }
    if (!count) pieces[count++] = w->unk;
    if (count > limit) count = limit;
    memcpy(ids, pieces, count * sizeof *ids);
    return count;
}

typedef struct word_buffer {
    char   bytes[4 * LONGEST_WORD + 4];
    size_t used, points;
} word_buffer;

static void add_point(word_buffer *b, utf8proc_int32_t c) {
    if (b->points++ < LONGEST_WORD) b->used += (size_t)utf8proc_encode_char(c, (utf8proc_uint8_t *)b->bytes + b->used);
}

static size_t flush(const wordpiece *w, word_buffer *b, int64_t *ids, size_t limit) {
    size_t n = b->points ? encode_word(w, b->bytes, b->used, b->points, ids, limit) : 0;
    b->used = b->points = 0;
    return n;
}

size_t wordpiece_encode(const wordpiece *w, const char *text, int64_t *ids, size_t limit) {
    if (limit < 2) return 0;
    size_t                  count = 0, last = limit - 1; /* room for [SEP] */
    word_buffer             word = { .used = 0 };
    const utf8proc_uint8_t *at = (const utf8proc_uint8_t *)text;
    utf8proc_ssize_t        left = (utf8proc_ssize_t)strlen(text);
    ids[count++] = w->cls;
    while (left > 0) {
        utf8proc_int32_t c, parts[8];
        utf8proc_ssize_t used = utf8proc_iterate(at, left, &c);
        if (used < 1) {
            at++;
            left--;
            continue;
        }
        at += used;
        left -= used;
        int              boundary = 0;
        utf8proc_ssize_t n = utf8proc_decompose_char(utf8proc_tolower(c), parts, 8, UTF8PROC_DECOMPOSE, &boundary);
        for (utf8proc_ssize_t i = 0; i < n && i < 8; i++) {
            if (is_space(parts[i])) count += flush(w, &word, ids + count, last - count);
            else if (is_dropped(parts[i])) continue;
            else if (is_punctuation(parts[i]) || is_ideograph(parts[i])) {
                count += flush(w, &word, ids + count, last - count);
                add_point(&word, parts[i]);
                count += flush(w, &word, ids + count, last - count);
            } else add_point(&word, parts[i]);
        }
    }
    count += flush(w, &word, ids + count, last - count);
    ids[count++] = w->sep;
    return count;
}
