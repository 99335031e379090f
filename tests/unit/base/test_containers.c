/* str, vec, arena, map. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/arena.h"
#include "base/map.h"
#include "base/str.h"
#include "base/vec.h"

static void str_grows(void **state)
{
    nx_str s = {0};
    assert_string_equal(nx_str_cstr(&s), "");
    for (int i = 0; i < 1000; i++)
        nx_str_printf(&s, "%d,", i);
    assert_int_equal(s.len, 10 * 2 + 90 * 3 + 900 * 4);
    nx_str_truncate(&s, 4);
    nx_str_put_utf8(&s, 0x20AC);
    nx_str_put_utf8(&s, 0xD800);
    assert_string_equal(nx_str_cstr(&s), "0,1,\xE2\x82\xAC\xEF\xBF\xBD");
    nx_str_clear(&s);
}

static void vec_keeps_items(void **state)
{
    NX_VEC(int) v = {0};
    for (int i = 0; i < 1000; i++)
        nx_vec_push(&v, i);
    for (int i = 999; i >= 0; i--)
        assert_int_equal(nx_vec_pop(&v), i);
    nx_vec_clear(&v);
}

static void arena_aligns(void **state)
{
    nx_arena a = {0};
    for (size_t n = 0; n < 5000; n += 7) {
        unsigned char *p = nx_arena_calloc(&a, n);
        assert_int_equal((uintptr_t)p % 16, 0);
        memset(p, 0xAB, n);
    }
    nx_arena_reset(&a);
    assert_int_equal(a.total, 0);
    nx_arena_clear(&a);
}

static void map_finds_every_key(void **state)
{
    nx_map m = {0};
    char key[32];
    for (uint64_t i = 0; i < 20000; i++) {
        int n = snprintf(key, sizeof key, "key %llu", (unsigned long long)i);
        assert_true(nx_map_set(&m, key, (size_t)n, i));
    }
    assert_false(nx_map_set(&m, "key 7", 5, 70));
    for (uint64_t i = 0; i < 20000; i++) {
        int n = snprintf(key, sizeof key, "key %llu", (unsigned long long)i);
        assert_int_equal(nx_map_get(&m, key, (size_t)n, 1), i == 7 ? 70 : i);
    }
    assert_null(nx_map_find(&m, "key", 3));
    assert_true(nx_map_set(&m, "a\0b", 3, 5)); /* keys may hold NUL */
    assert_null(nx_map_find(&m, "a\0c", 3));
    nx_map_clear(&m);
}

/* More keys than are looked up together, some there and some not; then an empty map. */
static void map_finds_many(void **state)
{
    enum { N = 1000 };
    static char texts[N][16];
    nx_slice keys[N];
    nx_map_entry *found[N];
    nx_map m = {0};
    for (size_t i = 0; i < N; i++) {
        keys[i] = (nx_slice){texts[i], (size_t)snprintf(texts[i], sizeof texts[i], "key %zu", i)};
        if (i % 3)
            nx_map_put(&m, keys[i].data, keys[i].len)->value = i;
    }
    assert_int_equal(nx_map_put(&m, "key 1", 5)->value, 1);
    assert_int_equal(nx_map_put(&m, "new", 3)->value, 0);
    nx_map_find_many(&m, keys, N, found);
    for (size_t i = 0; i < N; i++) {
        assert_ptr_equal(found[i], nx_map_find(&m, keys[i].data, keys[i].len));
        if (i % 3)
            assert_int_equal(found[i]->value, i);
        else
            assert_null(found[i]);
    }
    nx_map_clear(&m);
    nx_map_find_many(&m, keys, N, found);
    for (size_t i = 0; i < N; i++)
        assert_null(found[i]);
}

/* Copies of texts lie close; what comes behind them is aligned all the same. */
static void arena_packs_texts(void **state)
{
    nx_arena a = {0};
    char *first = nx_arena_strndup(&a, "ab", 2), *second = nx_arena_strndup(&a, "cd", 2);
    assert_ptr_equal(second, first + 3);
    assert_int_equal((uintptr_t)nx_arena_alloc(&a, 1) % 16, 0);
    for (size_t n = 0; n < 5000; n += 7) {
        char *text = nx_arena_strndup(&a, "x", n > 0);
        assert_int_equal(text[n > 0], 0);
        assert_int_equal((uintptr_t)memset(nx_arena_alloc(&a, n), 0xAB, n) % 16, 0);
    }
    assert_string_equal(first, "ab");
    assert_string_equal(second, "cd");
    nx_arena_clear(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(str_grows),      cmocka_unit_test(vec_keeps_items),
        cmocka_unit_test(arena_aligns),   cmocka_unit_test(map_finds_every_key),
        cmocka_unit_test(map_finds_many), cmocka_unit_test(arena_packs_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
