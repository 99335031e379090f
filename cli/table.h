/*
 * table.h: a table of text, aligned by the cells that characters take on a screen. On a terminal
 * it is cut to the width there is and coloured; elsewhere it is whole and plain.
 */
#ifndef NX_CLI_TABLE_H
#define NX_CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/str.h"

typedef struct {
    const char *title;
    bool right; /* figures stand at the right edge */
    int shrink; /* least cells it may be cut to where the screen is narrow; 0: never cut */
    int drop;   /* left out where cutting is not enough, the highest first; 0: never */
} table_column;

typedef enum { TABLE_PLAIN, TABLE_GOOD, TABLE_WARN, TABLE_BAD, TABLE_DIM, TABLE_STRONG } table_look;

typedef struct table table;

table *table_new(const table_column *columns, int n);
void table_free(table *t);
/* The next cell, row by row. Control characters are shown, invalid bytes replaced. */
void table_add(table *t, table_look look, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void table_print(const table *t, FILE *out);

/* Columns of the terminal on fd; 0: it is none. */
int table_screen(int fd);
/* Cells that valid UTF-8 takes. */
int table_cells(const char *text, size_t n);
/* Text that a terminal can show as one line: control characters as ^J, invalid bytes as U+FFFD. */
void table_clean(nx_str *out, const char *text);

/* "135M", "8.03B" */
const char *table_count(unsigned long long n, char *out, size_t size);

/* The escape that begins a look, or "" where out is no terminal that knows colours; look PLAIN ends
 * it. */
const char *table_color(FILE *out, table_look look);

#endif
