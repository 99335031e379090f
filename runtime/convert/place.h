/*
 * place.h: where a conversion writes: a folder with a hidden name beside the target, which gets the
 * target's name when all is in it. What a killed conversion leaves is removed by the next.
 */
#ifndef NX_RUNTIME_CONVERT_PLACE_H
#define NX_RUNTIME_CONVERT_PLACE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    char *target; /* the path asked for, without slashes after it */
    char *parent, *name;
    char *folder; /* the hidden one; NULL once it is gone */
    bool replace;
} place;

/* Checks that nothing is in the way and that `bytes` fit on the disk. False with a message. */
bool place_open(place *p, const char *target, uint64_t bytes, bool replace);
/* The hidden folder becomes the target. */
bool place_commit_folder(place *p);
/* Each file in it goes beside the target under its own name; those of the first part last. */
bool place_commit_files(place *p);
/* Frees; without a commit nothing of it remains. */
void place_clear(place *p);

#endif
