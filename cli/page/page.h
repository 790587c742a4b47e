/* The parts of the page that plan --html writes, carried in the program as bytes (tools/embed.c).  Who may include: cli. */
#ifndef CLI_PAGE_H
#define CLI_PAGE_H

#include <stddef.h>
#include <stdint.h>

typedef struct cli_page_file {
    const char          *name; /* "page.html": no folder */
    const unsigned char *data; /* a NUL follows the last byte */
    size_t               bytes;
    uint64_t             hash;
} cli_page_file;

extern const cli_page_file cli_page_files[]; /* in the order of FM_CLI_PAGE; cli_page_file_count, then one with name NULL */
extern const size_t        cli_page_file_count;

#endif
