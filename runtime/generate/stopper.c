#include "runtime/generate/stopper.h"

#include <string.h>

void stopper_init(stopper *s, const char *const *stops, size_t n)
{
    *s = (stopper){.stops = stops, .n_stops = n};
}

void stopper_clear(stopper *s)
{
    nx_str_clear(&s->held);
}

/* Where the earliest stop string begins in the held text; its length if there is none. */
static size_t find_stop(stopper *s)
{
    size_t first = s->held.len;
    for (size_t i = 0; i < s->n_stops; i++) {
        size_t n = strlen(s->stops[i]);
        if (n == 0 || n > s->held.len)
            continue;
        const char *at = memmem(s->held.data, s->held.len, s->stops[i], n);
        if (at && (size_t)(at - s->held.data) < first) {
            first = (size_t)(at - s->held.data);
            s->found = s->stops[i];
        }
    }
    return first;
}

/* Bytes at the end of the held text that a stop string begins with. */
static size_t possible_start(const stopper *s)
{
    size_t most = 0;
    for (size_t i = 0; i < s->n_stops; i++) {
        size_t n = strlen(s->stops[i]);
        for (size_t k = n > 0 ? n - 1 : 0; k > most; k--)
            if (k <= s->held.len && memcmp(s->held.data + s->held.len - k, s->stops[i], k) == 0) {
                most = k;
                break;
            }
    }
    return most;
}

bool stopper_push(stopper *s, const char *text, size_t len, nx_str *out)
{
    nx_str_add(&s->held, text, len);
    size_t stop = find_stop(s);
    if (stop < s->held.len) {
        nx_str_add(out, s->held.data, stop);
        nx_str_truncate(&s->held, 0);
        return true;
    }
    size_t ready = s->held.len - possible_start(s);
    nx_str_add(out, s->held.data, ready);
    memmove(s->held.data, s->held.data + ready, s->held.len - ready);
    nx_str_truncate(&s->held, s->held.len - ready);
    return false;
}

void stopper_flush(stopper *s, nx_str *out)
{
    nx_str_add(out, nx_str_cstr(&s->held), s->held.len);
    nx_str_truncate(&s->held, 0);
}
