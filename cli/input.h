/*
 * input.h: what a verb reads: a file or the standard input, whole.
 */
#ifndef NX_CLI_INPUT_H
#define NX_CLI_INPUT_H

#include <stdbool.h>

#include "base/str.h"

/* Appends all bytes of the file; of stdin where `file` is NULL or "-". False with a message. */
bool input_read(const char *file, nx_str *out);

#endif
