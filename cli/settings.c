#include "cli/settings.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/os.h"

static const char shipped_text[] =
    "{\"ai-research\": {\n"
    "  \"model\": \"auto:reason\",\n"
    "  \"system\": \"You are a careful research assistant. Say what is known, what is likely and what "
    "is not known; give the reasons, and say where a claim comes from.\",\n"
    "  \"temp\": 0.3, \"top_p\": 0.9, \"ctx\": 0,\n"
    "  \"folders\": [\"/Volumes/MICRO/models\"],\n"
    "  \"lmstudio\": \"http://127.0.0.1:1234\"\n"
    "}}";

static const json_t *shipped(void)
{
    static json_t *all;
    if (!all)
        all = json_loads(shipped_text, 0, NULL);
    return all;
}

char *settings_path(void)
{
    nx_str path = {0};
    char *p = nx_os_path(&path, NX_OS_CONFIG, "config.json") ? nx_str_take(&path) : NULL;
    nx_str_clear(&path);
    return p;
}

json_t *settings_load(void)
{
    char *path = settings_path();
    json_t *j = path && nx_os_is_file(path) ? nx_json_load_file(path) : json_object();
    if (j && !json_is_object(j)) {
        nx_fail("[%s] holds no object of settings", path);
        json_decref(j);
        j = NULL;
    }
    free(path);
    return j;
}

bool settings_save(const json_t *settings)
{
    char *path = settings_path();
    if (!path)
        return false;
    char *text = json_dumps(settings, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
    char *folder = nx_strndup(path, (size_t)(strrchr(path, '/') - path));
    nx_str whole = {0};
    nx_str_printf(&whole, "%s\n", text);
    bool ok = nx_os_mkdir_p(folder, 0700) && nx_os_write_file(path, nx_str_cstr(&whole), whole.len);
    nx_str_clear(&whole);
    free(folder);
    free(text);
    free(path);
    return ok;
}

const json_t *settings_profile(const json_t *settings, const char *name)
{
    const json_t *p = json_object_get(json_object_get(settings, "profiles"), name);
    return json_is_object(p) ? p : json_object_get(shipped(), name);
}

json_t *settings_profiles(const json_t *settings)
{
    json_t *all = json_copy((json_t *)(uintptr_t)shipped());
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(settings, "profiles"), name, value)
        if (json_is_object(value))
            json_object_set(all, name, value);
    return all;
}

bool settings_is_shipped(const json_t *profile)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)shipped(), name, value)
        if (value == profile)
            return true;
    return false;
}
