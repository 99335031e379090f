/* The system layer: paths, folders, files written whole, control groups, SHA-256. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#ifdef __linux__
#include <sys/mount.h>
#endif
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/error.h"
#include "base/os.h"
#include "base/os_cgroup.h"
#include "base/outfile.h"
#include "base/sha256.h"
#include "base/sha256_blocks.h"
#include "tempdir.h"

#define assert_error(text) assert_non_null(strstr(nx_error_message(), text))

/* ---- folders ---- */

static void expect_path(nx_os_dir dir, const char *below, const char *want)
{
    nx_str s = {0};
    assert_true(nx_os_path(&s, dir, below));
    assert_string_equal(s.data, want);
    nx_str_clear(&s);
}

static void test_paths(void **state)
{
    setenv("HOME", "/home/x", 1);
    unsetenv("XDG_DATA_HOME");
    unsetenv("XDG_CACHE_HOME");
    unsetenv("XDG_CONFIG_HOME");
    expect_path(NX_OS_DATA, "models", "/home/x/.local/share/nexus/models");
    expect_path(NX_OS_CACHE, NULL, "/home/x/.cache/nexus");
    expect_path(NX_OS_CONFIG, "config.json", "/home/x/.config/nexus/config.json");
    setenv("XDG_DATA_HOME", "/data", 1);
    setenv("XDG_CACHE_HOME", "relative", 1);
    setenv("XDG_CONFIG_HOME", "", 1);
    expect_path(NX_OS_DATA, NULL, "/data/nexus");
    expect_path(NX_OS_CACHE, NULL, "/home/x/.cache/nexus");
    expect_path(NX_OS_CONFIG, NULL, "/home/x/.config/nexus");
    unsetenv("HOME"); /* the user database then */
    nx_str s = {0};
    if (nx_os_path(&s, NX_OS_CACHE, NULL))
        assert_int_equal(s.data[0], '/');
    nx_str_clear(&s);
}

