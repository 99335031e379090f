#include "cli/args.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/os.h"
#include "base/str.h"
#include "cli/settings.h"

int args_usage_error(const arg_command *c, const char *fmt, ...)
{
    va_list ap;
    fputs("nexus: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\nusage: %s (see --help)\n", c->usage);
    return 2;
}

static void print_help(const arg_command *c)
{
    printf("usage: %s\n\n%s\n", c->usage, c->about);
    if (c->options->name)
        printf("\noptions:\n");
    for (const arg_option *o = c->options; o->name; o++) {
        char head[64];
        int n = o->letter ? snprintf(head, sizeof head, "  -%c, --%s", o->letter, o->name)
                          : snprintf(head, sizeof head, "      --%s", o->name);
        if (o->operand)
            snprintf(head + n, sizeof head - (size_t)n, " %s", o->operand);
        printf("%-28s %s\n", head, o->help);
    }
    printf("%-28s %s\n", "      --profile NAME", "take what is not given from this profile");
    printf("%-28s %s\n", "  -h, --help", "this text");
}

static bool parse_whole(const char *text, long long least, long long most, long long *out)
{
    char *end;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return end != text && !*end && !errno && *out >= least && *out <= most;
}

static bool parse_seed(const char *text, uint64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return end != text && !*end && !errno && *text != '-';
}

static bool parse_real(const char *text, double *out)
{
    char *end;
    errno = 0;
    *out = strtod(text, &end);
    return end != text && !*end && !errno;
}

/* Stores a value given as text. False where it is none of the option's type. */
static bool store(const arg_option *o, const char *text)
{
    long long whole;
    switch (o->type) {
    case ARG_FLAG:
        *(bool *)o->value = !text || (strcmp(text, "0") != 0 && strcmp(text, "false") != 0);
        return true;
    case ARG_INT:
        if (!parse_whole(text, INT_MIN, INT_MAX, &whole))
            return false;
        *(int *)o->value = (int)whole;
        return true;
    case ARG_SEED:
        return parse_seed(text, o->value);
    case ARG_REAL:
        return parse_real(text, o->value);
    case ARG_TEXT:
        *(const char **)o->value = text;
        return true;
    case ARG_TEXTS: {
        arg_texts *list = o->value;
        if (list->n == sizeof list->at / sizeof *list->at)
            return false;
        list->at[list->n++] = text;
        return true;
    }
    }
    return false;
}

static const arg_option *find_long(const arg_command *c, const char *name, size_t n)
{
    for (const arg_option *o = c->options; o->name; o++)
        if (strlen(o->name) == n && memcmp(o->name, name, n) == 0)
            return o;
    return NULL;
}

static const arg_option *find_letter(const arg_command *c, char letter)
{
    for (const arg_option *o = c->options; o->name; o++)
        if (o->letter == letter)
            return o;
    return NULL;
}

/* One flag at argv[*i], with its value in "--name=value", "-nvalue" or the next argument. */
static int take_flag(const arg_command *c, int argc, char **argv, int *i, bool *given)
{
    const char *arg = argv[*i], *value = NULL;
    const arg_option *o;
    if (arg[1] == '-') {
        const char *equals = strchr(arg, '=');
        size_t n = equals ? (size_t)(equals - arg - 2) : strlen(arg) - 2;
        o = find_long(c, arg + 2, n);
        value = equals ? equals + 1 : NULL;
    } else {
        o = find_letter(c, arg[1]);
        value = arg[2] ? arg + 2 : NULL;
    }
    if (!o)
        return args_usage_error(c, "there is no option %s", arg);
    if (o->type == ARG_FLAG && value)
        return args_usage_error(c, "option --%s takes no value", o->name);
    if (o->type != ARG_FLAG && !value) {
        if (*i + 1 == argc)
            return args_usage_error(c, "option --%s needs a value", o->name);
        value = argv[++*i];
    }
    if (!store(o, value))
        return args_usage_error(c, "'%s' is no value for --%s", value, o->name);
    given[o - c->options] = true;
    return ARGS_OK;
}

/* "max-tokens" -> "NEXUS_MAX_TOKENS" or "max_tokens" */
static void spell(char *out, size_t size, const char *prefix, const char *name, bool upper)
{
    int n = snprintf(out, size, "%s%s", prefix, name);
    for (char *p = out; p < out + n; p++)
        *p = *p == '-' ? '_' : upper ? (char)toupper((unsigned char)*p) : *p;
}

