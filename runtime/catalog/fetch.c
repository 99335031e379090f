#include "runtime/catalog/fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/json.h"
#include "base/os.h"
#include "base/sha256.h"

enum { MOST_CONNECTIONS = 16, TRIES = 6 };
static const uint64_t CHUNK = 8 << 20;
static const double PATIENCE = 30, LONGEST_WAIT = 60;

typedef struct {
    const fetch_request *r;
    char *part, *notes; /* PATH.part and PATH.part.json */
    int fd;
    uint64_t n_chunks;
    char *done;         /* '1' for a chunk that is there, '0' else, '2' while it is fetched */
    _Atomic uint64_t there;
    atomic_bool stop;
    pthread_mutex_t lock; /* of what follows, and of done */
    pthread_cond_t ended;
    int running;
    bool failed, asked_to_stop;
    atomic_bool ranges_ignored;
    nexus_status status;
    char message[1024];
} fetch;

/* ---- notes ---- */

static void save_notes(fetch *f)
{
    char *done = nx_strdup(f->done);
    for (char *p = done; *p; p++)
        *p = *p == '2' ? '0' : *p;
    json_t *j = json_pack("{s:I, s:s, s:I, s:s}", "bytes", (json_int_t)f->r->file->bytes, "sha256",
                          f->r->file->sha256, "chunk", (json_int_t)CHUNK, "done", done);
    char *text = json_dumps(j, JSON_COMPACT);
    nx_os_write_file(f->notes, text, strlen(text)); /* without them more is fetched again, no harm */
    free(text);
    free(done);
    json_decref(j);
}

/* The chunks noted as there for this very file, "" where there are no such notes. */
static char *read_notes(const hub_file *file, const char *part, const char *notes)
{
    struct stat st;
    uint64_t n = (file->bytes + CHUNK - 1) / CHUNK;
    char *done = NULL;
    if (stat(part, &st) != 0 || (uint64_t)st.st_size != file->bytes || !nx_os_is_file(notes))
        return NULL;
    json_t *j = nx_json_load_file(notes);
    const char *text = nx_json_get_str(j, "done", "");
    if (nx_json_get_int(j, "bytes", -1) == (int64_t)file->bytes &&
        nx_json_get_int(j, "chunk", 0) == (int64_t)CHUNK && strlen(text) == n &&
        strspn(text, "01") == n && strcmp(nx_json_get_str(j, "sha256", ""), file->sha256) == 0)
        done = nx_strdup(text);
    json_decref(j);
    return done;
}

static uint64_t chunk_bytes(const hub_file *f, uint64_t i)
{
    uint64_t begin = i * CHUNK;
    return f->bytes - begin < CHUNK ? f->bytes - begin : CHUNK;
}

static uint64_t bytes_done(const hub_file *f, const char *done)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; done && done[i]; i++)
        sum += done[i] == '1' ? chunk_bytes(f, i) : 0;
    return sum;
}

static char *beside(const char *path, const char *ending)
{
    nx_str s = {0};
    nx_str_printf(&s, "%s%s", path, ending);
    return nx_str_take(&s);
}

uint64_t fetch_there(const hub_file *f, const char *path)
{
    struct stat st;
    if (stat(path, &st) == 0 && (uint64_t)st.st_size == f->bytes)
        return f->bytes;
    char *part = beside(path, ".part"), *notes = beside(path, ".part.json");
    char *done = read_notes(f, part, notes);
    uint64_t n = bytes_done(f, done);
    free(part);
    free(notes);
    free(done);
    return n;
}

/* ---- one chunk ---- */

typedef struct {
    fetch *f;
    uint64_t begin, bytes, got; /* of the chunk */
    bool whole;                 /* the whole file in one answer, from its first byte */
    bool wrong;                 /* the answer was not what was asked for */
} piece;