static void test_mkdir_p(void **state)
{
    assert_true(nx_os_mkdir_p(temp_path("a/b//c/"), 0700));
    assert_true(nx_os_is_dir(temp_path("a/b/c")));
    assert_true(nx_os_mkdir_p(temp_path("a/b/c"), 0700));
    struct stat st;
    assert_int_equal(stat(temp_path("a/b"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_true(nx_os_write_file(temp_path("file"), "x", 1));
    assert_true(nx_os_is_file(temp_path("file")));
    assert_false(nx_os_is_file(temp_path("a")));
    assert_false(nx_os_mkdir_p(temp_path("file"), 0700));
    assert_error("a file of that name");
    assert_false(nx_os_mkdir_p(temp_path("file/below"), 0700));
    assert_error("cannot make the folder");
}

/* ---- files ---- */

static void test_write_and_read(void **state)
{
    nx_str s = {0};
    assert_true(nx_os_write_file(temp_path("w"), "one\0two", 7));
    assert_true(nx_os_read_file(temp_path("w"), &s, 100));
    assert_int_equal(s.len, 7);
    assert_memory_equal(s.data, "one\0two", 7);
    assert_false(nx_os_read_file(temp_path("w"), &s, 6));
    assert_error("larger than the 6 bytes");
    assert_int_equal(s.len, 7); /* unchanged */
    assert_false(nx_os_read_file(temp_path("none"), &s, 6));
    assert_error("does not exist");
    assert_false(nx_os_read_file(temp_dir, &s, 6));
    assert_error("cannot read");
    assert_false(nx_os_write_file(temp_path("no/folder"), "x", 1));
    assert_error("cannot create");
    nx_str_clear(&s);
}

static void test_replaces_whole(void **state)
{
    nx_str s = {0};
    struct stat st;
    assert_true(nx_os_write_file(temp_path("conf"), "old", 3));
    chmod(temp_path("conf"), 0640);
    assert_int_equal(symlink("conf", temp_path("link")), 0);
    int before = temp_count();
    nx_outfile *f = nx_outfile_open(temp_path("link"));
    assert_true(nx_outfile_write(f, "half", 4));
    nx_outfile_free(f); /* without a commit */
    assert_int_equal(temp_count(), before);
    assert_true(nx_os_read_file(temp_path("conf"), &s, 100));
    assert_string_equal(s.data, "old");
    assert_true(nx_os_write_file(temp_path("link"), "newer", 5));
    assert_int_equal(lstat(temp_path("link"), &st), 0);
    assert_true(S_ISLNK(st.st_mode)); /* what the link leads to was replaced */
    assert_int_equal(stat(temp_path("conf"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    nx_str_truncate(&s, 0);
    assert_true(nx_os_read_file(temp_path("conf"), &s, 100));
    assert_string_equal(s.data, "newer");
    assert_int_equal(temp_count(), before);
    nx_str_clear(&s);
}

static void test_large_pieces(void **state)
{
    size_t n = 1000003;
    unsigned char *bytes = malloc(n);
    for (size_t i = 0; i < n; i++)
        bytes[i] = (unsigned char)(i * 31 >> 3);
    nx_outfile *f = nx_outfile_open(temp_path("pieces"));
    size_t at = 0;
    for (size_t k = 1; at < n; k = k * 3 + 1) {
        size_t piece = k < n - at ? k : n - at;
        assert_true(nx_outfile_write(f, bytes + at, piece));
        at += piece;
    }
    assert_int_equal(nx_outfile_size(f), n);
    assert_true(nx_outfile_commit(f));
    nx_outfile_free(f);
    nx_str s = {0};
    assert_true(nx_os_read_file(temp_path("pieces"), &s, n));
    assert_int_equal(s.len, n);
    assert_memory_equal(s.data, bytes, n);
    nx_str_clear(&s);
    free(bytes);
}

/* A limit on the size of files stands in for a disk that fills up in the middle. */
static void test_write_fails_in_the_middle(void **state)
{
    static char bytes[600 * 1024];
    struct rlimit old, small;
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = 300 * 1024;
    signal(SIGXFSZ, SIG_IGN);
    assert_true(nx_os_write_file(temp_path("kept"), "old", 3));
    int before = temp_count();
    setrlimit(RLIMIT_FSIZE, &small);
    bool ok = nx_os_write_file(temp_path("kept"), bytes, sizeof bytes);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_false(ok);
    assert_error("cannot write");
    assert_int_equal(temp_count(), before);
    nx_str s = {0};
    assert_true(nx_os_read_file(temp_path("kept"), &s, 100));
    assert_string_equal(s.data, "old");
    nx_str_clear(&s);
}

#ifdef __linux__
static bool tell(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    close(fd);
    return ok;
}

/* Mounts of one's own: root just takes them, others become root of a world of their own. */
static bool own_mounts(void)
{
    char user[32], group[32];
    snprintf(user, sizeof user, "0 %d 1", (int)geteuid());
    snprintf(group, sizeof group, "0 %d 1", (int)getegid());
    if (unshare(CLONE_NEWNS) != 0 &&
        (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0 || !tell("/proc/self/setgroups", "deny") ||
         !tell("/proc/self/uid_map", user) || !tell("/proc/self/gid_map", group)))
        return false;
    return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

/* A child with mounts of its own fills a file system of 64 kB. 77 where that is not allowed. */
static int fill_small_disk(const char *dir)
{
    static char bytes[256 * 1024];
    if (!own_mounts() || mount("none", dir, "tmpfs", 0, "size=64k") != 0)
        return 77;
    char path[600];
    snprintf(path, sizeof path, "%s/f", dir);
    if (nx_os_write_file(path, bytes, sizeof bytes))
        return 1;
    return strstr(nx_error_message(), "disk full") && access(path, F_OK) != 0 ? 0 : 2;
}

static void test_disk_full(void **state)
{
    assert_int_equal(mkdir(temp_path("tiny"), 0700), 0);
    pid_t child = fork();
    if (child == 0)
        _exit(fill_small_disk(temp_path("tiny")));
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}
#endif

/* ---- figures ---- */

static void test_memory(void **state)
{
    uint64_t total = nx_os_memory_total(), available = nx_os_memory_available();
    assert_true(total > (64u << 20));
    assert_true(available > 0 && available <= total);
    assert_true(nx_os_rss() > 0);
    assert_true(nx_os_rss_peak() > 0);
    uint64_t before = nx_os_anon();
    size_t n = 64u << 20;
    char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(p, 1, n);
    assert_true(nx_os_anon() > before + n / 2);
    munmap(p, n);
    assert_true(nx_os_anon_peak() > before + n / 2);
}

static void test_processors(void **state)
{
    int n = nx_os_cpus(), cores = nx_os_cores_physical();
    assert_true(n >= 1 && n <= sysconf(_SC_NPROCESSORS_CONF));
    assert_true(cores >= 0 && cores <= sysconf(_SC_NPROCESSORS_CONF));
}

static void test_clocks(void **state)
{
    uint64_t a = nx_os_monotonic_ns();
    usleep(2000);
    uint64_t b = nx_os_monotonic_ns();
    assert_true(b - a >= 2000000);
    assert_true(nx_os_seconds() > 0);
    assert_true(nx_os_wall_ms() > 1700000000000);
}

/* Nobody signals: it comes back when the time is over, with the lock. */
static void test_wait(void **state)
{
    (void)state;
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t never = PTHREAD_COND_INITIALIZER;
    double end = nx_os_seconds() + 0.02;
    pthread_mutex_lock(&lock);
    for (double left; (left = end - nx_os_seconds()) > 0;)
        nx_os_wait(&never, &lock, left);
    assert_int_equal(pthread_mutex_trylock(&lock), EBUSY);
    pthread_mutex_unlock(&lock);
}

#ifdef __linux__
/* ---- control groups, from a made-up /proc and /sys ---- */

static void put(const char *root, const char *path, const char *text)
{
    char full[600];
    snprintf(full, sizeof full, "%s/%s", root, path);
    *strrchr(full, '/') = '\0';
    assert_true(nx_os_mkdir_p(full, 0700));
    snprintf(full, sizeof full, "%s/%s", root, path);
    assert_true(nx_os_write_file(full, text, strlen(text)));
}

static void test_cgroup_2(void **state)
{
    const char *root = temp_path("v2");
    put(root, "proc/self/cgroup", "0::/box/inner\n");
    put(root, "sys/fs/cgroup/box/memory.max", "1000000\n");
    put(root, "sys/fs/cgroup/box/memory.current", "700000\n");
    put(root, "sys/fs/cgroup/box/memory.stat", "anon 5\ninactive_file 200000\nfile 9\n");
    put(root, "sys/fs/cgroup/box/inner/memory.max", "max\n");
    put(root, "sys/fs/cgroup/box/inner/memory.current", "5\n");
    put(root, "sys/fs/cgroup/box/inner/cpu.max", "150000 100000\n");
    put(root, "sys/fs/cgroup/box/cpu.max", "max 100000\n");
    nx_os_cgroup c = nx_os_cgroup_read(root);
    assert_int_equal(c.memory_limit, 1000000);
    assert_int_equal(c.memory_free, 500000);
    assert_true(c.cpus == 1.5);
}

static void test_cgroup_1(void **state)
{
    const char *root = temp_path("v1");
    put(root, "proc/self/cgroup",
        "5:cpu,cpuacct:/docker/x\n4:memory:/docker/x\n3:cpuset:/docker/x\n");
    /* in a container the group's files lie at the mount's root */
    put(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", "2000000\n");
    put(root, "sys/fs/cgroup/memory/memory.usage_in_bytes", "500000\n");
    put(root, "sys/fs/cgroup/memory/memory.stat", "total_inactive_file 100000\n");
    put(root, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n");
    put(root, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    nx_os_cgroup c = nx_os_cgroup_read(root);
    assert_int_equal(c.memory_limit, 2000000);
    assert_int_equal(c.memory_free, 1600000);
    assert_true(c.cpus == 0.5);
}

static void test_cgroup_none(void **state)
{
    const char *root = temp_path("v0");
    nx_fail("earlier");
    nx_os_cgroup c = nx_os_cgroup_read(root);
    assert_true(c.memory_limit == UINT64_MAX && c.memory_free == UINT64_MAX && c.cpus == 0);
    put(root, "proc/self/cgroup", "4:memory:/\n5:cpu:/\ngarbage\n:::\n0::\n");
    put(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put(root, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
    put(root, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    nx_fail("earlier");
    c = nx_os_cgroup_read(root);
    assert_true(c.memory_limit == UINT64_MAX && c.memory_free == UINT64_MAX && c.cpus == 0);
    assert_string_equal(nx_error_message(), "earlier"); /* a question spoils no message */
}
#endif

/* ---- SHA-256 ---- */

static void expect_sha(const char *text, size_t n, const char *want)
{
    unsigned char digest[32];
    char hex[65];
    nx_sha256 h;
    nx_sha256_init(&h);
    nx_sha256_update(&h, text, n);
    nx_sha256_final(&h, digest);
    nx_sha256_hex(digest, hex);
    assert_string_equal(hex, want);
}

static void test_sha256(void **state)
{
    expect_sha("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    expect_sha("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    expect_sha("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
               "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    char *a = malloc(1000000);
    memset(a, 'a', 1000000);
    expect_sha(a, 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    char hex[65];
    assert_true(nx_os_write_file(temp_path("million"), a, 1000000));
    assert_true(nx_sha256_file(temp_path("million"), hex));
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    assert_false(nx_sha256_file(temp_path("absent"), hex));
    assert_error("absent");
    free(a);
}

static void test_sha256_native(void **state)
{
    nx_sha256_blocks *native = nx_sha256_blocks_native();
    unsigned char text[64 * 7];
    uint32_t a[8], b[8];
    if (!native)
        skip();
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (unsigned char)(i * i * 31 + i);
    for (size_t n = 0; n <= 7; n++) {
        for (uint32_t i = 0; i < 8; i++)
            a[i] = b[i] = 0x9E3779B9u * (i + 1 + (uint32_t)n);
        nx_sha256_blocks_c(a, text, n);
        native(b, text, n);
        assert_memory_equal(a, b, sizeof a);
    }
}

static void test_sha256_pieces(void **state)
{
    unsigned char text[300], one[32], many[32];
    for (int i = 0; i < 300; i++)
        text[i] = (unsigned char)(i * 13);
    for (size_t n = 0; n <= 300; n++) { /* every length around the padding's borders */
        for (size_t piece = 1; piece < 130; piece += 9) {
            nx_sha256 h;
            nx_sha256_init(&h);
            nx_sha256_update(&h, text, n);
            nx_sha256_final(&h, one);
            nx_sha256_init(&h);
            for (size_t at = 0; at < n; at += piece)
                nx_sha256_update(&h, text + at, n - at < piece ? n - at : piece);
            nx_sha256_final(&h, many);
            assert_memory_equal(one, many, 32);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),          cmocka_unit_test(test_mkdir_p),
        cmocka_unit_test(test_write_and_read), cmocka_unit_test(test_replaces_whole),
        cmocka_unit_test(test_large_pieces),   cmocka_unit_test(test_write_fails_in_the_middle),
        cmocka_unit_test(test_memory),         cmocka_unit_test(test_processors),
        cmocka_unit_test(test_clocks),         cmocka_unit_test(test_wait),
#ifdef __linux__
        cmocka_unit_test(test_disk_full),      cmocka_unit_test(test_cgroup_2),
        cmocka_unit_test(test_cgroup_1),       cmocka_unit_test(test_cgroup_none),
#endif
        cmocka_unit_test(test_sha256),         cmocka_unit_test(test_sha256_native),
        cmocka_unit_test(test_sha256_pieces),
    };
    return cmocka_run_group_tests(tests, temp_make, temp_drop);
}
