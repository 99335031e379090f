#include "runtime/catalog/scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/os.h"

/* ---- what a name is worth ---- */

typedef enum { NAME_BORING, NAME_MEMBER, NAME_GGUF, NAME_UNKNOWN } name_worth;

/* Boring names cost no look at the file: a folder may hold ten thousand of them. */
static name_worth worth_of(const char *name)
{
    static const char *const members[] = {".safetensors", ".npz", ".bin", ".pth"};
    static const char *const settings[] = {
        "config.json", "adapter_config.json", "model.safetensors.index.json",
        "tokenizer_config.json", "chat_template.jinja", "modules.json",
        "config_sentence_transformers.json", "model_index.json"};
    static const char *const boring[] = {
        ".json", ".txt",  ".md",   ".py",   ".jinja", ".model", ".part", ".tmp",   ".lock", ".png",
        ".jpg",  ".jpeg", ".gif",  ".webp", ".html",  ".css",   ".js",   ".ts",    ".c",    ".h",
        ".o",    ".so",   ".yaml", ".yml",  ".toml",  ".csv",   ".tsv",  ".jsonl", ".zip",  ".gz",
        ".tar",  ".xz",   ".pdf",  ".log",  ".sh",    ".onnx",  ".pt",   ".h5",    ".tflite",
        ".msgpack", ".parquet", ".incomplete", ".download", ".mp3", ".wav", ".mp4", ".sqlite",
        ".metadata", ".lua", ".xml", ".svg", ".cpp", ".hpp", ".rs", ".go", ".java", ".ini"};
    if (name[0] == '.' || strstr(name, ".tmp-"))
        return NAME_BORING;
    if (nx_ends_with(name, ".gguf"))
        return NAME_GGUF;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        if (strcmp(name, settings[i]) == 0)
            return NAME_MEMBER;
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        if (nx_ends_with(name, members[i]))
            return NAME_MEMBER;
    for (size_t i = 0; i < sizeof boring / sizeof *boring; i++)
        if (nx_ends_with(name, boring[i]))
            return NAME_BORING;
    return NAME_UNKNOWN;
}

/* ---- units ---- */

static void files_clear(catalog_files *files)
{
    for (size_t i = 0; i < files->n; i++)
        free(files->at[i].name);
    nx_vec_clear(files);
}

static catalog_file file_of(const char *name, const struct stat *st)
{
#ifdef __APPLE__
    int64_t ns = (int64_t)st->st_mtimespec.tv_sec * 1000000000 + st->st_mtimespec.tv_nsec;
#else
    int64_t ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
#endif
    return (catalog_file){.name = nx_strdup(name), .bytes = (uint64_t)st->st_size, .modified_ns = ns,
                          .device = (uint64_t)st->st_dev, .inode = (uint64_t)st->st_ino};
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const catalog_file *)a)->name, ((const catalog_file *)b)->name);
}

static void sign(catalog_unit *u)
{
    u->signature = 1;
    for (size_t i = 0; i < u->files.n; i++) {
        const catalog_file *f = &u->files.at[i];
        uint64_t facts[3] = {f->bytes, (uint64_t)f->modified_ns, f->inode};
        const char *name = f->name ? f->name : "";
        u->signature = facts_hash(u->signature, name, strlen(name));
        u->signature = facts_hash(u->signature, facts, sizeof facts);
        u->bytes += f->bytes;
        if (f->modified_ns > u->modified_ns)
            u->modified_ns = f->modified_ns;
    }
}

static char *joined(const char *folder, const char *name)
{
    nx_str path = {0};
    size_t n = strlen(folder);
    nx_str_add(&path, folder, n);
    if (!n || folder[n - 1] != '/')
        nx_str_putc(&path, '/');
    nx_str_puts(&path, name);
    return nx_str_take(&path);
}

/* "…/models--org--name/snapshots/0123abc" is called "name"; any other folder by its last part. */
static char *folder_name(const char *path)
{
    static const char mark[] = "/models--";
    const char *at = strstr(path, mark), *snapshots = at ? strstr(at, "/snapshots/") : NULL;
    if (snapshots) {
        const char *name = at + sizeof mark - 1;
        for (const char *p = name; p + 1 < snapshots; p++)
            if (p[0] == '-' && p[1] == '-')
                name = p + 2;
        return nx_strndup(name, (size_t)(snapshots - name));
    }
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/')
        end--;
    size_t start = end;
    while (start > 0 && path[start - 1] != '/')
        start--;
    return nx_strndup(path + start, end - start);
}

