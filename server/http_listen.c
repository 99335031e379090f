/* http_listen.c: the listening socket: IPv4, IPv6 or a Unix socket. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "server/http_impl.h"

enum { BACKLOG = 511 };

/* A socket file that nobody answers on is a leftover and goes; one in use, or another file, stays. */
static bool clear_leftover(const struct sockaddr_un *at)
{
    struct stat st;
    if (lstat(at->sun_path, &st) != 0)
        return true;
    if (!S_ISSOCK(st.st_mode))
        return nx_fail("%s is there and is no socket: choose another path", at->sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    bool used = fd >= 0 && connect(fd, (const struct sockaddr *)at, sizeof *at) == 0;
    if (fd >= 0)
        close(fd);
    if (used)
        return nx_fail("%s is in use by another server: stop it, or choose another path", at->sun_path);
    return unlink(at->sun_path) == 0 ||
           nx_fail("%s cannot be replaced: %s", at->sun_path, strerror(errno));
}

static bool listen_unix(http_server *s, const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof at.sun_path)
        return nx_fail("the socket's path is longer than the %zu bytes that systems allow",
                       sizeof at.sun_path - 1);
    memcpy(at.sun_path, path, strlen(path));
    if (!clear_leftover(&at))
        return false;
    s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    mode_t before = umask(0177); /* its owner's alone */
    bool bound = s->listener >= 0 && bind(s->listener, (struct sockaddr *)&at, sizeof at) == 0;
    int why = errno;
    umask(before);
    if (!bound || listen(s->listener, BACKLOG) != 0)
        return nx_fail("%s cannot be opened as a socket: %s", path, strerror(bound ? errno : why));
    s->unix_path = nx_strdup(path);
    nx_str url = {0};
    nx_str_printf(&url, "unix:%s", path);
    s->url = nx_str_take(&url);
    return true;
}

static bool bind_one(http_server *s, const struct addrinfo *a)
{
    int on = 1, off = 0;
    s->listener = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
    if (s->listener < 0)
        return false;
    setsockopt(s->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (a->ai_family == AF_INET6)
        setsockopt(s->listener, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(s->listener, a->ai_addr, a->ai_addrlen) == 0 && listen(s->listener, BACKLOG) == 0)
        return true;
    int why = errno;
    close(s->listener);
    s->listener = -1;
    errno = why;
    return false;
}

static int bound_port(int fd)
{
    struct sockaddr_storage at;
    socklen_t n = sizeof at;
    if (getsockname(fd, (struct sockaddr *)&at, &n) != 0)
        return 0;
    return ntohs(at.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&at)->sin6_port
                                          : ((struct sockaddr_in *)&at)->sin_port);
}

static bool listen_tcp(http_server *s, const char *host)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *list = NULL;
    char port[16];
    snprintf(port, sizeof port, "%d", s->o.port);
    int bad = getaddrinfo(host, port, &hints, &list);
    if (bad)
        return nx_fail("--host %s is no address of this machine: %s", host, gai_strerror(bad));
    bool ok = false;
    for (struct addrinfo *a = list; a && !ok; a = a->ai_next)
        ok = bind_one(s, a);
    int why = errno;
    freeaddrinfo(list);
    if (!ok)
        return why == EADDRINUSE
                   ? nx_fail("port %d of %s is in use: is another server running? Stop it "
                             "(nexus stop), or choose another with --port", s->o.port, host)
                   : nx_fail("cannot listen on %s port %d: %s", host, s->o.port, strerror(why));
    s->port = bound_port(s->listener);
    nx_str url = {0};
    bool v6 = strchr(host, ':') != NULL;
    nx_str_printf(&url, "%s://%s%s%s:%d", s->o.tls_cert ? "https" : "http", v6 ? "[" : "", host,
                  v6 ? "]" : "", s->port);
    s->url = nx_str_take(&url);
    return true;
}

bool http_listen(http_server *s)
{
    const char *host = s->o.host;
    return strncmp(host, "unix:", 5) == 0 ? listen_unix(s, host + 5) : listen_tcp(s, host);
}
