/*
 * error.h: one error message a thread, and the two ways a program can stop.
 *
 * Three kinds of fault, three words:
 *   nx_fail     the caller's or the input's fault: a sentence is recorded for this thread,
 *               the function returns false or NULL, nothing is half done;
 *   NX_BUG_IF   our own fault: prints where and aborts;
 *   nx_die_nomem  metadata memory cannot be had: prints and ends the process. (Tensor memory that
 *               cannot be had is an nx_fail like any other.) nx_die_nothread: nor a thread that
 *               nothing works without.
 */
#ifndef NX_BASE_ERROR_H
#define NX_BASE_ERROR_H

#include <stdbool.h>
#include <stddef.h>

/* Records a message for this thread and returns false. Messages begin with the operation or file
 * in brackets: nx_fail("[softmax] axis %d is out of range for %d dimensions", axis, ndim). */
bool nx_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The same, for functions that return a pointer. */
#define nx_fail_null(...) (nx_fail(__VA_ARGS__), NULL)

/* The last message recorded in this thread ("" if none). Valid until the next nx_fail here. */
const char *nx_error_message(void);
void nx_error_clear(void);

/* Puts "prefix: " before the recorded message, to say where an inner failure happened. */
bool nx_fail_in(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

_Noreturn void nx_bug(const char *file, int line, const char *what);
_Noreturn void nx_die_nomem(size_t size);
_Noreturn void nx_die_nothread(void);

#define NX_BUG_IF(cond)                              \
    do {                                             \
        if (__builtin_expect(!!(cond), 0))           \
            nx_bug(__FILE__, __LINE__, #cond);       \
    } while (0)

/* Metadata allocation: never returns NULL. Freed with free(). */
void *nx_malloc(size_t size);
void *nx_calloc(size_t count, size_t size);
void *nx_realloc(void *p, size_t size);
char *nx_strdup(const char *s);
char *nx_strndup(const char *s, size_t n);

#endif