static char *file_name(const char *file)
{
    int no, stem;
    if (facts_split_name(file, &no, &stem) > 0)
        return nx_strndup(file, (size_t)stem);
    return nx_strndup(file, strlen(file) - (nx_ends_with(file, ".gguf") ? 5 : 0));
}

static void add_gguf(catalog_scan *s, const char *folder, const char *store, unit_kind kind,
                     catalog_file file, const char *name)
{
    catalog_unit u = {.kind = kind, .store = store, .folder = nx_strdup(folder),
                      .path = joined(folder, file.name)};
    u.name = name ? nx_strdup(name) : file_name(file.name);
    nx_vec_push(&u.files, file);
    sign(&u);
    nx_vec_push(&s->units, u);
}

void scan_add_file(catalog_scan *s, unit_kind kind, const char *folder, const char *file,
                   const char *name, const char *store)
{
    char *path = joined(folder, file);
    struct stat st;
    if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
        add_gguf(s, folder, store, kind, file_of(file, &st), name);
    free(path);
}

/* The parts of split models, of which `first` .. n lie side by side in sorted order. Takes the
 * names it uses. Returns how many of files it took. */
static size_t add_split(catalog_scan *s, const char *folder, const char *store, catalog_file *files,
                        size_t n, int count, int stem)
{
    catalog_unit u = {.kind = UNIT_GGUF, .store = store, .folder = nx_strdup(folder),
                      .name = nx_strndup(files[0].name, (size_t)stem)};
    size_t used = 0;
    for (int part = 0; part < count; part++) {
        int no, its_stem;
        catalog_file missing = {0};
        bool is = used < n && facts_split_name(files[used].name, &no, &its_stem) == count &&
                  no == part && its_stem == stem &&
                  memcmp(files[used].name, files[0].name, (size_t)stem) == 0;
        nx_vec_push(&u.files, is ? files[used] : missing);
        used += is;
    }
    for (size_t i = 0; i < u.files.n && !u.path; i++)
        if (u.files.at[i].name)
            u.path = joined(folder, u.files.at[i].name);
    sign(&u);
    nx_vec_push(&s->units, u);
    return used;
}

static void add_ggufs(catalog_scan *s, const char *folder, const char *store, catalog_files *ggufs)
{
    nx_vec_sort(ggufs, by_name);
    for (size_t i = 0; i < ggufs->n;) {
        int no, stem, count = facts_split_name(ggufs->at[i].name, &no, &stem);
        if (count > 1 && count <= 4096) {
            i += add_split(s, folder, store, &ggufs->at[i], ggufs->n - i, count, stem);
        } else {
            add_gguf(s, folder, store, UNIT_GGUF, ggufs->at[i], NULL);
            i++;
        }
    }
    nx_vec_clear(ggufs); /* the names went over */
}

/* ---- walking ---- */

typedef NX_VEC(char *) strings;

/* What one folder holds. */
typedef struct {
    catalog_files members, ggufs, unknown;
    strings below;
    bool settings, weights, snapshots, blobs, manifests;
} listing;

static bool is_settings(const char *name)
{
    return strcmp(name, "config.json") == 0 || strcmp(name, "adapter_config.json") == 0;
}

static void note_folder(listing *l, const char *name)
{
    if (name[0] == '.')
        return;
    l->snapshots |= strcmp(name, "snapshots") == 0;
    l->blobs |= strcmp(name, "blobs") == 0;
    l->manifests |= strcmp(name, "manifests") == 0;
    nx_vec_push(&l->below, nx_strdup(name));
}

static void note_file(listing *l, const char *name, name_worth worth, const struct stat *st)
{
    if (worth == NAME_GGUF)
        nx_vec_push(&l->ggufs, file_of(name, st));
    else if (worth == NAME_UNKNOWN && st->st_size >= 24)
        nx_vec_push(&l->unknown, file_of(name, st));
    if (worth != NAME_MEMBER)
        return;
    nx_vec_push(&l->members, file_of(name, st));
    l->settings |= is_settings(name);
    l->weights |= nx_ends_with(name, ".safetensors");
}

static void note_entry(listing *l, int folder, const struct dirent *e)
{
    struct stat st;
    name_worth worth = worth_of(e->d_name);
    if (e->d_type == DT_DIR) {
        note_folder(l, e->d_name);
    } else if (worth == NAME_BORING && e->d_type == DT_REG) {
        return;
    } else if (fstatat(folder, e->d_name, &st, 0) == 0) { /* else it vanished, or leads nowhere */
        if (S_ISDIR(st.st_mode))
            note_folder(l, e->d_name);
        else if (S_ISREG(st.st_mode))
            note_file(l, e->d_name, worth, &st);
    }
}