static void fail_job(fetch *f, nexus_status status)
{
    pthread_mutex_lock(&f->lock);
    if (!f->failed) {
        f->failed = true;
        f->status = status;
        snprintf(f->message, sizeof f->message, "%s", nx_error_message());
    }
    pthread_mutex_unlock(&f->lock);
    atomic_store(&f->stop, true);
}

static bool write_at(fetch *f, const char *bytes, size_t n, uint64_t at)
{
    while (n) {
        ssize_t k = pwrite(f->fd, bytes, n, (off_t)at);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0) {
            if (errno == ENOSPC || errno == EDQUOT)
                nx_fail("disk full: %s cannot be written (make room and give the same command: it goes "
                        "on from here)", f->part);
            else
                nx_fail("%s cannot be written: %s", f->part, strerror(errno));
            fail_job(f, NEXUS_ERROR);
            return false;
        }
        bytes += k;
        n -= (size_t)k;
        at += (uint64_t)k;
    }
    return true;
}

static bool is_answer(const piece *p, const http_head *h)
{
    uint64_t total = p->f->r->file->bytes;
    if (p->whole)
        return h->status == 200 && (h->length < 0 || (uint64_t)h->length == total);
    return h->status == 206 && h->range_begin == (int64_t)(p->begin + p->got) &&
           h->range_total == (int64_t)total && h->range_end == (int64_t)(p->begin + p->bytes - 1);
}

/* The head is looked at with the first bytes: `got` is still what was asked from. */
static bool take_bytes(const http_head *h, const char *bytes, size_t n, void *user)
{
    piece *p = ((void **)user)[0];
    bool *begun = ((void **)user)[1];
    if (!*begun) {
        *begun = true;
        if (!p->whole && h->status == 200) {
            pthread_mutex_lock(&p->f->lock);
            p->f->ranges_ignored = true;
            pthread_mutex_unlock(&p->f->lock);
            return false;
        }
        if (!is_answer(p, h)) {
            p->wrong = true;
            return false;
        }
    }
    if (n > p->bytes - p->got) { /* more than was asked for */
        p->wrong = true;
        return false;
    }
    if (!write_at(p->f, bytes, n, p->begin + p->got))
        return false;
    p->got += n;
    atomic_fetch_add(&p->f->there, n);
    return true;
}

static bool may_go_on(void *user)
{
    piece *p = ((void **)user)[0];
    return !atomic_load(&p->f->stop);
}

static void wait_a_while(fetch *f, double seconds)
{
    double until = nx_os_seconds() + seconds;
    while (!atomic_load(&f->stop) && nx_os_seconds() < until)
        usleep(50000);
}

/* Forgets what the piece brought: it will be fetched from its beginning. */
static void forget(piece *p)
{
    atomic_fetch_sub(&p->f->there, p->got);
    p->got = 0;
}

typedef enum { STEP_DONE, STEP_AGAIN, STEP_OVER } step;

/* One request for what is missing of the piece. *wait: how long to, before the next. */
static step ask_once(piece *p, const char *url, double *wait)
{
    fetch *f = p->f;
    http_head head;
    bool stopped, begun = false;
    void *user[2] = {p, &begun};
    http_request r = {.url = url, .bearer = f->r->hub->token, .ranged = !p->whole,
                      .from = p->begin + p->got, .to = p->begin + p->bytes - 1, .patience = PATIENCE,
                      .sink = take_bytes, .go_on = may_go_on, .user = user};
    p->wrong = false;
    bool answered = http_get(&r, &head, &stopped);
    if (p->got == p->bytes && !p->wrong)
        return STEP_DONE;
    if (atomic_load(&f->stop) || f->ranges_ignored)
        return STEP_OVER;
    if (head.retry_after >= 0 && (head.status == 429 || head.status >= 500))
        *wait = head.retry_after < LONGEST_WAIT ? head.retry_after : LONGEST_WAIT;
    if (p->wrong)
        nx_fail("[%s] the hub answers with other bytes than it was asked for (it said the file has %llu)",
                url, (unsigned long long)f->r->file->bytes);
    else if (answered && head.status >= 200 && head.status < 300)
        nx_fail("[%s] the hub sent less than it promised", url);
    else if (head.status >= 400 && head.status < 500 && head.status != 429 && head.status != 408) {
        fail_job(f, hub_explain(f->r->hub, &head, f->r->file->path));
        return STEP_OVER;
    } else if (head.status >= 400) {
        hub_explain(f->r->hub, &head, f->r->file->path);
    }
    return STEP_AGAIN;
}

