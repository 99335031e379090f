/* Sampling: greedy, filters, penalty, seeds, broken logits; stop strings in streamed text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <string.h>
#include <cmocka.h>

#include "base/error.h"
#include "runtime/generate/sampler.h"
#include "runtime/generate/stopper.h"

enum { VOCAB = 1000 };
static float logits[VOCAB];

static sampler_options plain(void)
{
    return (sampler_options){.temperature = 1, .top_p = 1, .repeat_penalty = 1, .seed = 7};
}

static void fill(void)
{
    for (int i = 0; i < VOCAB; i++)
        logits[i] = sinf((float)i * 0.7f) * 2;
    logits[5] = 6; /* p 0.43 or so: the rest is spread */
    logits[9] = 5.5f;
}

static int32_t one(sampler_options o, const int32_t *recent, size_t n)
{
    sampler *s = sampler_new(&o, VOCAB);
    int32_t id = sampler_next(s, logits, recent, n);
    sampler_free(s);
    return id;
}

static void greedy_takes_the_likeliest(void **state)
{
    fill();
    sampler_options o = plain();
    o.temperature = 0;
    assert_int_equal(one(o, NULL, 0), 5);
    o.repeat_penalty = 2;
    assert_int_equal(one(o, (int32_t[]){5, 5, 5}, 3), 9); /* 6 / 2 < 5.5, once however often */
}

static void filters_keep_what_they_say(void **state)
{
    fill();
    sampler_options top_k = plain(), top_p = plain(), min_p = plain();
    top_k.top_k = 2;
    top_p.top_p = 0.05f;
    min_p.min_p = 0.5f; /* 5.5 is at 0.61 of the top, everything else under 0.02 */
    int nines = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        top_k.seed = top_p.seed = min_p.seed = seed;
        int32_t a = one(top_k, NULL, 0), c = one(min_p, NULL, 0);
        assert_true(a == 5 || a == 9);
        assert_true(c == 5 || c == 9);
        nines += a == 9;
        assert_int_equal(one(top_p, NULL, 0), 5);
    }
    assert_in_range(nines, 70, 160); /* expected 0.378 of 300 */
}

/* The draws follow the softmax: chi-squared over the likely tokens and the rest. */
static void draws_follow_the_distribution(void **state)
{
    enum { DRAWS = 20000 };
    fill();
    sampler_options o = plain();
    sampler *s = sampler_new(&o, VOCAB);
    int count[VOCAB] = {0};
    for (int i = 0; i < DRAWS; i++)
        count[sampler_next(s, logits, NULL, 0)]++;
    sampler_free(s);
    double sum = 0, chi = 0;
    int degrees = 0;
    for (int i = 0; i < VOCAB; i++)
        sum += exp(logits[i]);
    for (int i = 0; i < VOCAB; i++) {
        double expected = DRAWS * exp(logits[i]) / sum;
        if (expected < 10)
            continue;
        chi += (count[i] - expected) * (count[i] - expected) / expected;
        degrees++;
    }
    assert_true(degrees > 100);
    assert_true(chi < degrees + 6 * sqrt(2.0 * degrees));
}

static void a_seed_repeats(void **state)
{
    fill();
    sampler_options o = plain();
    o.temperature = 1.5f;
    sampler *a = sampler_new(&o, VOCAB), *b = sampler_new(&o, VOCAB);
    for (int i = 0; i < 100; i++)
        assert_int_equal(sampler_next(a, logits, NULL, 0), sampler_next(b, logits, NULL, 0));
    sampler_free(a);
    sampler_free(b);
}

static void penalties_count(void **state)
{
    fill(); /* 5: 6, 9: 5.5 */
    sampler_options o = plain();
    o.temperature = 0;
    o.presence_penalty = 1;
    assert_int_equal(one(o, (int32_t[]){5}, 1), 9);
    assert_int_equal(one(o, (int32_t[]){5, 9}, 2), 5);
    o.presence_penalty = 0;
    o.frequency_penalty = 0.2f;
    assert_int_equal(one(o, (int32_t[]){5, 5}, 2), 5); /* 6 - 0.4 */
    assert_int_equal(one(o, (int32_t[]){5, 5, 5}, 3), 9);
    int32_t old[100] = {5, 5, 5};
    assert_int_equal(one(o, old, 100), 5); /* out of the window of 64 */
    o.penalty_window = -1;
    assert_int_equal(one(o, old, 100), 9);
    o = plain();
    o.temperature = 0;
    o.bias = (sampler_bias[]){{5, -INFINITY}, {9, -1}, {700, 5}, {-4, 1}, {VOCAB, 1}};
    o.n_bias = 5;
    assert_int_equal(one(o, NULL, 0), 700);
}

