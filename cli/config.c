/* config.c: nexus config and nexus profile: the settings file by command. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ctype.h>

#include "base/error.h"
#include "base/str.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/json_out.h"
#include "cli/settings.h"
#include "cli/table.h"
#include "cli/verbs.h"

/* "max-tokens" is the key "max_tokens". */
static char *key_of(const char *name)
{
    char *key = nx_strdup(name);
    for (char *p = key; *p; p++)
        *p = *p == '-' ? '_' : *p;
    return key;
}

/* A value as the setting wants it; NULL for what is none. */
static json_t *value_of(arg_type type, const char *text)
{
    char *end;
    errno = 0;
    if (type == ARG_INT || type == ARG_SEED) {
        long long v = strtoll(text, &end, 10);
        return *text && !*end && !errno ? json_integer(v) : NULL;
    }
    if (type == ARG_REAL) {
        double v = strtod(text, &end);
        return *text && !*end && !errno ? json_real(v) : NULL;
    }
    if (type == ARG_FLAG)
        return strcmp(text, "true") == 0 || strcmp(text, "1") == 0    ? json_true()
               : strcmp(text, "false") == 0 || strcmp(text, "0") == 0 ? json_false()
                                                                      : NULL;
    return json_string(text);
}

static json_t *list_of(const char *const *values)
{
    json_t *list = json_array();
    for (; *values; values++)
        json_array_append_new(list, json_out_text(*values));
    return list;
}

/* Value(s) for a key of the file or of a profile; NULL after a message. */
static json_t *make_value(const char *key, const char *const *values, bool profile)
{
    if (strcmp(key, "folders") == 0)
        return list_of(values);
    const struct verb_option *o = verbs_setting(key);
    bool text = strcmp(key, "profile") == 0 || (profile && strcmp(key, "model") == 0);
    bool other = profile && !o && verbs_has_option(key);
    if (!o && !text && !other) {
        nx_fail("there is no setting '%s' (nexus config list --all shows them)", key);
        return NULL;
    }
    if (values[1]) {
        nx_fail("the setting '%s' takes one value", key);
        return NULL;
    }
    json_t *v = value_of(o && !text ? o->type : ARG_TEXT, values[0]);
    if (!v)
        nx_fail("'%s' is no value for the setting '%s'", values[0], key);
    return v;
}

static void print_value(const json_t *v)
{
    if (json_is_string(v)) {
        puts(json_string_value(v));
    } else if (json_is_array(v)) {
        for (size_t i = 0; i < json_array_size(v); i++)
            print_value(json_array_get(v, i));
    } else {
        char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_INDENT(2) | JSON_REAL_PRECISION(12));
        puts(text ? text : "");
        free(text);
    }
}

/* ---- config ---- */

static const char *environment_of(const char *key)
{
    nx_str name = {0};
    nx_str_puts(&name, "NEXUS_");
    for (const char *p = key; *p; p++)
        nx_str_putc(&name, (char)toupper((unsigned char)*p));
    const char *v = getenv(nx_str_cstr(&name));
    nx_str_clear(&name);
    return v;
}

static void add_row(table *t, const char *key, const json_t *set, const char *help)
{
    const char *env = environment_of(key);
    char *text = set ? json_is_string(set) ? nx_strdup(json_string_value(set))
                                           : json_dumps(set, JSON_ENCODE_ANY | JSON_COMPACT)
                     : NULL;
    table_add(t, TABLE_STRONG, "%s", key);
    table_add(t, TABLE_PLAIN, "%s", env ? env : text ? text : "");
    table_add(t, TABLE_DIM, "%s", env ? "environment" : text ? "file" : "");
    table_add(t, TABLE_DIM, "%s", help);
    free(text);
}

/* What is set, or with `all` what could be. */
static int list_settings(const json_t *settings, bool all, bool json)
{
    static const table_column columns[] = {
        {"SETTING", false, 0, 0}, {"VALUE", false, 12, 0}, {"FROM", false, 0, 1}, {"", false, 10, 2}};
    size_t n;
    const verb *verbs = verbs_all(&n);
    json_t *seen = json_object();
    table *t = table_new(columns, 4);
    if (json)
        return table_free(t), json_decref(seen), json_out_print(json_deep_copy(settings));
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < verbs[i].n_options; k++) {
            char *key = key_of(verbs[i].options[k].name);
            const json_t *set = json_object_get(settings, key);
            if (verbs[i].options[k].setting && !json_object_get(seen, key) &&
                (all || set || environment_of(key)))
                add_row(t, key, set, verbs[i].options[k].help);
            json_object_set_new(seen, key, json_boolean(verbs[i].options[k].setting ||
                                                        json_is_true(json_object_get(seen, key))));
            if (!json_is_true(json_object_get(seen, key)))
                json_object_del(seen, key);
            free(key);
        }
    if (all || json_object_get(settings, "folders") || getenv("NEXUS_FOLDERS"))
        add_row(t, "folders", json_object_get(settings, "folders"), "folders that scans look into");
    if (all || json_object_get(settings, "profile") || getenv("NEXUS_PROFILE"))
        add_row(t, "profile", json_object_get(settings, "profile"), "the profile in use");
    table_print(t, stdout);
    table_free(t);
    json_decref(seen);
    return EXIT_GOOD;
}

