/*
 * json_out.h: JSON as the verbs print it.
 */
#ifndef NX_CLI_JSON_OUT_H
#define NX_CLI_JSON_OUT_H

#include <jansson.h>
#include <stdint.h>

/* Text that may hold anything: invalid UTF-8 becomes U+FFFD. */
json_t *json_out_text(const char *text);
/* A whole number that JSON readers keep exactly. */
json_t *json_out_count(uint64_t n);
/* Prints it on stdout, indented, and gives it back. The exit code. */
int json_out_print(json_t *take);

#endif
