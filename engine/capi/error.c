/* error.h: the process's error handler. */
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>

#include "base/str.h"
#include "engine/capi/capi.h"

/* Counted, so that a handler which is replaced while another thread calls it is freed after that
 * call. */
typedef struct {
    _Atomic int refs;
    mlx_error_handler_func call;
    void *data;
    void (*dtor)(void *);
} handler;

static void print_and_exit(const char *message, void *data)
{
    fprintf(stderr, "MLX error: %s\n", message);
    exit(-1);
}

/* Has one reference more than it has users: it is never freed. */
static handler at_start = {.refs = 2, .call = print_and_exit};
static handler *current = &at_start;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void handler_unref(handler *h)
{
    if (atomic_fetch_sub(&h->refs, 1) != 1)
        return;
    if (h->dtor)
        h->dtor(h->data);
    free(h);
}

void mlx_set_error_handler(mlx_error_handler_func func, void *data, void (*dtor)(void *))
{
    handler *h = &at_start;
    if (func) {
        h = nx_malloc(sizeof *h);
        *h = (handler){.refs = 1, .call = func, .data = data, .dtor = dtor};
    } else {
        atomic_fetch_add(&h->refs, 1);
    }
    pthread_mutex_lock(&lock);
    handler *old = current;
    current = h;
    pthread_mutex_unlock(&lock);
    handler_unref(old);
}

_Thread_local nx_given nx_given_now;

static void report(const char *message)
{
    pthread_mutex_lock(&lock);
    handler *h = current;
    atomic_fetch_add(&h->refs, 1);
    pthread_mutex_unlock(&lock);
    h->call(message, h->data);
    handler_unref(h);
}

int nx_report(void)
{
    char *message = nx_strdup(nx_error_message()); /* the handler may itself call the library */
    nx_given_now.function = NULL;
    report(message);
    free(message);
    return 1;
}

/* Compilers may read arguments backwards: names in the order of the alphabet are the same everywhere. */
static int by_name(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

static void put_array(nx_str *text, const nx_array *a)
{
    nx_str_printf(text, "%s %s", nx_dtype_name((nx_dtype)a->dtype), nx_shape_text(a->shape, a->ndim));
}

/* The first of them: the message stays one that can be read. */
static void put_list(nx_str *text, const nx_array_vec *list)
{
    for (size_t i = 0; i < list->n && i < NX_GIVEN_MAX; i++) {
        nx_str_printf(text, i ? ", " : "[");
        put_array(text, list->at[i]);
    }
    nx_str_printf(text, list->n > NX_GIVEN_MAX ? ", ...]" : list->n ? "]" : "[]");
}

int nx_report_given(const char *function)
{
    nx_given given = nx_given_now;
    nx_given_now.function = NULL;
    if (given.function != function || !given.n)
        return nx_report();
    nx_str text = {0};
    nx_str_printf(&text, "%s (%s of", nx_error_message(), function);
    qsort(given.at, (size_t)given.n, sizeof *given.at, by_name);
    for (int i = 0; i < given.n; i++) {
        nx_str_printf(&text, "%s %s: ", i ? "," : "", given.at[i].name);
        if (given.at[i].list)
            put_list(&text, given.at[i].list);
        else
            put_array(&text, given.at[i].array);
    }
    nx_str_printf(&text, ")");
    nx_fail("%s", nx_str_cstr(&text));
    nx_str_clear(&text);
    return nx_report();
}

int nx_report_empty(const char *function, const char *name)
{
    nx_fail("[%s] %s is empty, a value is needed here", function, name);
    return nx_report();
}

void _mlx_error(const char *file, const int line, const char *fmt, ...)
{
    nx_str message = {0};
    va_list ap;
    va_start(ap, fmt);
    nx_str_vprintf(&message, fmt, ap);
    va_end(ap);
    nx_str_printf(&message, " at %s:%d", file, line);
    report(nx_str_cstr(&message));
    nx_str_clear(&message);
}
