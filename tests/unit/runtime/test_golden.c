/* The library against the reference's texts: prompts, ids, log-probabilities; reuse of a
 * conversation's prefix; cancelling. Skipped where the small model is not stored. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "nexus/nexus.h"

static nexus_model *m;
static json_t *golden;

typedef struct {
    int32_t ids[512];
    float logprobs[512];
    size_t n;
    char text[8192];
    size_t length;
    pthread_t thread;
    size_t stop_after; /* 0: never */
} taken;

static bool take(const nexus_piece *p, void *user)
{
    taken *t = user;
    assert_true(pthread_equal(t->thread, pthread_self()));
    if (p->id >= 0) {
        t->ids[t->n] = p->id;
        t->logprobs[t->n++] = p->logprob;
    }
    memcpy(t->text + t->length, p->text, p->length);
    t->length += p->length;
    t->text[t->length] = '\0';
    return t->stop_after == 0 || t->n < t->stop_after;
}

static nexus_generate_options greedy(int max_tokens)
{
    nexus_generate_options o = nexus_generate_defaults();
    o.temperature = 0;
    o.logprobs = true;
    o.max_tokens = max_tokens;
    return o;
}

static size_t read_messages(const json_t *list, nexus_message *out)
{
    size_t i;
    json_t *entry;
    json_array_foreach((json_t *)list, i, entry)
        out[i] = (nexus_message){json_string_value(json_object_get(entry, "role")),
                                 json_string_value(json_object_get(entry, "content"))};
    return json_array_size(list);
}

/* As long as the reference's margin decides, the token must be its own. */
static void compare(const json_t *c, const taken *got)
{
    const json_t *ids = json_object_get(c, "ids"), *logprobs = json_object_get(c, "logprobs");
    const json_t *margins = json_object_get(c, "margins");
    for (size_t i = 0; i < json_array_size(ids); i++) {
        assert_true(i < got->n);
        if (got->ids[i] != json_integer_value(json_array_get(ids, i))) {
            assert_true(json_number_value(json_array_get(margins, i)) < 0.01);
            return;
        }
        assert_true(fabs(got->logprobs[i] - json_number_value(json_array_get(logprobs, i))) < 0.01);
    }
    assert_string_equal(got->text, json_string_value(json_object_get(c, "text_out")));
}

static void check_prompt_ids(const json_t *c, const char *prompt)
{
    int32_t *ids;
    size_t n;
    assert_int_equal(nexus_tokenize(m, prompt, strlen(prompt), false, true, &ids, &n, NULL), 0);
    const json_t *want = json_object_get(c, "prompt_ids");
    assert_int_equal(n, json_array_size(want));
    for (size_t i = 0; i < n; i++)
        assert_int_equal(ids[i], json_integer_value(json_array_get(want, i)));
    nexus_free(ids);
}

static void texts_are_the_references(void **state)
{
    size_t number;
    json_t *c;
    json_array_foreach(golden, number, c)
    {
        nexus_session *s;
        assert_int_equal(nexus_session_new(m, NULL, &s), 0);
        taken got = {.thread = pthread_self()};
        nexus_generate_options o = greedy((int)json_array_size(json_object_get(c, "ids")));
        const json_t *list = json_object_get(c, "messages");
        const char *prompt = json_string_value(json_object_get(c, "prompt"));
        check_prompt_ids(c, prompt);
        if (list) {
            nexus_message messages[8];
            size_t n = read_messages(list, messages);
            char *rendered;
            assert_int_equal(nexus_render(m, messages, n, &rendered), 0);
            assert_string_equal(rendered, prompt);
            nexus_free(rendered);
            assert_int_equal(nexus_chat(s, messages, n, &o, take, &got, NULL), 0);
        } else {
            assert_int_equal(nexus_complete(s, prompt, &o, take, &got, NULL), 0);
        }
        compare(c, &got);
        nexus_session_free(s);
    }
}

