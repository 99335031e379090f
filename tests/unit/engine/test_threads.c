/* Streams and threads: edges between streams, work that goes on while the caller does, and arrays,
 * streams, functions and random numbers used from eight threads at once. Also run under tsan. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "mlx/c/mlx.h"

enum { THREADS = 8, STREAMS = 5 };

static _Atomic int errors;
static _Thread_local char last_error[512];
static mlx_stream streams[STREAMS]; /* the default one first */

static void on_error(const char *message, void *data)
{
    snprintf(last_error, sizeof last_error, "%s", message);
    atomic_fetch_add(&errors, 1);
}

static int setup(void **state)
{
    mlx_device cpu = mlx_device_new_type(MLX_CPU, 0);
    mlx_set_error_handler(on_error, NULL, NULL);
    streams[0] = mlx_default_cpu_stream_new();
    for (int i = 1; i < STREAMS; i++)
        streams[i] = mlx_stream_new_device(cpu);
    mlx_device_free(cpu);
    return 0;
}

static unsigned next_random(unsigned *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 16;
}

static mlx_array counted(int n, int from)
{
    int32_t v[512];
    for (int i = 0; i < n; i++)
        v[i] = (from + i) % 1000;
    return mlx_array_new_data(v, &n, 1, MLX_INT32);
}

/* Runs fn in THREADS threads, which all begin together; how many said something went wrong. */
typedef struct {
    int (*fn)(int thread, void *arg);
    void *arg;
    int thread, bad;
    pthread_barrier_t *together;
} job;

static void *job_run(void *arg)
{
    job *j = arg;
    pthread_barrier_wait(j->together);
    j->bad = j->fn(j->thread, j->arg);
    return NULL;
}

