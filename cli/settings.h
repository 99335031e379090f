/*
 * settings.h: config.json: reading, changing, and the profiles in it.
 */
#ifndef NX_CLI_SETTINGS_H
#define NX_CLI_SETTINGS_H

#include <jansson.h>
#include <stdbool.h>

/* The file as an object, an empty one where there is none; NULL with an error where it is broken. */
json_t *settings_load(void);
/* Replaces the file whole. False with an error. */
bool settings_save(const json_t *settings);
/* Its path, free() it; NULL without a home folder. */
char *settings_path(void);

/* A profile of the file, or one that ships; borrowed. NULL: there is none. */
const json_t *settings_profile(const json_t *settings, const char *name);
/* All of them, name -> profile, the file's before the shipped; json_decref it. */
json_t *settings_profiles(const json_t *settings);
bool settings_is_shipped(const json_t *profile);

#endif