static int set_setting(json_t *settings, const char *key, const char *const *values)
{
    json_t *v = make_value(key, values, false);
    if (!v)
        return cli_fail_here(NEXUS_ERROR_ARGUMENT);
    if (strcmp(key, "profile") == 0 && !settings_profile(settings, values[0])) {
        json_decref(v);
        nx_fail("there is no profile '%s' (nexus profile list)", values[0]);
        return cli_fail_here(NEXUS_ERROR);
    }
    json_object_set_new(settings, key, v);
    return settings_save(settings) ? EXIT_GOOD : cli_fail_here(NEXUS_ERROR);
}

static int get_setting(const json_t *settings, const char *key)
{
    const char *env = environment_of(key);
    const json_t *v = json_object_get(settings, key);
    if (!v && !env && !verbs_setting(key) && strcmp(key, "folders") != 0 && strcmp(key, "profile") != 0) {
        nx_fail("there is no setting '%s' (nexus config list --all shows them)", key);
        return cli_fail_here(NEXUS_ERROR_ARGUMENT);
    }
    if (env)
        puts(env);
    else if (v)
        print_value(v);
    return env || v ? EXIT_GOOD : EXIT_FAILED;
}

int cli_config(int argc, char **argv)
{
    bool all = false, json = false;
    const arg_option options[] = {
        {"all", 'a', ARG_FLAG, &all, false, NULL, "list: also what is not set"},
        {"json", 0, ARG_FLAG, &json, false, NULL, "list: the file as JSON"},
        {0},
    };
    const arg_command command = {"nexus config list | get KEY | set KEY VALUE... | unset KEY | path",
                                 "Reads and changes the settings file. KEY is an option's name, 'folders' or\n"
                                 "'profile'; flags and NEXUS_* win over the file.",
                                 options, 32};
    const char *o[33] = {NULL};
    int code = args_parse(&command, argc, argv, o);
    if (code != ARGS_OK)
        return code;
    const char *action = o[0] ? o[0] : "list";
    char *path = settings_path(), *key = o[0] && o[1] ? key_of(o[1]) : NULL;
    json_t *settings = settings_load();
    if (strcmp(action, "path") == 0 && path)
        puts(path), code = EXIT_GOOD;
    else if (!settings)
        code = cli_fail_here(NEXUS_ERROR);
    else if (strcmp(action, "list") == 0 && !key)
        code = list_settings(settings, all, json);
    else if (strcmp(action, "get") == 0 && key && !o[2])
        code = get_setting(settings, key);
    else if (strcmp(action, "set") == 0 && key && o[2])
        code = set_setting(settings, key, o + 2);
    else if (strcmp(action, "unset") == 0 && key && !o[2])
        code = json_object_del(settings, key) != 0    ? (nx_fail("'%s' is not set", key), cli_fail_here(NEXUS_ERROR))
               : settings_save(settings) ? EXIT_GOOD : cli_fail_here(NEXUS_ERROR);
    else
        code = args_usage_error(&command, "'%s' makes no sense here", action);
    free(path);
    free(key);
    json_decref(settings);
    return code;
}

/* ---- profiles ---- */

static int list_profiles(const json_t *settings, bool json)
{
    static const table_column columns[] = {
        {"PROFILE", false, 0, 0}, {"MODEL", false, 10, 0}, {"", false, 0, 1}, {"SYSTEM", false, 12, 2}};
    json_t *all = settings_profiles(settings), *value;
    const char *name, *used = json_string_value(json_object_get(settings, "profile"));
    if (json) {
        json_t *o = json_pack("{s:o, s:o?}", "profiles", all, "used", used ? json_string(used) : NULL);
        return json_out_print(o);
    }
    table *t = table_new(columns, 4);
    json_object_foreach(all, name, value)
    {
        const char *model = json_string_value(json_object_get(value, "model"));
        const char *system = json_string_value(json_object_get(value, "system"));
        table_add(t, TABLE_STRONG, "%s", name);
        table_add(t, TABLE_PLAIN, "%s", model ? model : "");
        table_add(t, TABLE_GOOD, "%s", used && strcmp(used, name) == 0 ? "in use" : "");
        table_add(t, TABLE_DIM, "%s", system ? system : "");
    }
    table_print(t, stdout);
    table_free(t);
    json_decref(all);
    return EXIT_GOOD;
}

