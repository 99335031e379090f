/*
 * mpi.c: groups of processes over MPI.
 *
 * Nothing here waits inside MPI. Every operation is begun and then asked after, so that several
 * threads take turns at MPI, a process that waits leaves the processor to others, and whoever waits
 * in vain can say so:
 *   - before a collective operation all tell each other what they are about to do, and all fail
 *     alike where that differs;
 *   - a process that ends says goodbye, and those who wait for it fail;
 *   - a long wait is reported, again and again; NEXUS_MPI_TIMEOUT (seconds) makes it an error.
 * A process that dies takes the others with it: that is mpirun's part.
 *
 * Arrays travel in pieces, since MPI counts in int.
 */
#include "engine/dist/mpi/mpi.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct nx_comm {
    MPI_Comm calls; /* for what all do together */
    MPI_Comm pairs; /* for what two do */
    int rank, size;
    int *world;                 /* [size] the rank of each among all processes */
    int64_t *announced;         /* [size, ANNOUNCE] what each is about to do */
    pthread_mutex_t turn;       /* held through a collective operation */
    pthread_mutex_t *to, *from; /* [size] held through a send to, a receive from each */
};

enum { TAG_HEAD = 1, TAG_DATA = 2, TAG_GOODBYE = 3 };
enum { ANNOUNCE = 4 };  /* kind, combine, dtype, n */
enum { ASK_OFTEN = 200, ASK_SOME = 5000 }; /* before giving the processor away for longer */
static const double GRACE = 3;       /* seconds that what a process sent may arrive after its goodbye */
static const double FIRST_REPORT = 30; /* seconds of waiting until a person is told */

static struct {
    pthread_mutex_t lock; /* held through every call of MPI */
    MPI_Comm control;
    int rank, size;
    bool *left;      /* [size] said goodbye */
    bool ours;       /* MPI was begun here, and is ended here */
    bool broken;     /* an operation was given up: MPI cannot be ended in order */
    bool ended;
    size_t piece;    /* bytes */
    double timeout;  /* seconds, 0: none */
    void (*warn)(const char *text);
} mpi = {.lock = PTHREAD_MUTEX_INITIALIZER};

static _Thread_local char text[512]; /* the sentence that says why */