static bool seen_before(catalog_scan *s, int fd)
{
    struct stat st;
    uint64_t key[2] = {0};
    if (fstat(fd, &st) == 0) {
        key[0] = (uint64_t)st.st_dev;
        key[1] = (uint64_t)st.st_ino;
    }
    return !nx_map_set(&s->seen, (const char *)key, sizeof key, 1);
}

static void add_problem(catalog_scan *s, const char *path)
{
    nx_str text = {0};
    nx_str_printf(&text, "%s: %s", path, strerror(errno));
    nx_vec_push(&s->problems, nx_str_take(&text));
}

/* False when it cannot be read (which is noted) or was read before. */
static bool list(catalog_scan *s, const char *path, listing *l)
{
    DIR *d = opendir(path);
    if (!d) {
        if (errno != ENOENT)
            add_problem(s, path);
        return false;
    }
    if (seen_before(s, dirfd(d))) {
        closedir(d);
        return false;
    }
    s->folders++;
    for (struct dirent *e; (e = readdir(d));) {
        s->entries++;
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            note_entry(l, dirfd(d), e);
    }
    closedir(d);
    return true;
}

static void add_folder(catalog_scan *s, const char *path, const char *store, listing *l)
{
    catalog_unit u = {.kind = UNIT_FOLDER, .store = store, .path = nx_strdup(path),
                      .folder = nx_strdup(path), .name = folder_name(path), .files = l->members};
    l->members = (catalog_files){0};
    nx_vec_sort(&u.files, by_name);
    sign(&u);
    nx_vec_push(&s->units, u);
}

/* Files with names that tell nothing: a .bin beside no settings may be anything too. */
static void add_unknown(catalog_scan *s, const char *path, const char *store, listing *l)
{
    for (size_t i = 0; i < l->unknown.n; i++)
        add_gguf(s, path, store, UNIT_UNKNOWN, l->unknown.at[i], NULL);
    nx_vec_clear(&l->unknown);
    for (size_t i = 0; i < l->members.n; i++)
        if (nx_ends_with(l->members.at[i].name, ".bin")) {
            catalog_file f = l->members.at[i];
            f.name = nx_strdup(f.name);
            add_gguf(s, path, store, UNIT_UNKNOWN, f, NULL);
        }
}

static void take_listing(catalog_scan *s, const char *path, const char *store, listing *l,
                         strings *stack)
{
    bool ollama = l->blobs && l->manifests;
    if (ollama)
        scan_ollama(s, path);
    bool ggufs = l->ggufs.n > 0;
    add_ggufs(s, path, store, &l->ggufs);
    if (l->weights || (l->settings && !ggufs))
        add_folder(s, path, store, l);
    else
        add_unknown(s, path, store, l);
    for (size_t i = 0; i < l->below.n; i++) {
        const char *name = l->below.at[i];
        /* Blobs are reached through the snapshots or manifests that name them. */
        bool by_name_only = (strcmp(name, "blobs") == 0 && (l->snapshots || ollama)) ||
                            (strcmp(name, "manifests") == 0 && ollama);
        if (!by_name_only)
            nx_vec_push(stack, joined(path, name));
        free(l->below.at[i]);
    }
    nx_vec_clear(&l->below);
    files_clear(&l->members);
    files_clear(&l->unknown);
}

void scan_folder(catalog_scan *s, const char *path, const char *store)
{
    strings stack = {0};
    nx_vec_push(&stack, nx_strdup(path));
    while (stack.n) {
        char *folder = nx_vec_pop(&stack);
        listing l = {0};
        if (list(s, folder, &l))
            take_listing(s, folder, store, &l, &stack);
        free(folder);
    }
    nx_vec_clear(&stack);
}

void scan_clear(catalog_scan *s)
{
    for (size_t i = 0; i < s->units.n; i++) {
        catalog_unit *u = &s->units.at[i];
        free(u->path);
        free(u->folder);
        free(u->name);
        files_clear(&u->files);
    }
    for (size_t i = 0; i < s->problems.n; i++)
        free(s->problems.at[i]);
    nx_vec_clear(&s->units);
    nx_vec_clear(&s->problems);
    nx_map_clear(&s->seen);
}
