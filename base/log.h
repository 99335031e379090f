/*
 * log.h: lines on stderr, by level. NEXUS_LOG=error|warn|info|debug chooses; warn by default.
 */
#ifndef NX_BASE_LOG_H
#define NX_BASE_LOG_H

#include <stdbool.h>

typedef enum { NX_LOG_ERROR, NX_LOG_WARN, NX_LOG_INFO, NX_LOG_DEBUG } nx_log_level;

bool nx_log_on(nx_log_level level);
void nx_log_set(nx_log_level level); /* overrides the environment (a command's --verbose) */
void nx_log(nx_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define nx_error(...) nx_log(NX_LOG_ERROR, __VA_ARGS__)
#define nx_warn(...) nx_log(NX_LOG_WARN, __VA_ARGS__)
#define nx_info(...) nx_log(NX_LOG_INFO, __VA_ARGS__)
#define nx_debug(...) nx_log(NX_LOG_DEBUG, __VA_ARGS__)

#endif
