/*
 * http_watch.c: a thread that looks at connections ten times a second, for what libmicrohttpd does
 * not see: a suspended request neither notices that its client left nor times out, and its timeout
 * begins anew with every byte of a header that comes slowly.
 */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>

#include "base/error.h"
#include "base/os.h"
#include "server/http_impl.h"

static const long TICK_NS = 100 * 1000 * 1000;

/* The other side has closed, or the connection broke. */
static bool has_left(int fd)
{
#ifdef POLLRDHUP
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    if (poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)))
        return true;
#endif
    char byte;
    ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

/* Under the server's lock: the sockets are open, since closing one takes the lock first. */
static void cut_late(http_server *s, double now)
{
    for (http_conn *k = s->conns; k; k = k->next)
        if (k->deadline > 0 && now > k->deadline && k->fd >= 0) {
            shutdown(k->fd, SHUT_RDWR); /* the daemon sees the end and cleans up */
            k->deadline = 0;
        }
}

/* Requests whose client has left, referenced so that they outlive the lock. */
static size_t collect_left(http_server *s, http_request **left, size_t most)
{
    size_t n = 0;
    for (http_request *r = s->running; r && n < most; r = r->next) {
        if (http_gone(r) || !(s->stopping || (r->fd >= 0 && has_left(r->fd))))
            continue;
        atomic_fetch_add(&r->refs, 1);
        left[n++] = r;
    }
    return n;
}

static void look(http_server *s)
{
    enum { MOST = 64 }; /* a tick; the rest a tick later */
    http_request *left[MOST];
    pthread_mutex_lock(&s->lock);
    cut_late(s, nx_os_seconds());
    size_t n = collect_left(s, left, MOST);
    pthread_mutex_unlock(&s->lock);
    for (size_t i = 0; i < n; i++) {
        http_mark_gone(left[i]);
        http_request_unref(left[i]);
    }
}

static void *watch_main(void *arg)
{
    http_server *s = arg;
    for (;;) {
        pthread_mutex_lock(&s->lock);
        bool more = s->watching;
        pthread_mutex_unlock(&s->lock);
        if (!more)
            return NULL;
        look(s);
        nanosleep(&(struct timespec){.tv_nsec = TICK_NS}, NULL);
    }
}

bool http_watch_start(http_server *s)
{
    s->watching = true; /* before there is a second thread */
    if (pthread_create(&s->watcher, NULL, watch_main, s) == 0)
        return true;
    s->watching = false;
    return false;
}

void http_watch_stop(http_server *s)
{
    pthread_mutex_lock(&s->lock);
    bool was = s->watching;
    s->watching = false;
    pthread_mutex_unlock(&s->lock);
    if (was)
        pthread_join(s->watcher, NULL);
}