/* Tries until it is there; gives up after several tries in a row that brought nothing. */
static bool fetch_piece(piece *p)
{
    nx_str url = {0};
    hub_url(p->f->r->hub, p->f->r->file, &url);
    step s = STEP_AGAIN;
    double wait = 0.25;
    for (int tries = 0; s == STEP_AGAIN && !atomic_load(&p->f->stop);) {
        uint64_t before = p->got;
        double pause = wait;
        s = ask_once(p, nx_str_cstr(&url), &pause);
        if (s != STEP_AGAIN)
            break;
        bool brought = p->got > before && !p->wrong;
        if (p->wrong || p->whole)
            forget(p);
        tries = brought ? 0 : tries + (p->wrong ? 2 : 1); /* lies seldom pass */
        wait = brought ? 0.25 : wait * 2;
        if (tries >= TRIES) {
            nx_fail_in("given up after several tries");
            fail_job(p->f, NEXUS_ERROR);
            break;
        }
        wait_a_while(p->f, pause);
    }
    if (s != STEP_DONE)
        forget(p);
    nx_str_clear(&url);
    return s == STEP_DONE;
}

/* ---- workers ---- */

/* The next chunk nobody has; false when there is none. */
static bool next_chunk(fetch *f, uint64_t *i)
{
    pthread_mutex_lock(&f->lock);
    char *p = atomic_load(&f->stop) || f->ranges_ignored ? NULL : strchr(f->done, '0');
    if (p) {
        *p = '2';
        *i = (uint64_t)(p - f->done);
    }
    pthread_mutex_unlock(&f->lock);
    return p != NULL;
}

static void end_chunk(fetch *f, uint64_t i, bool there)
{
    pthread_mutex_lock(&f->lock);
    f->done[i] = there ? '1' : '0';
    if (there)
        save_notes(f);
    pthread_mutex_unlock(&f->lock);
}