static void dry_breaks_loops(void **state)
{
    fill();
    sampler_options o = plain();
    o.temperature = 0;
    o.dry_multiplier = 0.4f; /* 5 after "1 2": one match of length 2 costs 0.4, of length 3 0.7 */
    assert_int_equal(one(o, (int32_t[]){8, 1, 2, 5, 1, 2}, 6), 5);
    assert_int_equal(one(o, (int32_t[]){8, 1, 2, 5, 8, 1, 2}, 7), 9);
    o.dry_window = 4;
    assert_int_equal(one(o, (int32_t[]){8, 1, 2, 5, 8, 1, 2}, 7), 5);
}

static void top_choices_can_be_excluded(void **state)
{
    fill();
    sampler_options o = plain();
    o.xtc_probability = 1;
    o.xtc_threshold = 0.2f; /* 5 (0.43) and 9 (0.26) pass: only the lesser stays */
    o.min_p = 0.5f;
    for (uint64_t seed = 1; seed < 100; seed++) {
        o.seed = seed;
        assert_int_equal(one(o, NULL, 0), 9);
    }
    o.temperature = 0.01f; /* the rest must not be lost in rounding */
    assert_int_equal(one(o, NULL, 0), 9);
}

static void typical_drops_the_unsurprising(void **state)
{
    for (int i = 0; i < VOCAB; i++)
        logits[i] = -100;
    logits[1] = logf(0.5f); /* entropy 1.4 nats: 0.25 (1.39) is the most typical */
    logits[2] = logf(0.25f);
    logits[3] = logf(0.125f);
    logits[4] = logf(0.125f);
    sampler_options o = plain();
    o.typical_p = 0.2f;
    for (o.seed = 1; o.seed < 50; o.seed++)
        assert_int_equal(one(o, NULL, 0), 2);
}

static void mirostat_holds_the_surprise(void **state)
{
    for (int version = 1; version <= 2; version++) {
        sampler_options o = plain();
        o.mirostat = version;
        o.mirostat_tau = 3;
        sampler *s = sampler_new(&o, VOCAB);
        for (int i = 0; i < VOCAB; i++)
            logits[i] = -1.1f * logf((float)i + 1); /* Zipf's law */
        double sum = 0;
        for (int i = 0; i < 3000; i++)
            sum -= sampler_logprob(logits, VOCAB, sampler_next(s, logits, NULL, 0)) / log(2);
        /* Surprise under the whole distribution is more than among what is kept, but not by much. */
        assert_true(sum / 3000 > 2 && sum / 3000 < 5.5);
        sampler_free(s);
    }
}

static uint64_t allowed[(VOCAB + 63) / 64];
static int32_t accepted;

static const uint64_t *give_mask(void *user)
{
    return user ? allowed : nx_fail_null("nothing is allowed");
}

static bool take_id(void *user, int32_t id)
{
    accepted = id;
    return allowed[id / 64] >> (id % 64) & 1;
}

static int32_t marked;

static void mark_id(void *user)
{
    marked = accepted;
}

static void back_to_mark(void *user)
{
    accepted = marked;
}

/* A proposal is what would be chosen, constraint and random numbers included, and leaves no trace. */
static void drafts_keep_to(const sampler_options *o)
{
    sampler_options hot = *o;
    hot.temperature = 1;
    sampler *s = sampler_new(&hot, VOCAB);
    accepted = 3;
    for (int i = 0; i < 100; i++) {
        sampler_place before = sampler_mark(s);
        int32_t guess[2] = {sampler_guess(s, logits, VOCAB, NULL, 0), 0};
        guess[1] = sampler_guess(s, logits, 16, NULL, 0); /* a smaller model's: only 9 is there */
        assert_int_equal(guess[1], 9);
        assert_int_equal(accepted, 9);
        sampler_back(s, &before);
        assert_int_equal(sampler_next(s, logits, NULL, 0), guess[0]);
        assert_true(guess[0] == 9 || guess[0] == 17);
    }
    accepted = 3;
    assert_int_equal(sampler_allowed(s, (const int32_t[]){9, 17, 9, 8, 9}, 5), 3);
    assert_int_equal(sampler_allowed(s, (const int32_t[]){8}, 1), 0);
    assert_int_equal(accepted, 3);
    sampler_free(s);
}

