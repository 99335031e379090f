/*
 * engine.h: how the runtime drives the engine: from one thread of its own, whoever calls. (Apple's
 * MLX ties streams, default devices and random keys to a thread; on ours it would not matter.)
 * Engine errors are collected as nx_fail messages instead of ending the process.
 */
#ifndef NX_RUNTIME_NN_ENGINE_H
#define NX_RUNTIME_NN_ENGINE_H

#include <nexus/engine.h>
#include <stdbool.h>

/* Runs fn(arg) on the engine thread and waits. Its result, and after false its error message, become
 * the caller's. On the engine thread itself, a plain call. */
bool engine_run(bool (*fn)(void *arg), void *arg);

/* Queues fn(arg) and returns. Jobs run in order. */
void engine_post(void (*fn)(void *arg), void *arg);

/* Our engine's extensions, NULL where the engine is another (or NEXUS_NO_EXTENSIONS is set, for
 * tests of the fallbacks). */
const nexus_engine *engine_extensions(void);

#endif