static int in_threads(int (*fn)(int thread, void *arg), void *arg)
{
    pthread_t threads[THREADS];
    job jobs[THREADS];
    pthread_barrier_t together;
    int bad = 0;
    pthread_barrier_init(&together, NULL, THREADS);
    for (int i = 0; i < THREADS; i++) {
        jobs[i] = (job){fn, arg, i, 0, &together};
        pthread_create(&threads[i], NULL, job_run, &jobs[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        bad += jobs[i].bad != 0;
    }
    pthread_barrier_destroy(&together);
    return bad;
}

/* ---- graphs over several streams ----------------------------------------------------------- */

enum { NODES = 40, SIZE = 300 };

/* A graph of random edges; one stream (spread 0) or any of them. The last NODES / 2 results. */
static mlx_vector_array graph(unsigned seed, int spread)
{
    mlx_array node[NODES];
    mlx_vector_array out = mlx_vector_array_new();
    for (int i = 0; i < NODES; i++) {
        unsigned any = next_random(&seed) % STREAMS;
        mlx_stream s = streams[spread ? any : 0];
        unsigned kind = next_random(&seed) % 5;
        mlx_array a = node[i ? next_random(&seed) % (unsigned)i : 0];
        mlx_array b = node[i ? next_random(&seed) % (unsigned)i : 0];
        node[i] = mlx_array_new();
        if (i < 3) {
            mlx_array_free(node[i]);
            node[i] = counted(SIZE, i * 100);
        } else if (kind == 0) {
            mlx_add(&node[i], a, b, s);
        } else if (kind == 1) {
            mlx_multiply(&node[i], a, b, s);
        } else if (kind == 2) {
            mlx_subtract(&node[i], a, b, s);
        } else if (kind == 3) { /* a view, of the other order */
            mlx_slice(&node[i], a, (int[]){SIZE - 1}, 1, (int[]){-SIZE - 1}, 1, (int[]){-1}, 1, s);
        } else {
            mlx_maximum(&node[i], a, b, s);
        }
        if (i >= NODES / 2)
            mlx_vector_array_append_value(out, node[i]);
    }
    for (int i = 0; i < NODES; i++)
        mlx_array_free(node[i]);
    return out;
}

/* Are both lists equal, element by element? */
static int differ(const mlx_vector_array a, const mlx_vector_array b)
{
    int bad = mlx_vector_array_size(a) != mlx_vector_array_size(b);
    for (size_t i = 0; !bad && i < mlx_vector_array_size(a); i++) {
        mlx_array x = mlx_array_new(), y = mlx_array_new(), same = mlx_array_new();
        bool equal = false;
        bad = mlx_vector_array_get(&x, a, i) || mlx_vector_array_get(&y, b, i) ||
              mlx_array_equal(&same, x, y, false, streams[i % STREAMS]) ||
              mlx_array_item_bool(&equal, same) || !equal;
        mlx_array_free(x);
        mlx_array_free(y);
        mlx_array_free(same);
    }
    return bad;
}

static int compare_graphs(int thread, void *arg)
{
    int rounds = *(int *)arg, bad = 0;
    for (int round = 0; round < rounds && !bad; round++) {
        unsigned seed = (unsigned)(thread * 1000 + round);
        mlx_vector_array one = graph(seed, 0), many = graph(seed, 1);
        bad = mlx_async_eval(many) || mlx_eval(one) || differ(one, many);
        mlx_vector_array_free(one);
        mlx_vector_array_free(many);
    }
    return bad;
}

static void edges_between_streams(void **state)
{
    int rounds = 60;
    assert_int_equal(compare_graphs(0, &rounds), 0);
    assert_int_equal(errors, 0);
}

static void graphs_in_eight_threads(void **state)
{
    int rounds = 15;
    assert_int_equal(in_threads(compare_graphs, &rounds), 0);
    assert_int_equal(errors, 0);
}

/* ---- work that goes on --------------------------------------------------------------------- */

/* What is under way may lose its handles; the result is there when its stream is done. */
static void work_outlives_its_handles(void **state)
{
    size_t before = 0, after = 0;
    mlx_get_active_memory(&before);
    for (int round = 0; round < 50; round++) {
        mlx_vector_array v = graph((unsigned)round, 1);
        assert_int_equal(mlx_async_eval(v), 0);
        mlx_vector_array_free(v);
    }
    for (int i = 0; i < STREAMS; i++)
        assert_int_equal(mlx_synchronize(streams[i]), 0);
    mlx_get_active_memory(&after);
    assert_int_equal(before, after);
}

static void waiting_for_one_array(void **state)
{
    for (int round = 0; round < 20; round++) {
        mlx_array a = counted(SIZE, round);
        for (int i = 0; i < 30; i++)
            mlx_add(&a, a, a, streams[i % STREAMS]);
        mlx_vector_array v = mlx_vector_array_new_value(a);
        assert_int_equal(mlx_async_eval(v), 0);
        bool there = false;
        assert_int_equal(_mlx_array_wait(a), 0);
        assert_int_equal(_mlx_array_is_available(&there, a), 0);
        assert_true(there);
        assert_int_equal(mlx_array_data_int32(a)[1], (int32_t)((uint32_t)(round + 1) << 30));
        mlx_vector_array_free(v);
        mlx_array_free(a);
    }
}

/* ---- one lazy graph, evaluated by all ------------------------------------------------------ */

static int evaluate_shared(int thread, void *arg)
{
    const mlx_vector_array *shared = arg;
    size_t n = mlx_vector_array_size(*shared);
    int bad = 0;
    for (size_t k = 0; k < n && !bad; k++) {
        mlx_array a = mlx_array_new(), sum = mlx_array_new();
        int32_t v = 0;
        /* Each its own order, and its own work on top of what others may be evaluating. */
        bad = mlx_vector_array_get(&a, *shared, (k * 7 + (size_t)thread) % n) ||
              mlx_sum(&sum, a, false, streams[thread % STREAMS]) || mlx_array_item_int32(&v, sum);
        mlx_array_free(a);
        mlx_array_free(sum);
    }
    return bad;
}

static void one_graph_for_all(void **state)
{
    for (unsigned round = 0; round < 20; round++) {
        mlx_vector_array shared = graph(round, 1), expected = graph(round, 0);
        assert_int_equal(in_threads(evaluate_shared, &shared), 0);
        assert_int_equal(mlx_eval(expected), 0);
        assert_int_equal(differ(shared, expected), 0);
        mlx_vector_array_free(shared);
        mlx_vector_array_free(expected);
    }
    assert_int_equal(errors, 0);
}

/* ---- derivatives, compiled functions, random numbers --------------------------------------- */

static int loss(mlx_vector_array *res, const mlx_vector_array in)
{
    mlx_array w = mlx_array_new(), x = mlx_array_new(), h = mlx_array_new();
    mlx_stream s = mlx_default_cpu_stream_new();
    int status = mlx_vector_array_get(&w, in, 0) || mlx_vector_array_get(&x, in, 1) ||
                 mlx_matmul(&h, x, w, s) || mlx_tanh(&h, h, s) || mlx_square(&h, h, s) ||
                 mlx_sum(&h, h, false, s) || mlx_vector_array_set_value(res, h);
    mlx_array_free(w);
    mlx_array_free(x);
    mlx_array_free(h);
    return status;
}

typedef struct {
    mlx_array w, x, expected;
    mlx_closure plain, compiled;
} problem;

/* The gradient of the loss by w at (w, x). */
static int gradient(mlx_array *res, const mlx_closure f, const problem *p)
{
    mlx_closure_value_and_grad g = mlx_closure_value_and_grad_new();
    mlx_vector_array in = mlx_vector_array_new_data((mlx_array[]){p->w, p->x}, 2);
    mlx_vector_array values = mlx_vector_array_new(), grads = mlx_vector_array_new();
    int status = mlx_value_and_grad(&g, f, (int[]){0}, 1) ||
                 mlx_closure_value_and_grad_apply(&values, &grads, g, in) ||
                 mlx_vector_array_get(res, grads, 0) || mlx_array_eval(*res);
    mlx_vector_array_free(in);
    mlx_vector_array_free(values);
    mlx_vector_array_free(grads);
    mlx_closure_value_and_grad_free(g);
    return status;
}

static int gradients(int thread, void *arg)
{
    const problem *p = arg;
    int bad = 0;
    for (int round = 0; round < 10 && !bad; round++) {
        mlx_array g = mlx_array_new(), same = mlx_array_new();
        bool equal = false;
        bad = gradient(&g, (thread + round) % 2 ? p->compiled : p->plain, p) ||
              mlx_array_equal(&same, g, p->expected, false, streams[thread % STREAMS]) ||
              mlx_array_item_bool(&equal, same) || !equal;
        if (thread == 0 && round % 3 == 0)
            mlx_detail_compile_clear_cache(); /* under the others' feet */
        mlx_array_free(g);
        mlx_array_free(same);
    }
    return bad;
}

static void derivatives_in_eight_threads(void **state)
{
    float v[16 * 16];
    for (int i = 0; i < 256; i++)
        v[i] = (float)(i * 37 % 19 - 9) / 16;
    problem p = {.w = mlx_array_new_data(v, (int[]){16, 16}, 2, MLX_FLOAT32),
                 .x = mlx_array_new_data(v, (int[]){16, 16}, 2, MLX_FLOAT32),
                 .expected = mlx_array_new(), .compiled = mlx_closure_new()};
    p.plain = mlx_closure_new_func(loss);
    assert_int_equal(mlx_compile(&p.compiled, p.plain, false), 0);
    assert_int_equal(gradient(&p.expected, p.plain, &p), 0);
    assert_int_equal(in_threads(gradients, &p), 0);
    assert_int_equal(errors, 0);
    mlx_closure_free(p.compiled);
    mlx_closure_free(p.plain);
    mlx_array_free(p.w);
    mlx_array_free(p.x);
    mlx_array_free(p.expected);
}

static int random_numbers(int thread, void *arg)
{
    int bad = 0;
    mlx_device cpu = mlx_device_new_type(MLX_CPU, 0);
    for (int round = 0; round < 20 && !bad; round++) {
        mlx_array key = mlx_array_new(), a = mlx_array_new(), b = mlx_array_new(), none = {0};
        mlx_array same = mlx_array_new();
        bool equal = false;
        mlx_stream s = mlx_stream_new();
        /* With a key: the same everywhere. Without: the process's own sequence, shared by all. */
        bad = mlx_get_default_stream(&s, cpu) || mlx_random_key(&key, (uint64_t)round) ||
              mlx_random_bits(&a, &(int){64}, 1, 4, key, s) ||
              mlx_random_bits(&b, &(int){64}, 1, 4, key, streams[thread % STREAMS]) ||
              mlx_array_equal(&same, a, b, false, s) || mlx_array_item_bool(&equal, same) || !equal ||
              mlx_random_bits(&b, &(int){64}, 1, 4, none, s) || mlx_array_eval(b);
        mlx_array_free(key);
        mlx_array_free(a);
        mlx_array_free(b);
        mlx_array_free(same);
    }
    mlx_device_free(cpu);
    return bad;
}

static void random_numbers_in_eight_threads(void **state)
{
    assert_int_equal(in_threads(random_numbers, NULL), 0);
    assert_int_equal(errors, 0);
}

/* Errors are each thread's own; limits and caches may be turned meanwhile. */
static int fail_and_go_on(int thread, void *arg)
{
    int bad = 0;
    for (int round = 0; round < 30 && !bad; round++) {
        mlx_array a = counted(10, 0), b = counted(11, 0), c = mlx_array_new();
        size_t former;
        bad = mlx_add(&c, a, b, streams[0]) != 1 || c.ctx != NULL;
        bad = bad || mlx_add(&c, a, a, streams[thread % STREAMS]) || mlx_array_eval(c) ||
              mlx_array_data_int32(c)[4] != 8;
        if (thread == 1)
            mlx_clear_cache();
        if (thread == 2)
            bad = bad || mlx_set_cache_limit(&former, (size_t)round << 20);
        if (thread == 3)
            bad = bad || mlx_reset_peak_memory();
        mlx_array_free(a);
        mlx_array_free(b);
        mlx_array_free(c);
    }
    return bad;
}

static void errors_belong_to_threads(void **state)
{
    size_t limit;
    mlx_set_cache_limit(&limit, (size_t)1 << 28);
    atomic_store(&errors, 0);
    assert_int_equal(in_threads(fail_and_go_on, NULL), 0);
    assert_int_equal(errors, THREADS * 30);
    mlx_set_cache_limit(&limit, limit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edges_between_streams),
        cmocka_unit_test(graphs_in_eight_threads),
        cmocka_unit_test(work_outlives_its_handles),
        cmocka_unit_test(waiting_for_one_array),
        cmocka_unit_test(one_graph_for_all),
        cmocka_unit_test(derivatives_in_eight_threads),
        cmocka_unit_test(random_numbers_in_eight_threads),
        cmocka_unit_test(errors_belong_to_threads),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