/* A second turn computes only what is new, and gives what a fresh session gives. */
/* What a text's own session, another one, or none has computed before changes no bit of the rest. */
static void prefix_is_reused_and_changes_nothing(void **state)
{
    nexus_session *s, *other, *fresh;
    nexus_stats first, second, shared, alone;
    taken a = {.thread = pthread_self()}, b = a, c = a, d = a;
    nexus_generate_options o = greedy(12);
    assert_int_equal(nexus_session_new(m, NULL, &s), 0);
    assert_int_equal(nexus_session_new(m, NULL, &other), 0);
    nexus_message talk[3] = {{"user", "Name a colour."}};
    assert_int_equal(nexus_chat(s, talk, 1, &o, take, &a, &first), 0);
    talk[1] = (nexus_message){"assistant", a.text};
    talk[2] = (nexus_message){"user", "And another one?"};
    assert_int_equal(nexus_chat(s, talk, 3, &o, take, &b, &second), 0);
    assert_int_equal(nexus_chat(other, talk, 3, &o, take, &c, &shared), 0);
    nexus_session_free(s);
    nexus_session_free(other);
    assert_int_equal(nexus_session_new(m, NULL, &fresh), 0);
    assert_int_equal(nexus_chat(fresh, talk, 3, &o, take, &d, &alone), 0);
    nexus_session_free(fresh);
    assert_int_equal(first.cached_tokens, 0);
    assert_true(second.cached_tokens >= first.prompt_tokens);
    assert_true(shared.cached_tokens >= second.cached_tokens);
    assert_int_equal(alone.cached_tokens, 0);
    const taken *each[] = {&c, &d};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(b.n, each[i]->n);
        assert_memory_equal(b.ids, each[i]->ids, b.n * sizeof *b.ids);
        assert_memory_equal(b.logprobs, each[i]->logprobs, b.n * sizeof *b.logprobs); /* to the last bit */
    }
}

static void *run_alone(void *arg)
{
    nexus_session *s;
    taken *t = arg;
    t->thread = pthread_self();
    nexus_generate_options o = greedy(16);
    nexus_message ask = {"user", "Tell me about the sea."};
    assert_int_equal(nexus_session_new(m, NULL, &s), 0);
    assert_int_equal(nexus_chat(s, &ask, 1, &o, take, t, NULL), 0);
    nexus_session_free(s);
    return NULL;
}

/* Sessions of several threads run in one batch; each text is what it is alone. */
static void a_batch_changes_no_text(void **state)
{
    enum { THREADS = 4 };
    static taken alone, together[THREADS];
    pthread_t t[THREADS];
    run_alone(&alone);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, run_alone, &together[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(t[i], NULL);
        assert_int_equal(together[i].n, alone.n);
        assert_memory_equal(together[i].ids, alone.ids, alone.n * sizeof *alone.ids);
        assert_memory_equal(together[i].logprobs, alone.logprobs, alone.n * sizeof *alone.logprobs);
    }
}

static void *cancel_soon(void *session)
{
    usleep(300000);
    nexus_session_cancel(session);
    return NULL;
}

static void cancelling_ends_soon(void **state)
{
    nexus_session *s;
    nexus_stats stats;
    pthread_t t;
    assert_int_equal(nexus_session_new(m, NULL, &s), 0);
    nexus_generate_options o = greedy(0);
    o.ignore_eos = true;
    nexus_message ask = {"user", "Count to a million."};
    pthread_create(&t, NULL, cancel_soon, s);
    assert_int_equal(nexus_chat(s, &ask, 1, &o, NULL, NULL, &stats), 0);
    pthread_join(t, NULL);
    assert_string_equal(stats.stop_reason, "cancelled");
    taken few = {.thread = pthread_self(), .stop_after = 3};
    assert_int_equal(nexus_chat(s, &ask, 1, &o, take, &few, &stats), 0);
    assert_int_equal(few.n, 3);
    assert_int_equal(stats.generated_tokens, 3);
    nexus_session_free(s);
}

