/* stores.c: where this and other programs keep models, and how ollama names them. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/os.h"
#include "runtime/catalog/scan.h"

enum { MOST_MANIFEST = 1 << 20 };

static void add_place(catalog_places *out, const char *store, const char *base, const char *below)
{
    nx_str path = {0};
    if (!base || base[0] != '/')
        return;
    nx_str_printf(&path, "%s%s", base, below);
    bool known = false;
    for (size_t i = 0; i < out->n; i++)
        known |= strcmp(out->at[i].path, nx_str_cstr(&path)) == 0;
    if (!known && nx_os_is_dir(nx_str_cstr(&path)))
        nx_vec_push(out, (catalog_place){store, nx_str_take(&path)});
    nx_str_clear(&path);
}

void scan_places(catalog_places *out)
{
    nx_str ours = {0};
    const char *home = getenv("HOME"), *cache = getenv("XDG_CACHE_HOME");
    if (nx_os_path(&ours, NX_OS_DATA, "models"))
        add_place(out, "nexus", nx_str_cstr(&ours), "");
    nx_str_clear(&ours);
    add_place(out, "lmstudio", home, "/.lmstudio/models");
    add_place(out, "lmstudio", home, "/.cache/lm-studio/models");
    add_place(out, "huggingface", getenv("HF_HUB_CACHE"), "");
    add_place(out, "huggingface", getenv("HF_HOME"), "/hub");
    if (cache)
        add_place(out, "huggingface", cache, "/huggingface/hub");
    add_place(out, "huggingface", home, "/.cache/huggingface/hub");
    add_place(out, "ollama", getenv("OLLAMA_MODELS"), "");
    add_place(out, "ollama", home, "/.ollama/models");
    add_place(out, "ollama", "/usr/share/ollama/.ollama/models", "");
}

void scan_places_clear(catalog_places *p)
{
    for (size_t i = 0; i < p->n; i++)
        free(p->at[i].path);
    nx_vec_clear(p);
}

/* ---- ollama ---- */

/* "registry.ollama.ai/library/llama3.2/1b" is called "llama3.2:1b"; another's model keeps its
 * namespace: "hf.co/bartowski/x/Q4_K_M" is "bartowski/x:Q4_K_M". */
static void manifest_name(nx_str *out, const char *below)
{
    const char *part[8], *p = below;
    size_t n = 0;
    for (; p && n < 8; p = strchr(p, '/'), p = p ? p + 1 : NULL)
        part[n++] = p;
    if (n < 3) {
        nx_str_puts(out, below);
        return;
    }
    const char *space = part[n - 3], *name = part[n - 2], *tag = part[n - 1];
    if (strncmp(space, "library/", 8) != 0)
        nx_str_add(out, space, (size_t)(name - space));
    nx_str_add(out, name, (size_t)(tag - name) - 1);
    nx_str_printf(out, ":%s", tag);
}

/* Digests are "sha256:HEX", files "sha256-HEX". Anything else is no name of a blob. */
static bool blob_name(nx_str *out, const char *digest)
{
    if (!digest || strncmp(digest, "sha256:", 7) != 0 || strlen(digest) != 7 + 64 ||
        strspn(digest + 7, "0123456789abcdef") != 64)
        return false;
    nx_str_printf(out, "sha256-%s", digest + 7);
    return true;
}

static void add_manifest(catalog_scan *s, const char *store, const char *path, const char *below)
{
    nx_str text = {0}, name = {0}, blobs = {0};
    json_t *j = nx_os_read_file(path, &text, MOST_MANIFEST)
                    ? nx_json_parse(nx_str_cstr(&text), text.len, path)
                    : NULL;
    const json_t *layers = json_object_get(j, "layers");
    manifest_name(&name, below);
    nx_str_printf(&blobs, "%s/blobs", store);
    for (size_t i = 0; i < json_array_size(layers); i++) {
        const json_t *layer = json_array_get(layers, i);
        const char *type = nx_json_get_str(layer, "mediaType", "");
        nx_str blob = {0};
        if (strcmp(type, "application/vnd.ollama.image.model") == 0 &&
            blob_name(&blob, nx_json_get_str(layer, "digest", NULL)))
            scan_add_file(s, UNIT_GGUF, nx_str_cstr(&blobs), nx_str_cstr(&blob), nx_str_cstr(&name),
                          "ollama");
        nx_str_clear(&blob);
    }
    json_decref(j);
    nx_str_clear(&text);
    nx_str_clear(&name);
    nx_str_clear(&blobs);
}

/* Manifests lie four folders deep: host, namespace, model, tag. */
static void walk_manifests(catalog_scan *s, const char *store, const char *folder, size_t root,
                           int depth)
{
    DIR *d = depth <= 4 ? opendir(folder) : NULL;
    for (struct dirent *e; d && (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        nx_str path = {0};
        nx_str_printf(&path, "%s/%s", folder, e->d_name);
        if (nx_os_is_dir(nx_str_cstr(&path)))
            walk_manifests(s, store, nx_str_cstr(&path), root, depth + 1);
        else if (nx_os_is_file(nx_str_cstr(&path)))
            add_manifest(s, store, nx_str_cstr(&path), nx_str_cstr(&path) + root);
        nx_str_clear(&path);
    }
    if (d)
        closedir(d);
}

void scan_ollama(catalog_scan *s, const char *path)
{
    nx_str manifests = {0};
    nx_str_printf(&manifests, "%s/manifests", path);
    walk_manifests(s, path, nx_str_cstr(&manifests), manifests.len + 1, 0);
    nx_str_clear(&manifests);
}