static void *work(void *arg)
{
    fetch *f = arg;
    for (uint64_t i; next_chunk(f, &i);) {
        piece p = {.f = f, .begin = i * CHUNK, .bytes = chunk_bytes(f->r->file, i)};
        end_chunk(f, i, fetch_piece(&p));
    }
    pthread_mutex_lock(&f->lock);
    f->running--;
    pthread_cond_signal(&f->ended);
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

/* A hub that knows no ranges: all in one. */
static void *work_whole(void *arg)
{
    fetch *f = arg;
    piece p = {.f = f, .bytes = f->r->file->bytes, .whole = true};
    bool there = fetch_piece(&p);
    pthread_mutex_lock(&f->lock);
    memset(f->done, there ? '1' : '0', f->n_chunks);
    f->running--;
    pthread_cond_signal(&f->ended);
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

/* Runs workers and tells the progress until the last has ended. */
static bool run_workers(fetch *f, void *(*worker)(void *), int n)
{
    pthread_t threads[MOST_CONNECTIONS];
    int started = 0;
    pthread_mutex_lock(&f->lock);
    while (started < n && pthread_create(&threads[started], NULL, worker, f) == 0)
        f->running = ++started;
    while (f->running) {
        nx_os_wait(&f->ended, &f->lock, 0.1);
        pthread_mutex_unlock(&f->lock);
        if (f->r->progress && !f->r->progress(atomic_load(&f->there), f->r->user)) {
            f->asked_to_stop = true;
            atomic_store(&f->stop, true);
        }
        pthread_mutex_lock(&f->lock);
    }
    pthread_mutex_unlock(&f->lock);
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    return started > 0 || nx_fail("no thread could be started");
}

/* ---- the file ---- */

static bool open_part(fetch *f)
{
    f->done = read_notes(f->r->file, f->part, f->notes);
    f->fd = open(f->part, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (f->fd < 0 || (!f->done && ftruncate(f->fd, 0) != 0) ||
        ftruncate(f->fd, (off_t)f->r->file->bytes) != 0)
        return nx_fail("%s cannot be created: %s", f->part, strerror(errno));
    if (!f->done) {
        f->done = nx_malloc(f->n_chunks + 1);
        memset(f->done, '0', f->n_chunks);
        f->done[f->n_chunks] = '\0';
    }
    atomic_store(&f->there, bytes_done(f->r->file, f->done));
    return true;
}

static nexus_status download(fetch *f)
{
    int n = f->r->connections;
    n = n < 1 ? 1 : n > MOST_CONNECTIONS ? MOST_CONNECTIONS : n;
    if ((uint64_t)n > f->n_chunks)
        n = (int)f->n_chunks;
    if (f->n_chunks && !run_workers(f, work, n))
        return NEXUS_ERROR;
    if (f->ranges_ignored && !f->failed && !f->asked_to_stop) {
        f->ranges_ignored = false;
        atomic_store(&f->there, 0);
        if (!run_workers(f, work_whole, 1))
            return NEXUS_ERROR;
    }
    if (f->failed) {
        nx_fail("%s", f->message);
        return f->status;
    }
    if (f->asked_to_stop) {
        nx_fail("stopped; the same command goes on from here");
        return NEXUS_ERROR_CANCELLED;
    }
    return NEXUS_OK;
}

/* Whether the bytes are those the hub names; if not, they are thrown away. */
static nexus_status check(fetch *f)
{
    char hex[65];
    const char *want = f->r->file->sha256;
    if (!*want)
        return NEXUS_OK;
    if (!nx_sha256_file(f->part, hex))
        return NEXUS_ERROR;
    if (strcmp(hex, want) == 0)
        return NEXUS_OK;
    unlink(f->part);
    unlink(f->notes);
    nx_fail("[%s] what arrived is not what the hub names (its SHA-256 differs): it was thrown away",
            f->r->file->path);
    return NEXUS_ERROR_FORMAT;
}

static nexus_status fetch_once(const fetch_request *r)
{
    fetch f = {.r = r, .fd = -1, .part = beside(r->path, ".part"),
               .notes = beside(r->path, ".part.json"), .n_chunks = (r->file->bytes + CHUNK - 1) / CHUNK};
    pthread_mutex_init(&f.lock, NULL);
    pthread_cond_init(&f.ended, NULL);
    nexus_status status = open_part(&f) ? download(&f) : NEXUS_ERROR;
    if (f.fd >= 0 && fsync(f.fd) != 0 && !status) {
        nx_fail("%s cannot be written: %s", f.part, strerror(errno));
        status = NEXUS_ERROR;
    }
    if (f.fd >= 0)
        close(f.fd);
    if (!status)
        status = check(&f);
    if (!status && rename(f.part, r->path) != 0) {
        nx_fail("%s cannot be put in place: %s", r->path, strerror(errno));
        status = NEXUS_ERROR;
    }
    if (!status)
        unlink(f.notes);
    pthread_cond_destroy(&f.ended);
    pthread_mutex_destroy(&f.lock);
    free(f.part);
    free(f.notes);
    free(f.done);
    return status;
}

nexus_status fetch_file(const fetch_request *r)
{
    struct stat st;
    if (stat(r->path, &st) == 0 && (uint64_t)st.st_size == r->file->bytes)
        return NEXUS_OK; /* by an earlier, interrupted pull: checked then */
    nexus_status status = fetch_once(r);
    if (status == NEXUS_ERROR_FORMAT) /* once more: bytes do get damaged on the way */
        status = fetch_once(r);
    return status;
}
