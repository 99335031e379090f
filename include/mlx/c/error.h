/*
 * error.h: who is told of errors.
 *
 * A function that fails calls the handler once, in the calling thread, before it returns. The
 * handler that is there at the start prints the message and ends the process with status -1.
 */
#ifndef MLX_C_ERROR_H
#define MLX_C_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

/* Is given the message, valid during the call, and the data it was set with. */
typedef void (*mlx_error_handler_func)(const char *msg, void *data);

/* Sets the handler for the whole process; NULL brings back the first one. When another handler
 * takes its place, dtor(data) is called (dtor may be NULL). */
void mlx_set_error_handler(mlx_error_handler_func handler, void *data, void (*dtor)(void *));
/* Reports an error to the handler: where, and a printf format with its arguments. */
void _mlx_error(const char *file, const int line, const char *fmt, ...);

/* The same, saying where it stands. */
#define mlx_error(...) _mlx_error(__FILE__, __LINE__, __VA_ARGS__)

#ifdef __cplusplus
}
#endif

#endif