/* Read once, kept to the end. */
static const json_t *load_settings(void)
{
    static json_t *settings;
    static bool loaded;
    if (loaded)
        return settings;
    loaded = true;
    settings = settings_load();
    if (!settings)
        fprintf(stderr, "nexus: the settings are ignored: %s\n", nx_error_message());
    return settings;
}

/* A value of config.json as text; numbers and truths too. The result lives until the end. */
static char *setting_text(const json_t *settings, const char *key)
{
    const json_t *v = json_object_get(settings, key);
    if (json_is_string(v))
        return nx_strdup(json_string_value(v));
    return v && !json_is_null(v) ? json_dumps(v, JSON_ENCODE_ANY) : NULL;
}

/* ---- profiles ---- */

void (*args_describe)(const arg_command *c);

static const char *profile_flag;  /* --profile */
static const json_t *profile; /* the one in force, NULL: none */

bool args_profile_given(void)
{
    return profile_flag != NULL;
}

const char *args_profile_text(const char *key)
{
    return setting_text(profile, key);
}

/* The folders of a profile are those that scans look into. */
static void take_folders(void)
{
    const json_t *list = json_object_get(profile, "folders");
    nx_str all = {0};
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *folder = json_string_value(json_array_get(list, i));
        if (folder && (!settings_is_shipped(profile) || nx_os_is_dir(folder)))
            nx_str_printf(&all, "%s%s", all.len ? ":" : "", folder);
    }
    if (all.len)
        setenv("NEXUS_FOLDERS", nx_str_cstr(&all), 0);
    nx_str_clear(&all);
}

static int take_profile(const arg_command *c)
{
    const char *name = profile_flag ? profile_flag : getenv("NEXUS_PROFILE");
    if (!name)
        name = json_string_value(json_object_get(load_settings(), "profile"));
    if (!name || !*name)
        return ARGS_OK;
    profile = settings_profile(load_settings(), name);
    if (!profile)
        return args_usage_error(c, "there is no profile '%s' (nexus profile list)", name);
    take_folders();
    return ARGS_OK;
}

/* What stands where no flag gave the option: the environment, the profile, the settings file. Never
 * freed: options point into these texts as they point into argv. */
static const char *find_setting(const arg_option *o, char *where, size_t size)
{
    const char *text = NULL;
    if (o->setting) {
        spell(where, size, "NEXUS_", o->name, true);
        text = getenv(where);
    }
    if (!text) {
        spell(where, size, "", o->name, false);
        if (o->type != ARG_FLAG)
            text = setting_text(profile, where);
        if (!text && o->setting)
            text = setting_text(load_settings(), where);
    }
    return text;
}

static int take_settings(const arg_command *c, const bool *given)
{
    char where[128];
    for (const arg_option *o = c->options; o->name; o++) {
        if (given[o - c->options])
            continue;
        const char *text = find_setting(o, where, sizeof where);
        if (text && *text && !store(o, text))
            return args_usage_error(c, "'%s' is no value for the setting %s", text, where);
    }
    return ARGS_OK;
}

/* "--profile NAME" or "--profile=NAME" at argv[*i]; false for anything else. */
static bool take_profile_flag(int argc, char **argv, int *i)
{
    static const char flag[] = "--profile";
    size_t n = sizeof flag - 1;
    if (strncmp(argv[*i], flag, n) != 0 || (argv[*i][n] && argv[*i][n] != '='))
        return false;
    profile_flag = argv[*i][n] ? argv[*i] + n + 1 : *i + 1 < argc ? argv[++*i] : "";
    return true;
}

int args_parse(const arg_command *c, int argc, char **argv, const char **operands)
{
    bool given[64] = {false}, flags_end = false;
    int n = 0;
    if (args_describe) {
        args_describe(c);
        return 0;
    }
    for (int i = 0; i < c->most_operands; i++)
        operands[i] = NULL;
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (!flags_end && strcmp(arg, "--") == 0) {
            flags_end = true;
        } else if (!flags_end && (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0)) {
            print_help(c);
            return 0;
        } else if (!flags_end && take_profile_flag(argc, argv, &i)) {
            continue;
        } else if (!flags_end && arg[0] == '-' && arg[1]) {
            int code = take_flag(c, argc, argv, &i, given);
            if (code != ARGS_OK)
                return code;
        } else if (n == c->most_operands) {
            return args_usage_error(c, "unexpected argument '%s'", arg);
        } else {
            operands[n++] = arg;
        }
    }
    int code = take_profile(c);
    return code == ARGS_OK ? take_settings(c, given) : code;
}
