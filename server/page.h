/* page.h: the page's files, embedded when the program is built (cmake/EmbedPage.cmake). */
#ifndef NX_SERVER_PAGE_H
#define NX_SERVER_PAGE_H

#include <stddef.h>

typedef struct {
    const char *path; /* "/app.js"; ends with a row without path */
    const unsigned char *bytes;
    const size_t *size;
} page_file;

extern const page_file page_files[];

#endif
