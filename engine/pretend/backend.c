/*
 * backend.c: a GPU for tests of everything that a GPU with memory of its own needs: the CPU's kernels
 * on memory that nobody else can reach. NEXUS_PRETEND_GPU=1 makes it the device gpu 0.
 *
 * Its addresses are those of a region that nothing may read or write; the memory behind them lies in
 * a second region, at the same offset, which only this file knows. So a host that touches device
 * memory is stopped by a signal, and a kernel that is given a host's address by a check.
 *
 * Like a GPU it only queues: kernels and moves run when the stream's thread is drained.
 * NEXUS_PRETEND_GPU_LACKS=Sort,Softmax takes away kernels.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/error.h"
#include "base/vec.h"
#include "engine/cpu/isa.h"
#include "engine/ops/prims.h"
#include "engine/pretend/pretend.h"

extern const nx_backend nx_pretend_backend;

/* ---- memory -------------------------------------------------------------------------------- */

enum { ALIGN = 64 };
static const size_t REGION = (size_t)1 << 34;

typedef struct block {
    size_t offset, size;
    struct block *next;
} block;

static struct {
    pthread_mutex_t lock;
    char *address; /* what the rest of the program sees */
    char *real;    /* what lies behind */
    size_t top;    /* never given out from here on */
    block *freed;
} region = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct {
    _Atomic int64_t kernels, fills, fetches, bytes_filled, bytes_fetched;
} counts;

nx_pretend_counts nx_pretend_count(void)
{
    return (nx_pretend_counts){counts.kernels, counts.fills, counts.fetches, counts.bytes_filled,
                               counts.bytes_fetched};
}

/* Under the lock. */
static bool region_map(void)
{
    if (region.address)
        return true;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *address = mmap(NULL, REGION, PROT_NONE, flags, -1, 0);
    void *real = mmap(NULL, REGION, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (address == MAP_FAILED || real == MAP_FAILED)
        return false;
    region.address = address;
    region.real = real;
    return true;
}

/* Sizes come in classes from the engine's own cache, so only blocks of equal size are used again. */
static void *device_get(size_t size)
{
    void *p = NULL;
    size = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    pthread_mutex_lock(&region.lock);
    block **at = &region.freed;
    while (*at && (*at)->size != size)
        at = &(*at)->next;
    if (*at) {
        block *b = *at;
        *at = b->next;
        p = region.address + b->offset;
        free(b);
    } else if (region_map() && size <= REGION - region.top) {
        p = region.address + region.top;
        region.top += size;
    }
    pthread_mutex_unlock(&region.lock);
    return p;
}

static void device_put(void *p, size_t size)
{
    block *b = nx_malloc(sizeof *b);
    pthread_mutex_lock(&region.lock);
    *b = (block){(size_t)((char *)p - region.address), (size + ALIGN - 1) & ~(size_t)(ALIGN - 1),
                 region.freed};
    region.freed = b;
    pthread_mutex_unlock(&region.lock);
}

static bool is_device(const void *p)
{
    return region.address && (const char *)p >= region.address &&
           (const char *)p < region.address + REGION;
}

/* The memory behind a device's address. */
static void *behind(const void *p)
{
    NX_BUG_IF(!is_device(p));
    return region.real + ((const char *)p - region.address);
}

/* ---- the queue of a stream's thread -------------------------------------------------------- */

typedef struct {
    nx_kernel run; /* NULL: a move */
    const nx_call *call;
    void *to;
    const void *from;
    size_t size;
} work;
static _Thread_local NX_VEC(work) queue;

static nx_view *views_behind(const nx_view *v, int n)
{
    nx_view *real = nx_calloc((size_t)n + 1, sizeof *real);
    for (int i = 0; i < n; i++) {
        real[i] = v[i];
        if (v[i].data)
            real[i].data = behind(v[i].data);
    }
    return real;
}

static void work_run(const work *w)
{
    if (!w->run) {
        memcpy(w->to, w->from, w->size);
        return;
    }
    nx_call c = *w->call;
    nx_view *in = views_behind(c.in, c.n_in), *out = views_behind(c.out, c.n_out);
    c.in = in;
    c.out = out;
    if (c.workspace)
        c.workspace = behind(c.workspace);
    w->run(&c);
    free(in);
    free(out);
}

static void drain(void)
{
    for (size_t i = 0; i < queue.n; i++)
        work_run(&queue.at[i]);
    nx_vec_clear(&queue);
}

static void device_fill(void *to, const void *from, size_t size)
{
    NX_BUG_IF(is_device(from));
    counts.fills++;
    counts.bytes_filled += (int64_t)size;
    nx_vec_push(&queue, (work){.to = behind(to), .from = from, .size = size});
}

static void device_fetch(void *to, const void *from, size_t size)
{
    NX_BUG_IF(is_device(to));
    counts.fetches++;
    counts.bytes_fetched += (int64_t)size;
    nx_vec_push(&queue, (work){.to = to, .from = behind(from), .size = size});
}

/* ---- kernels ------------------------------------------------------------------------------- */

#define NX_PRIM(name)                                                                              \
    static void run_##name(const nx_call *c)                                                       \
    {                                                                                              \
        counts.kernels++;                                                                          \
        nx_vec_push(&queue, (work){.run = nx_cpu_kernels()[NX_PRIM_##name].run, .call = c});       \
    }
#include "engine/ops/prims.def"
#undef NX_PRIM

static nx_kernel_entry table[NX_PRIM_COUNT];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

/* Is name one of those in NEXUS_PRETEND_GPU_LACKS? */
static bool is_lacking(const char *name)
{
    const char *at = getenv("NEXUS_PRETEND_GPU_LACKS");
    size_t n = strlen(name);
    while (at && *at) {
        size_t len = strcspn(at, ",");
        if (len == n && memcmp(at, name, n) == 0)
            return true;
        at += len + (at[len] == ',');
    }
    return false;
}

static void table_make(void)
{
    const nx_kernel_entry *cpu = nx_cpu_kernels();
#define NX_PRIM(name)                                                                              \
    if (cpu[NX_PRIM_##name].run && !is_lacking(#name))                                             \
        table[NX_PRIM_##name] = (nx_kernel_entry){run_##name, cpu[NX_PRIM_##name].workspace};
#include "engine/ops/prims.def"
#undef NX_PRIM
}

static const nx_kernel_entry *kernels(void)
{
    pthread_once(&table_once, table_make);
    return table;
}

static int threads(void)
{
    return 1;
}

static void set_threads(int n)
{
    (void)n; /* the CPU's setting rules */
}

static const nx_memory memory = {device_get, device_put, device_fill, device_fetch};

const nx_backend nx_pretend_backend = {
    .name = "pretended gpu",
    .kernels = kernels,
    .level = nx_cpu_isa_name,
    .threads = threads,
    .set_threads = set_threads,
    .memory = &memory,
    .drain = drain,
};
