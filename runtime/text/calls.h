/*
 * calls.h: tool calls in the forms that families write them, found by their look alone:
 *
 *     {"name": "f", "arguments": {...}}, lists of them, {"f": {...}}       JSON
 *     <function=f><parameter=k>v</parameter></function>                    tags, of any prefix, also
 *     <invoke name="f"><parameter name="k">v</parameter></invoke>          "｜DSML｜" or "minimax:"
 *     f <arg_key>k</arg_key><arg_value>v</arg_value>
 *     f[ARGS]{...}    f<sep>{...}    functions.f:0<…begin|>{...}           a name, a mark, JSON
 *     [f(k='v', n=3)]    call:f{k:<|"|>v<|"|>,n:3}                         literals
 */
#ifndef NX_RUNTIME_TEXT_CALLS_H
#define NX_RUNTIME_TEXT_CALLS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* arguments: JSON text, an object but where the model wrote a text in its place. */
typedef void (*calls_fn)(const char *name, const char *arguments, void *user);

/* Tells each call in the text (NUL-terminated), in order; how many there were. tools: their
 * descriptions as OpenAI's interface has them, or NULL; by them a value that is to be a text stays
 * one, whatever it looks like. */
size_t calls_read(const char *text, const json_t *tools, calls_fn fn, void *user);

/* ---- for the files that read them ---- */

typedef struct {
    const json_t *tools;
    calls_fn fn;
    void *user;
    size_t count;
} calls_reader;

/* Takes the object. */
void calls_tell(calls_reader *r, const char *name, json_t *arguments);
/* A value as it was written: of a text's type a text, else JSON or Python's words for it, else a text. */
json_t *calls_value(const calls_reader *r, const char *function, const char *key, const char *text,
                    size_t n);
/* Is there a tool of this name? With no descriptions, whether it looks like one's. */
bool calls_known(const calls_reader *r, const char *name);

bool calls_read_tags(calls_reader *r, const char *text);
bool calls_read_literals(calls_reader *r, const char *text);

#endif
