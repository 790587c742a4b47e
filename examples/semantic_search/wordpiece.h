/* WordPiece tokenizer as uncased BERT models use it: lower case, accents stripped, punctuation split off, then the
 * longest vocabulary entry first.  Source of the method: Devlin et al., 2019, and the model's vocab.txt. */
#ifndef WORDPIECE_H
#define WORDPIECE_H

#include <stddef.h>
#include <stdint.h>

typedef struct wordpiece wordpiece;

/* One token per line; the line number is its id.  NULL with a message in error: unreadable, or [CLS], [SEP], [UNK]
 * missing. */
wordpiece *wordpiece_open(const char *vocabulary_path, char *error, size_t error_bytes);
void       wordpiece_close(wordpiece *w);

/* Writes [CLS] ... [SEP] to ids (at most limit, the rest of the text is cut off) and returns their number; text is
 * UTF-8, ill-formed bytes are skipped. */
size_t wordpiece_encode(const wordpiece *w, const char *text, int64_t *ids, size_t limit);

#endif