static void constraints_hold(void **state)
{
    fill();
    int any = 1;
    sampler_constraint c = {give_mask, take_id, mark_id, back_to_mark, &any};
    sampler_options o = plain();
    o.constraint = &c;
    memset(allowed, 0, sizeof allowed);
    allowed[0] = 1u << 9 | 1u << 17;
    for (o.seed = 1; o.seed < 100; o.seed++) {
        int32_t id = one(o, NULL, 0);
        assert_true(id == 9 || id == 17);
        assert_int_equal(id, accepted);
    }
    o.temperature = 0;
    assert_int_equal(one(o, NULL, 0), 9);
    drafts_keep_to(&o);
    c.user = NULL;
    assert_int_equal(one(o, NULL, 0), -1);
    assert_string_equal(nx_error_message(), "nothing is allowed");
}

static void the_likeliest_come_in_order(void **state)
{
    fill();
    sampler_top top[5];
    sampler_likeliest(logits, VOCAB, top, 5);
    assert_int_equal(top[0].id, 5);
    assert_int_equal(top[1].id, 9);
    for (int i = 0; i < 5; i++) {
        assert_true(fabsf(top[i].logprob - sampler_logprob(logits, VOCAB, top[i].id)) < 1e-5f);
        assert_true(i == 0 || top[i].logprob <= top[i - 1].logprob);
    }
    sampler_likeliest(logits, 3, top, 5);
    assert_int_equal(top[3].id, -1);
}

static void nonsense_is_refused(void **state)
{
    sampler_options bad[7];
    for (int i = 0; i < 7; i++)
        bad[i] = plain();
    bad[0].temperature = -1;
    bad[1].top_p = 0;
    bad[2].top_p = 1.5f;
    bad[3].min_p = NAN;
    bad[4].top_k = -2;
    bad[5].repeat_penalty = 0;
    bad[6].temperature = NAN;
    for (int i = 0; i < 7; i++)
        assert_null(sampler_new(&bad[i], VOCAB));
    fill();
    for (int i = 0; i < VOCAB; i++)
        logits[i] = NAN;
    assert_int_equal(one(plain(), NULL, 0), -1);
    assert_non_null(strstr(nx_error_message(), "finite"));
    fill();
    logits[3] = NAN; /* one broken logit is never drawn */
    for (uint64_t seed = 1; seed < 50; seed++) {
        sampler_options o = plain();
        o.seed = seed;
        assert_int_not_equal(one(o, NULL, 0), 3);
    }
}

static void logprob_is_a_log_softmax(void **state)
{
    float l[4] = {0, 1, 2, 1000};
    assert_true(fabsf(sampler_logprob(l, 4, 3)) < 1e-6f);
    assert_true(fabsf(sampler_logprob(l, 3, 0) - (-2.4076059f)) < 1e-5f);
}

static void stops_across_pieces(void **state)
{
    const char *stops[] = {"END", "", "\n\nUser:"};
    const char *pieces[] = {"a E", "N", "x \n", "\nUs", "ed E", "N", "D tail"};
    stopper s;
    nx_str out = {0};
    stopper_init(&s, stops, 3);
    bool stopped = false;
    for (size_t i = 0; i < 7 && !stopped; i++)
        stopped = stopper_push(&s, pieces[i], strlen(pieces[i]), &out);
    assert_true(stopped);
    assert_string_equal(nx_str_cstr(&out), "a ENx \n\nUsed ");
    stopper_clear(&s);
    nx_str_clear(&out);
}

static void what_was_held_back_comes_at_the_end(void **state)
{
    const char *stops[] = {"ABAC"};
    stopper s;
    nx_str out = {0};
    stopper_init(&s, stops, 1);
    assert_false(stopper_push(&s, "xABA", 4, &out));
    assert_string_equal(nx_str_cstr(&out), "x");
    assert_false(stopper_push(&s, "BA", 2, &out));
    assert_string_equal(nx_str_cstr(&out), "xAB");
    stopper_flush(&s, &out);
    assert_string_equal(nx_str_cstr(&out), "xABABA");
    stopper_clear(&s);
    nx_str_clear(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_takes_the_likeliest),
        cmocka_unit_test(filters_keep_what_they_say),
        cmocka_unit_test(draws_follow_the_distribution),
        cmocka_unit_test(a_seed_repeats),
        cmocka_unit_test(penalties_count),
        cmocka_unit_test(dry_breaks_loops),
        cmocka_unit_test(top_choices_can_be_excluded),
        cmocka_unit_test(typical_drops_the_unsurprising),
        cmocka_unit_test(mirostat_holds_the_surprise),
        cmocka_unit_test(constraints_hold),
        cmocka_unit_test(the_likeliest_come_in_order),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(logprob_is_a_log_softmax),
        cmocka_unit_test(stops_across_pieces),
        cmocka_unit_test(what_was_held_back_comes_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
