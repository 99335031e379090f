#include "runtime/catalog/names.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/os.h"

static json_t *load(nx_os_dir dir, const char *file)
{
    nx_str path = {0};
    json_t *j = NULL;
    if (nx_os_path(&path, dir, file) && nx_os_is_file(nx_str_cstr(&path)))
        j = nx_json_load_file(nx_str_cstr(&path));
    nx_str_clear(&path);
    return j;
}

json_t *names_aliases(void)
{
    json_t *j = load(NX_OS_DATA, "aliases.json");
    if (json_is_object(j))
        return j;
    json_decref(j);
    return json_object();
}

char *names_alias(const char *alias)
{
    json_t *all = names_aliases();
    const char *name;
    json_t *value;
    char *found = NULL;
    json_object_foreach(all, name, value)
        if (!found && strcasecmp(name, alias) == 0 && json_is_string(value))
            found = nx_strdup(json_string_value(value));
    json_decref(all);
    return found;
}

bool names_set_alias(const char *alias, const char *target)
{
    if (!*alias || alias[0] == '.' || alias[0] == '-' || strpbrk(alias, "/\n"))
        return nx_fail("'%s' cannot be an alias: it may not be empty, begin with '.' or '-', or hold "
                       "a slash", alias);
    nx_str folder = {0};
    json_t *all = names_aliases();
    const char *name, *other = alias;
    json_t *value;
    json_object_foreach(all, name, value)
        if (strcasecmp(name, alias) == 0)
            other = name; /* its spelling so far */
    bool ok = true;
    if (target) {
        ok = json_object_set_new(all, other, json_string(target)) == 0 ||
             nx_fail("'%s' is not valid UTF-8", target);
    } else if (json_object_del(all, other) != 0) {
        ok = nx_fail("there is no alias '%s'", alias);
    }
    char *text = json_dumps(all, JSON_INDENT(2) | JSON_SORT_KEYS);
    ok = ok && nx_os_path(&folder, NX_OS_DATA, NULL) && nx_os_mkdir_p(nx_str_cstr(&folder), 0700);
    if (ok) {
        nx_str_puts(&folder, "/aliases.json");
        ok = nx_os_write_file(nx_str_cstr(&folder), text, strlen(text));
    }
    free(text);
    json_decref(all);
    nx_str_clear(&folder);
    return ok;
}

static void add_folder(names_list *out, const char *text, size_t n)
{
    const char *home = getenv("HOME");
    nx_str path = {0};
    if (n >= 1 && text[0] == '~' && (n == 1 || text[1] == '/') && home) {
        nx_str_puts(&path, home);
        text++;
        n--;
    }
    nx_str_add(&path, text, n);
    if (path.len)
        nx_vec_push(out, nx_str_take(&path));
    nx_str_clear(&path);
}

void names_folders(names_list *out)
{
    const char *given = getenv("NEXUS_FOLDERS");
    if (given) {
        for (const char *p = given; *p; p += strcspn(p, ":"), p += *p == ':')
            add_folder(out, p, strcspn(p, ":"));
        return;
    }
    json_t *settings = load(NX_OS_CONFIG, "config.json");
    const json_t *list = json_object_get(settings, "folders");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *s = json_string_value(json_array_get(list, i));
        if (s)
            add_folder(out, s, strlen(s));
    }
    if (json_is_string(list))
        add_folder(out, json_string_value(list), json_string_length(list));
    json_decref(settings);
}

void names_list_clear(names_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->at[i]);
    nx_vec_clear(l);
}
