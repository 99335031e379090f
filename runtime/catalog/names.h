/*
 * names.h: what a person calls models: aliases (aliases.json in the data folder), and the folders
 * the settings name for scans.
 */
#ifndef NX_RUNTIME_CATALOG_NAMES_H
#define NX_RUNTIME_CATALOG_NAMES_H

#include <stdbool.h>

#include "base/json.h"
#include "base/str.h"
#include "base/vec.h"

/* What an alias (in any case) stands for, a path or a name; NULL if it is none. free() it. */
char *names_alias(const char *alias);
/* All of them, name -> target; never NULL. json_decref it. */
json_t *names_aliases(void);
/* target NULL: removes it. False with an error. */
bool names_set_alias(const char *alias, const char *target);

typedef NX_VEC(char *) names_list;
/* NEXUS_FOLDERS (separated by ':'), else the list "folders" of config.json. */
void names_folders(names_list *out);
void names_list_clear(names_list *l);

#endif
