/*
 * downloads.h: pulls that run in the background of the server: a thread each, whose progress any
 * number of requests may watch. Calls may come from any thread.
 */
#ifndef NX_SERVER_DOWNLOADS_H
#define NX_SERVER_DOWNLOADS_H

#include "server/host.h"

typedef struct downloads downloads;

typedef enum {
    DOWNLOAD_RUNNING,
    DOWNLOAD_DONE,
    DOWNLOAD_THERE, /* it was there already */
    DOWNLOAD_FAILED,
    DOWNLOAD_CANCELLED,
} download_state;

/* What is known of one, at a moment. */
typedef struct {
    char id[32], what[320];
    download_state state;
    nexus_status status; /* of a failed one, with its message */
    char message[512], path[1024];
    char file[256]; /* the one being fetched */
    uint64_t done, total;
    double rate, seconds_left; /* seconds_left < 0: not known */
    int64_t started_at, ended_at; /* seconds since 1970; ended_at 0: it runs */
    uint64_t version; /* grows with each change */
} download;

downloads *downloads_new(host *h);
/* Stops what runs; the next pull of the same goes on from there. */
void downloads_free(downloads *d);

/* Begins, or joins the one that runs under the same name. follow: it is stopped when the last of
 * those who follow it has left, unless somebody else started it. False with a message: too many. */
bool downloads_start(downloads *d, const char *what, bool follow, download *out);
void downloads_leave(downloads *d, const char *id);
/* False: there is none (any more: the latest few that have ended are remembered). */
bool downloads_get(downloads *d, const char *id, download *out);
/* The same, after waiting until its version is not `seen`, a fifth of a second at most. */
bool downloads_wait(downloads *d, const char *id, uint64_t seen, download *out);
bool downloads_cancel(downloads *d, const char *id);
/* The newest first. */
size_t downloads_list(downloads *d, download *out, size_t most);

#endif
