/*
 * replay_main.c: runs a fuzzer over the files of its corpus, each also cut at several places and
 * with bytes changed, without libFuzzer. Fails when there is nothing to run.
 *
 *     fuzz_NAME FILE_OR_FOLDER…
 */
#include <dirent.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/os.h"
#include "fuzz/fuzz.h"

enum { LARGEST = 16 << 20, CUTS = 64, CHANGES = 256 };

static int n_run;

/* The input stands alone in memory, so that a sanitizer sees any step outside. */
static void feed(const char *bytes, size_t n)
{
    uint8_t *copy = nx_malloc(n);
    if (n)
        memcpy(copy, bytes, n);
    LLVMFuzzerTestOneInput(copy, n);
    free(copy);
}

/* A fixed sequence: the same inputs in every run. */
static size_t random_below(size_t n)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (size_t)(state % n);
}

static bool run_file(const char *path)
{
    nx_str s = {0};
    if (!nx_os_read_file(path, &s, LARGEST)) {
        fprintf(stderr, "%s\n", nx_error_message());
        return false;
    }
    feed(nx_str_cstr(&s), s.len);
    for (size_t i = 0; i < CUTS && s.len; i++)
        feed(s.data, s.len <= CUTS ? i % s.len : random_below(s.len));
    for (size_t i = 0; i < CHANGES && s.len; i++) {
        size_t at = random_below(s.len);
        char was = s.data[at];
        s.data[at] = (char)random_below(256);
        feed(s.data, s.len);
        s.data[at] = was;
    }
    nx_str_clear(&s);
    n_run++;
    return true;
}

static bool run_path(const char *path)
{
    if (!nx_os_is_dir(path))
        return run_file(path);
    bool ok = true;
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        nx_str inner = {0};
        nx_str_printf(&inner, "%s/%s", path, e->d_name);
        if (e->d_name[0] != '.')
            ok &= run_path(inner.data);
        nx_str_clear(&inner);
    }
    if (d)
        closedir(d);
    return ok;
}

int main(int argc, char **argv)
{
    bool ok = true;
    for (int i = 1; i < argc; i++)
        ok &= run_path(argv[i]);
    if (!n_run)
        fprintf(stderr, "no inputs\n");
    printf("%d inputs\n", n_run);
    return ok && n_run ? 0 : 1;
}