static void a_cancel_is_for_one_generation(void **state)
{
    nexus_session *s;
    nexus_stats stats;
    assert_int_equal(nexus_session_new(m, NULL, &s), 0);
    nexus_generate_options o = greedy(2);
    nexus_message ask = {"user", "Count to a million."};
    taken none = {.thread = pthread_self()};
    nexus_session_cancel(s); /* before it begins */
    assert_int_equal(nexus_chat(s, &ask, 1, &o, take, &none, &stats), 0);
    assert_string_equal(stats.stop_reason, "cancelled");
    assert_int_equal(none.n, 0);
    assert_int_equal(nexus_chat(s, &ask, 1, &o, NULL, NULL, &stats), 0);
    assert_string_equal(stats.stop_reason, "length");
    nexus_session_cancel(s);
    assert_int_equal(nexus_generate(s, NULL, 0, &o, NULL, NULL, &stats), NEXUS_ERROR_ARGUMENT);
    assert_int_equal(nexus_chat(s, &ask, 1, &o, NULL, NULL, &stats), 0); /* that one was cancelled */
    assert_string_equal(stats.stop_reason, "length");
    nexus_session_cancel(s);
    nexus_session_uncancel(s);
    assert_int_equal(nexus_chat(s, &ask, 1, &o, NULL, NULL, &stats), 0);
    assert_string_equal(stats.stop_reason, "length");
    nexus_session_free(s);
}

static void arguments_are_checked(void **state)
{
    nexus_session *s;
    nexus_model *none = NULL;
    assert_int_equal(nexus_model_load("/nowhere", NULL, &none), NEXUS_ERROR_NOT_FOUND);
    assert_null(none);
    nexus_session_options so = {.context = 1 << 30};
    assert_int_equal(nexus_session_new(m, &so, &s), NEXUS_ERROR_ARGUMENT);
    so.context = 8;
    assert_int_equal(nexus_session_new(m, &so, &s), 0);
    int32_t ids[8] = {1, 2, 3, 4, 5, 6, 7, 8}, wild[1] = {1 << 30};
    assert_int_equal(nexus_generate(s, ids, 8, NULL, NULL, NULL, NULL), NEXUS_ERROR_CONTEXT);
    assert_int_equal(nexus_generate(s, ids, 0, NULL, NULL, NULL, NULL), NEXUS_ERROR_ARGUMENT);
    assert_int_equal(nexus_generate(s, wild, 1, NULL, NULL, NULL, NULL), NEXUS_ERROR_ARGUMENT);
    nexus_generate_options o = nexus_generate_defaults();
    o.top_p = -1;
    assert_int_equal(nexus_generate(s, ids, 2, &o, NULL, NULL, NULL), NEXUS_ERROR_ARGUMENT);
    assert_true(strlen(nexus_error_message()) > 0);
    nexus_session_free(s);
}

static int stored_model(char *path, size_t size)
{
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    snprintf(path, size, "%s%s/nexus/models/SmolLM2-135M-Instruct.Q4_1.gguf",
             data && *data ? data : home ? home : "", data && *data ? "" : "/.local/share");
    return access(path, R_OK) == 0;
}

int main(void)
{
    char path[1024];
    if (!stored_model(path, sizeof path)) {
        fprintf(stderr, "skipped 5 tests: %s is not there\n", path);
        return 77;
    }
    golden = json_load_file(NX_TEST_DATA "/golden/smollm2-135m-instruct-q4_1.json", 0, NULL);
    if (!golden || nexus_model_load(path, NULL, &m)) {
        fprintf(stderr, "cannot begin: %s\n", nexus_error_message());
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_the_references),
        cmocka_unit_test(prefix_is_reused_and_changes_nothing),
        cmocka_unit_test(a_batch_changes_no_text),
        cmocka_unit_test(cancelling_ends_soon),
        cmocka_unit_test(a_cancel_is_for_one_generation),
        cmocka_unit_test(arguments_are_checked),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    nexus_model_free(m);
    json_decref(golden);
    return failed;
}