/* The file's own copy of a profile, made from the shipped one or new. */
static json_t *own_profile(json_t *settings, const char *name)
{
    json_t *profiles = json_object_get(settings, "profiles");
    if (!json_is_object(profiles)) {
        profiles = json_object();
        json_object_set_new(settings, "profiles", profiles);
    }
    json_t *p = json_object_get(profiles, name);
    if (!json_is_object(p)) {
        const json_t *from = settings_profile(settings, name);
        p = from ? json_deep_copy(from) : json_object();
        json_object_set_new(profiles, name, p);
    }
    return p;
}

static int set_in_profile(json_t *settings, const char *name, const char *key, const char *const *values)
{
    json_t *v = *values ? make_value(key, values, true) : NULL;
    if (*values && !v)
        return cli_fail_here(NEXUS_ERROR_ARGUMENT);
    json_t *p = own_profile(settings, name);
    if (v)
        json_object_set_new(p, key, v);
    else
        json_object_del(p, key);
    return settings_save(settings) ? EXIT_GOOD : cli_fail_here(NEXUS_ERROR);
}

static int use_profile(json_t *settings, const char *name)
{
    if (strcmp(name, "none") == 0) {
        json_object_del(settings, "profile");
    } else if (!settings_profile(settings, name)) {
        nx_fail("there is no profile '%s' (nexus profile list)", name);
        return cli_fail_here(NEXUS_ERROR);
    } else {
        json_object_set_new(settings, "profile", json_out_text(name));
    }
    return settings_save(settings) ? EXIT_GOOD : cli_fail_here(NEXUS_ERROR);
}

static int remove_profile(json_t *settings, const char *name)
{
    if (json_object_del(json_object_get(settings, "profiles"), name) != 0) {
        nx_fail("there is no profile '%s' in the settings file", name);
        return cli_fail_here(NEXUS_ERROR);
    }
    const char *used = json_string_value(json_object_get(settings, "profile"));
    if (used && strcmp(used, name) == 0 && !settings_profile(settings, name))
        json_object_del(settings, "profile");
    return settings_save(settings) ? EXIT_GOOD : cli_fail_here(NEXUS_ERROR);
}

static int show_profile(const json_t *settings, const char *name)
{
    const json_t *p = settings_profile(settings, name);
    if (p)
        return json_out_print(json_deep_copy(p));
    nx_fail("there is no profile '%s' (nexus profile list)", name);
    return cli_fail_here(NEXUS_ERROR);
}

int cli_profile(int argc, char **argv)
{
    bool json = false;
    const arg_option options[] = {
        {"json", 0, ARG_FLAG, &json, false, NULL, "list: as JSON"},
        {0},
    };
    const arg_command command = {
        "nexus profile list | show NAME | set NAME KEY [VALUE...] | use NAME | remove NAME",
        "Profiles: named sets of a model (or auto:TASK), sampling, system message, context, folders and\n"
        "LM Studio's address. 'use' puts one in force ('use none' ends it); --profile does for one call.",
        options, 32};
    const char *o[33] = {NULL};
    int code = args_parse(&command, argc, argv, o);
    if (code != ARGS_OK)
        return code;
    const char *action = o[0] ? o[0] : "list";
    json_t *settings = settings_load();
    char *key = o[0] && o[1] && o[2] ? key_of(o[2]) : NULL;
    if (!settings)
        code = cli_fail_here(NEXUS_ERROR);
    else if (strcmp(action, "list") == 0)
        code = list_profiles(settings, json);
    else if (strcmp(action, "show") == 0 && o[1] && !o[2])
        code = show_profile(settings, o[1]);
    else if (strcmp(action, "use") == 0 && o[1] && !o[2])
        code = use_profile(settings, o[1]);
    else if (strcmp(action, "remove") == 0 && o[1] && !o[2])
        code = remove_profile(settings, o[1]);
    else if (strcmp(action, "set") == 0 && key)
        code = set_in_profile(settings, o[1], key, o + 3);
    else
        code = args_usage_error(&command, "'%s' makes no sense here", action);
    free(key);
    json_decref(settings);
    return code;
}