static const char *why(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static const char *why(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return text;
}

static const char *mpi_why(int code)
{
    char message[MPI_MAX_ERROR_STRING];
    int n = 0;
    if (code == MPI_SUCCESS)
        return NULL;
    if (MPI_Error_string(code, message, &n) != MPI_SUCCESS)
        return why("MPI failed with code %d", code);
    return why("MPI says: %.*s", n, message);
}

/* One call of MPI under the lock; NULL or why it failed. */
#define MPI_CALL(call)                                                                             \
    ({                                                                                             \
        pthread_mutex_lock(&mpi.lock);                                                             \
        const char *why_ = mpi.ended ? "this process has left MPI" : mpi_why(call);                \
        pthread_mutex_unlock(&mpi.lock);                                                           \
        why_;                                                                                      \
    })

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- waiting ------------------------------------------------------------------------------- */

static const char *kind_name(int64_t kind, int64_t combine)
{
    static const char *const combines[] = {"all_sum", "all_max", "all_min"};
    static const char *const names[] = {NULL, "all_gather", "sum_scatter", "send", "recv"};
    return kind == NX_ALL_REDUCE ? combines[combine % 3] : names[kind % 5];
}

/* Under the lock. */
static void hear_goodbyes(void)
{
    int there = 0;
    MPI_Status status;
    while (MPI_Iprobe(MPI_ANY_SOURCE, TAG_GOODBYE, mpi.control, &there, &status) == MPI_SUCCESS &&
           there) {
        if (MPI_Recv(NULL, 0, MPI_BYTE, status.MPI_SOURCE, TAG_GOODBYE, mpi.control,
                     MPI_STATUS_IGNORE) != MPI_SUCCESS)
            return;
        mpi.left[status.MPI_SOURCE] = true;
    }
}

/* Who of those waited for has left; -1: nobody. peer -1: all are waited for. */
static int who_left(const nx_comm *c, int peer)
{
    pthread_mutex_lock(&mpi.lock);
    hear_goodbyes();
    int who = -1;
    for (int r = 0; r < c->size && who < 0; r++)
        if ((peer < 0 || r == peer) && mpi.left[c->world[r]])
            who = r;
    pthread_mutex_unlock(&mpi.lock);
    return who;
}

static const char *give_up(const char *reason)
{
    pthread_mutex_lock(&mpi.lock);
    mpi.broken = true;
    pthread_mutex_unlock(&mpi.lock);
    return reason;
}

typedef struct {
    const nx_comm *c;
    int peer; /* -1: all */
    const char *name;
    double began, reported, left_at;
} waiting;

/* What is looked at now and then: has somebody left, has it been long? */
static const char *still_waiting(waiting *w)
{
    double t = now();
    int who = who_left(w->c, w->peer);
    if (who >= 0 && !w->left_at)
        w->left_at = t;
    if (who >= 0 && t - w->left_at > GRACE)
        return give_up(why("%s on rank %d waits for rank %d, which has ended", w->name, w->c->rank,
                           who));
    if (mpi.timeout > 0 && t - w->began > mpi.timeout)
        return give_up(why("%s on rank %d has waited %.0f s for other processes "
                           "(NEXUS_MPI_TIMEOUT)", w->name, w->c->rank, t - w->began));
    if (t - w->reported > FIRST_REPORT) {
        char report[256];
        snprintf(report, sizeof report, "distributed: %s on rank %d has waited %.0f s for other "
                 "processes: do all call the same operations?", w->name, w->c->rank, t - w->began);
        mpi.warn(report);
        w->reported = t;
    }
    return NULL;
}

/* Until what was begun is done. */
static const char *finish(const nx_comm *c, int peer, const char *name, MPI_Request *request)
{
    waiting w = {.c = c, .peer = peer, .name = name, .began = now()};
    w.reported = w.began;
    for (long tries = 1;; tries++) {
        int done = 0;
        const char *failed = MPI_CALL(MPI_Test(request, &done, MPI_STATUS_IGNORE));
        if (failed)
            return give_up(failed);
        if (done)
            return NULL;
        if (tries > ASK_SOME)
            nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
        else if (tries > ASK_OFTEN)
            sched_yield();
        if (tries % 1024 == 0 && (failed = still_waiting(&w)))
            return failed;
    }
}

/* ---- collective operations ----------------------------------------------------------------- */

/* All tell what they are about to do; false with a reason where that is not the same. */
static const char *agree(nx_comm *c, const nx_exchange *x)
{
    int64_t mine[ANNOUNCE] = {x->kind, x->combine, x->dtype, x->n};
    const char *name = kind_name(x->kind, x->combine), *failed;
    MPI_Request r;
    failed = MPI_CALL(MPI_Iallgather(mine, ANNOUNCE, MPI_INT64_T, c->announced, ANNOUNCE,
                                     MPI_INT64_T, c->calls, &r));
    if (failed || (failed = finish(c, -1, name, &r)))
        return failed;
    for (int i = 0; i < c->size; i++) {
        const int64_t *his = c->announced + (size_t)i * ANNOUNCE;
        if (memcmp(his, mine, sizeof mine) != 0)
            return why("the processes do not call the same: rank %d calls %s of %lld %s, rank %d "
                       "calls %s of %lld %s", c->rank, name, (long long)x->n,
                       nx_dtype_name(x->dtype), i, kind_name(his[0], his[1]), (long long)his[3],
                       nx_dtype_name((nx_dtype)his[2]));
    }
    return NULL;
}

/* How many of `left` elements of some size one piece takes. */
static int piece_of(int64_t left, size_t each)
{
    int64_t most = (int64_t)(mpi.piece / each);
    most = most < 1 ? 1 : most;
    return (int)(left < most ? left : most);
}

static const char *all_reduce(nx_comm *c, const nx_exchange *x)
{
    size_t each = nx_dtype_size(x->dtype);
    MPI_Datatype type = nx_mpi_type(x->dtype);
    MPI_Op op = nx_mpi_op(x->combine, x->dtype);
    const char *failed = NULL, *name = kind_name(x->kind, x->combine);
    for (int64_t at = 0; at < x->n && !failed;) {
        int n = piece_of(x->n - at, each);
        const void *in = x->in == x->out ? MPI_IN_PLACE : (const char *)x->in + (size_t)at * each;
        MPI_Request r;
        failed = MPI_CALL(MPI_Iallreduce(in, (char *)x->out + (size_t)at * each, n, type, op,
                                         c->calls, &r));
        failed = failed ? failed : finish(c, -1, name, &r);
        at += n;
    }
    return failed;
}

/* A piece of each process's part; the parts lie `stride` bytes apart. */
static const char *gather_piece(nx_comm *c, const char *in, char *out, int n, size_t stride)
{
    MPI_Datatype bytes, apart;
    MPI_Request r;
    const char *failed = MPI_CALL(MPI_Type_contiguous(n, MPI_BYTE, &bytes));
    failed = failed ? failed : MPI_CALL(MPI_Type_create_resized(bytes, 0, (MPI_Aint)stride, &apart));
    failed = failed ? failed : MPI_CALL(MPI_Type_commit(&apart));
    failed = failed ? failed
                    : MPI_CALL(MPI_Iallgather(in, n, MPI_BYTE, out, 1, apart, c->calls, &r));
    failed = failed ? failed : finish(c, -1, "all_gather", &r);
    if (!failed)
        failed = MPI_CALL(MPI_Type_free(&apart) | MPI_Type_free(&bytes));
    return failed;
}

static const char *all_gather(nx_comm *c, const nx_exchange *x)
{
    size_t total = (size_t)x->n * nx_dtype_size(x->dtype);
    const char *failed = NULL;
    for (size_t at = 0; at < total && !failed;) {
        int n = piece_of((int64_t)(total - at), 1);
        failed = gather_piece(c, (const char *)x->in + at, (char *)x->out + at, n, total);
        at += (size_t)n;
    }
    return failed;
}

/* The part of `root`, a piece at a time. */
static const char *reduce_part(nx_comm *c, const nx_exchange *x, int root)
{
    size_t each = nx_dtype_size(x->dtype);
    int64_t part = x->n / c->size;
    const char *in = (const char *)x->in + (size_t)(part * root) * each, *failed = NULL;
    for (int64_t at = 0; at < part && !failed;) {
        int n = piece_of(part - at, each);
        MPI_Request r;
        failed = MPI_CALL(MPI_Ireduce(in + (size_t)at * each, (char *)x->out + (size_t)at * each, n,
                                      nx_mpi_type(x->dtype), nx_mpi_op(x->combine, x->dtype), root,
                                      c->calls, &r));
        failed = failed ? failed : finish(c, -1, "sum_scatter", &r);
        at += n;
    }
    return failed;
}

static const char *reduce_scatter(nx_comm *c, const nx_exchange *x)
{
    const char *failed = NULL;
    if (piece_of(x->n, nx_dtype_size(x->dtype)) < x->n) {
        for (int root = 0; root < c->size && !failed; root++)
            failed = reduce_part(c, x, root);
        return failed;
    }
    MPI_Request r;
    failed = MPI_CALL(MPI_Ireduce_scatter_block(x->in, x->out, (int)(x->n / c->size),
                                                nx_mpi_type(x->dtype),
                                                nx_mpi_op(x->combine, x->dtype), c->calls, &r));
    return failed ? failed : finish(c, -1, "sum_scatter", &r);
}

static const char *together(nx_comm *c, const nx_exchange *x)
{
    pthread_mutex_lock(&c->turn);
    const char *failed = agree(c, x);
    if (!failed)
        failed = x->kind == NX_ALL_REDUCE   ? all_reduce(c, x)
                 : x->kind == NX_ALL_GATHER ? all_gather(c, x)
                                            : reduce_scatter(c, x);
    pthread_mutex_unlock(&c->turn);
    return failed;
}

/* ---- between two --------------------------------------------------------------------------- */

static const char *send_bytes(nx_comm *c, const void *from, int n, int to, int tag)
{
    MPI_Request r;
    const char *failed = MPI_CALL(MPI_Isend(from, n, MPI_BYTE, to, tag, c->pairs, &r));
    return failed ? failed : finish(c, to, "send", &r);
}

static const char *recv_bytes(nx_comm *c, void *to, int n, int from, int tag)
{
    MPI_Request r;
    const char *failed = MPI_CALL(MPI_Irecv(to, n, MPI_BYTE, from, tag, c->pairs, &r));
    return failed ? failed : finish(c, from, "recv", &r);
}

static const char *send_array(nx_comm *c, const nx_exchange *x)
{
    int64_t head[2] = {x->dtype, x->n};
    size_t total = (size_t)x->n * nx_dtype_size(x->dtype);
    const char *failed = send_bytes(c, head, sizeof head, x->peer, TAG_HEAD);
    for (size_t at = 0; at < total && !failed;) {
        int n = piece_of((int64_t)(total - at), 1);
        failed = send_bytes(c, (const char *)x->in + at, n, x->peer, TAG_DATA);
        at += (size_t)n;
    }
    return failed;
}

/* Takes in what is not wanted, so that the sender gets on. */
static const char *drain(nx_comm *c, size_t total, int from)
{
    char *space = malloc((size_t)piece_of((int64_t)total, 1));
    const char *failed = space ? NULL : give_up("no memory for what was sent");
    for (size_t at = 0; at < total && !failed;) {
        int n = piece_of((int64_t)(total - at), 1);
        failed = recv_bytes(c, space, n, from, TAG_DATA);
        at += (size_t)n;
    }
    free(space);
    return failed;
}

static const char *recv_array(nx_comm *c, const nx_exchange *x)
{
    int64_t head[2];
    size_t total = (size_t)x->n * nx_dtype_size(x->dtype);
    const char *failed = recv_bytes(c, head, sizeof head, x->peer, TAG_HEAD);
    if (failed)
        return failed;
    if (head[0] != x->dtype || head[1] != x->n) {
        failed = drain(c, (size_t)head[1] * nx_dtype_size((nx_dtype)head[0]), x->peer);
        return failed ? failed
                      : why("rank %d sends %lld %s, rank %d expects %lld %s", x->peer,
                            (long long)head[1], nx_dtype_name((nx_dtype)head[0]), c->rank,
                            (long long)x->n, nx_dtype_name(x->dtype));
    }
    for (size_t at = 0; at < total && !failed;) {
        int n = piece_of((int64_t)(total - at), 1);
        failed = recv_bytes(c, (char *)x->out + at, n, x->peer, TAG_DATA);
        at += (size_t)n;
    }
    return failed;
}

static const char *run(nx_comm *c, const nx_exchange *x)
{
    if (x->kind != NX_SEND && x->kind != NX_RECV)
        return together(c, x);
    pthread_mutex_t *lock = x->kind == NX_SEND ? &c->to[x->peer] : &c->from[x->peer];
    pthread_mutex_lock(lock);
    const char *failed = x->kind == NX_SEND ? send_array(c, x) : recv_array(c, x);
    pthread_mutex_unlock(lock);
    return failed;
}

/* ---- groups -------------------------------------------------------------------------------- */

/* Rank in `from` of the processes of c, in c's order. */
static int ranks_in(MPI_Comm from, nx_comm *c)
{
    MPI_Group all, part;
    int *own = calloc((size_t)c->size, sizeof *own);
    if (!own)
        return MPI_ERR_NO_MEM;
    for (int i = 0; i < c->size; i++)
        own[i] = i;
    int code = MPI_Comm_group(from, &all);
    code = code ? code : MPI_Comm_group(c->calls, &part);
    code = code ? code : MPI_Group_translate_ranks(part, c->size, own, all, c->world);
    if (!code) {
        MPI_Group_free(&all);
        MPI_Group_free(&part);
    }
    free(own);
    return code;
}

static pthread_mutex_t *locks_new(int n)
{
    pthread_mutex_t *locks = calloc((size_t)n, sizeof *locks);
    for (int i = 0; locks && i < n; i++)
        pthread_mutex_init(&locks[i], NULL);
    return locks;
}

/* Takes `calls`. With the lock held. */
static int comm_make(MPI_Comm calls, nx_comm **made)
{
    nx_comm *c = calloc(1, sizeof *c);
    if (!c)
        return MPI_ERR_NO_MEM;
    c->calls = calls;
    int code = MPI_Comm_set_errhandler(calls, MPI_ERRORS_RETURN);
    code = code ? code : MPI_Comm_dup(calls, &c->pairs);
    code = code ? code : MPI_Comm_rank(calls, &c->rank);
    code = code ? code : MPI_Comm_size(calls, &c->size);
    if (code)
        return code;
    pthread_mutex_init(&c->turn, NULL);
    c->world = calloc((size_t)c->size, sizeof *c->world);
    c->announced = calloc((size_t)c->size, ANNOUNCE * sizeof *c->announced);
    c->to = locks_new(c->size);
    c->from = locks_new(c->size);
    if (!c->world || !c->announced || !c->to || !c->from)
        return MPI_ERR_NO_MEM;
    *made = c;
    return ranks_in(mpi.control, c);
}

static const char *split(nx_comm *c, int color, int key, nx_comm **part)
{
    pthread_mutex_lock(&c->turn);
    const char *failed = MPI_CALL(({
        MPI_Comm calls;
        int code = MPI_Comm_split(c->calls, color, key < 0 ? c->rank : key, &calls);
        code ? code : comm_make(calls, part);
    }));
    pthread_mutex_unlock(&c->turn);
    return failed;
}

static int rank_of(const nx_comm *c)
{
    return c->rank;
}

static int size_of(const nx_comm *c)
{
    return c->size;
}

/* ---- beginning and end --------------------------------------------------------------------- */

/* At exit: tells the others, and ends MPI. What was given up leaves no orderly end: then the whole
 * job ends, with an exit code that says so. */
static void leave(void)
{
    fflush(NULL);
    pthread_mutex_lock(&mpi.lock);
    if (mpi.broken) {
        fprintf(stderr, "distributed: rank %d ends after an operation that failed; so does the job\n",
                mpi.rank);
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    for (int r = 0; r < mpi.size; r++) {
        MPI_Request request; /* an empty message needs nobody to wait for it */
        if (r != mpi.rank &&
            MPI_Isend(NULL, 0, MPI_BYTE, r, TAG_GOODBYE, mpi.control, &request) == MPI_SUCCESS)
            MPI_Request_free(&request);
    }
    mpi.ended = true;
    pthread_mutex_unlock(&mpi.lock);
    if (mpi.ours)
        MPI_Finalize();
}

static int begin(void)
{
    int there = 0, level = 0;
    int code = MPI_Initialized(&there);
    if (!code && !there) {
        code = MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &level);
        mpi.ours = !code;
    } else if (!code) {
        code = MPI_Query_thread(&level);
    }
    if (!code && level < MPI_THREAD_SERIALIZED)
        mpi.warn("distributed: the program began MPI without threads; it must not use MPI itself "
                 "while arrays are exchanged");
    return code;
}

static size_t piece_setting(void)
{
    const char *set = getenv("NEXUS_MPI_PIECE");
    long long bytes = set ? atoll(set) : 0;
    return bytes >= 1 && bytes <= 1 << 30 ? (size_t)bytes : (size_t)1 << 28;
}

static const char *start(void (*warn)(const char *text), nx_comm **all)
{
    const char *timeout = getenv("NEXUS_MPI_TIMEOUT");
    mpi.warn = warn;
    mpi.timeout = timeout ? atof(timeout) : 0;
    mpi.piece = piece_setting();
    MPI_Comm calls;
    int code = begin();
    code = code ? code : MPI_Comm_dup(MPI_COMM_WORLD, &mpi.control);
    code = code ? code : MPI_Comm_set_errhandler(mpi.control, MPI_ERRORS_RETURN);
    code = code ? code : MPI_Comm_rank(mpi.control, &mpi.rank);
    code = code ? code : MPI_Comm_size(mpi.control, &mpi.size);
    code = code ? code : MPI_Comm_dup(mpi.control, &calls);
    code = code ? code : comm_make(calls, all);
    code = code ? code : nx_mpi_types_make();
    if (code)
        return mpi_why(code);
    mpi.left = calloc((size_t)mpi.size, sizeof *mpi.left);
    if (!mpi.left)
        return "no memory";
    atexit(leave);
    return NULL;
}

__attribute__((visibility("default"))) extern const nx_transport nexus_transport;
const nx_transport nexus_transport = {
    .version = NX_TRANSPORT_VERSION,
    .start = start,
    .rank = rank_of,
    .size = size_of,
    .split = split,
    .run = run,
};
