#include "cli/verbs.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "cli/cli.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *about;
} commands[] = {
#define NX_COMMAND(name, about) {#name, cli_##name, about},
#include "cli/commands.def"
#undef NX_COMMAND
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static verb *filling;

static char *copy(const char *s)
{
    return nx_strdup(s ? s : "");
}

static void describe(const arg_command *c)
{
    filling->usage = copy(c->usage);
    filling->text = copy(c->about);
    for (const arg_option *o = c->options; o->name && filling->n_options < 64; o++)
        filling->options[filling->n_options++] = (struct verb_option){
            copy(o->name), copy(o->operand), copy(o->help), o->letter, o->type, o->setting};
}

const verb *verbs_all(size_t *n)
{
    static verb *all;
    *n = N_COMMANDS;
    if (all)
        return all;
    all = nx_calloc(N_COMMANDS, sizeof *all);
    args_describe = describe;
    for (int i = 0; i < N_COMMANDS; i++) {
        char *argv[] = {(char *)(uintptr_t)commands[i].name, NULL};
        filling = &all[i];
        filling->name = commands[i].name;
        filling->about = commands[i].about;
        commands[i].run(1, argv);
        if (!filling->usage)
            filling->usage = filling->text = copy("");
    }
    args_describe = NULL;
    return all;
}

static bool is_key(const char *option, const char *key)
{
    for (; *option && *key; option++, key++)
        if (*option != *key && !(*option == '-' && *key == '_'))
            return false;
    return *option == *key;
}

static const struct verb_option *find(const char *key, bool settings_only)
{
    size_t n;
    const verb *all = verbs_all(&n);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < all[i].n_options; k++)
            if ((all[i].options[k].setting || !settings_only) && is_key(all[i].options[k].name, key))
                return &all[i].options[k];
    return NULL;
}

const struct verb_option *verbs_setting(const char *key)
{
    return find(key, true);
}

bool verbs_has_option(const char *key)
{
    const struct verb_option *o = find(key, false);
    return o && o->type != ARG_FLAG;
}
