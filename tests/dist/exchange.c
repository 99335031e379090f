/*
 * exchange.c: arrays between processes; run under mpirun (dist.cmake), or alone. The first argument
 * names what is tested. Every rank runs all of it; exits 1 where a number is wrong.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mlx/c/mlx.h"

static mlx_distributed_group all;
static int rank, size;
static mlx_stream cpu;

static char last_error[1024];
static int errors;

static void on_error(const char *message, void *data)
{
    snprintf(last_error, sizeof last_error, "%s", message);
    errors++;
}

static void check_at(int line, const char *what, int ok)
{
    if (ok)
        return;
    fprintf(stderr, "exchange: rank %d, line %d: %s (last error: %s)\n", rank, line, what,
            last_error);
    exit(1);
}
#define CHECK(x) check_at(__LINE__, #x, !!(x))
#define GOOD(call) check_at(__LINE__, #call, (call) == 0)

/* One error, which says `part`. */
#define FAILS(call, part)                                                                          \
    do {                                                                                           \
        errors = 0;                                                                                \
        CHECK((call) != 0);                                                                        \
        CHECK(errors == 1 && strstr(last_error, part));                                            \
        errors = 0;                                                                                \
    } while (0)

static mlx_array floats(const float *v, const int *shape, int ndim)
{
    return mlx_array_new_data(v, shape, ndim, MLX_FLOAT32);
}

/* Evaluates a, compares its numbers (as float32) with expected, frees a. */
static void check_values(int line, mlx_array a, const float *expected, size_t n)
{
    mlx_array f = mlx_array_new();
    check_at(line, "size", mlx_array_size(a) == n);
    check_at(line, "astype", mlx_astype(&f, a, MLX_FLOAT32, cpu) == 0);
    check_at(line, "eval", mlx_contiguous(&f, f, false, cpu) == 0 && mlx_array_eval(f) == 0);
    const float *v = mlx_array_data_float32(f);
    for (size_t i = 0; i < n; i++)
        if (v[i] != expected[i] && !(isnan(v[i]) && isnan(expected[i]))) {
            fprintf(stderr, "exchange: rank %d, line %d: [%zu] is %g, not %g\n", rank, line, i,
                    (double)v[i], (double)expected[i]);
            exit(1);
        }
    mlx_array_free(f);
    mlx_array_free(a);
}
#define VALUES(a, n, ...) check_values(__LINE__, a, (const float[]){__VA_ARGS__}, n)

/* ---- reductions over every type ------------------------------------------------------------ */

typedef int (*reduction)(mlx_array *, const mlx_array, const mlx_distributed_group,
                         const mlx_stream);

static mlx_array reduced(reduction f, const float *v, int n, mlx_dtype dtype)
{
    mlx_array a = floats(v, &n, 1), b = mlx_array_new(), r = mlx_array_new();
    GOOD(mlx_astype(&b, a, dtype, cpu));
    GOOD(f(&r, b, all, cpu));
    CHECK(mlx_array_dtype(r) == dtype);
    mlx_array_free(a);
    mlx_array_free(b);
    return r;
}

static void test_types(void)
{
    static const mlx_dtype types[] = {MLX_UINT8,   MLX_UINT16,  MLX_UINT32,   MLX_UINT64,
                                      MLX_INT8,    MLX_INT16,   MLX_INT32,    MLX_INT64,
                                      MLX_FLOAT16, MLX_FLOAT32, MLX_BFLOAT16, MLX_FLOAT64,
                                      MLX_COMPLEX64};
    float r = (float)rank, n = (float)size, v[3] = {r + 1, 2 * r, 5};
    float total = n * (n - 1) / 2;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        VALUES(reduced(mlx_distributed_all_sum, v, 3, types[i]), 3, total + n, 2 * total, 5 * n);
        VALUES(reduced(mlx_distributed_all_max, v, 3, types[i]), 3, n, 2 * (n - 1), 5);
        VALUES(reduced(mlx_distributed_all_min, v, 3, types[i]), 3, 1, 0, 5);
    }
    float flags[3] = {rank == 0, 0, 1};
    VALUES(reduced(mlx_distributed_all_sum, flags, 3, MLX_BOOL), 3, 1, 0, 1);
    VALUES(reduced(mlx_distributed_all_max, flags, 3, MLX_BOOL), 3, 1, 0, 1);
    VALUES(reduced(mlx_distributed_all_min, flags, 3, MLX_BOOL), 3, size == 1, 0, 1);
    /* A NaN anywhere stays one, as in maximum; halves round once a step, not to integers. */
    float odd[2] = {rank == size - 1 ? NAN : r, 0.25f};
    VALUES(reduced(mlx_distributed_all_max, odd, 2, MLX_FLOAT32), 2, NAN, 0.25f);
    VALUES(reduced(mlx_distributed_all_min, odd, 2, MLX_BFLOAT16), 2, NAN, 0.25f);
    VALUES(reduced(mlx_distributed_all_sum, odd, 2, MLX_FLOAT16), 2, NAN, 0.25f * n);
}

/* ---- shapes -------------------------------------------------------------------------------- */

static void test_shapes(void)
{
    float r = (float)rank;
    mlx_array one = mlx_array_new_float(r), out = mlx_array_new();
    GOOD(mlx_distributed_all_gather(&out, one, all, cpu));
    CHECK(size == 1 || (mlx_array_ndim(out) == 1 && mlx_array_dim(out, 0) == size));
    float expected[64];
    for (int i = 0; i < size; i++)
        expected[i] = (float)i;
    check_values(__LINE__, out, expected, (size_t)size);

    /* A transposed input: row-major order is what counts. */
    float v[6] = {r, r + 10, r + 20, r + 30, r + 40, r + 50};
    mlx_array a = floats(v, (int[]){2, 3}, 2), t = mlx_array_new();
    GOOD(mlx_transpose(&t, a, cpu));
    out = mlx_array_new();
    GOOD(mlx_distributed_all_gather(&out, t, all, cpu));
    CHECK(mlx_array_dim(out, 0) == 3 * size && mlx_array_dim(out, 1) == 2);
    static const float order[6] = {0, 30, 10, 40, 20, 50};
    for (int i = 0; i < 6 * size; i++)
        expected[i] = order[i % 6] + (float)(i / 6);
    check_values(__LINE__, out, expected, (size_t)(6 * size));

    /* Each gets its part of the sum. */
    float parts[32];
    for (int i = 0; i < 2 * size; i++)
        parts[i] = (float)i + r;
    mlx_array p = floats(parts, (int[]){2 * size}, 1);
    out = mlx_array_new();
    float n = (float)size, total = n * (n - 1) / 2;
    GOOD(mlx_distributed_sum_scatter(&out, p, all, cpu));
    if (size == 1)
        VALUES(out, 2, 0, 1);
    else
        VALUES(out, 2, n * 2 * r + total, n * (2 * r + 1) + total);
    if (size > 1) {
        mlx_array uneven = floats(parts, (int[]){size + 1}, 1);
        out = mlx_array_new();
        FAILS(mlx_distributed_sum_scatter(&out, uneven, all, cpu), "must be divisible");
        CHECK(!out.ctx);
        mlx_array_free(uneven);
    }
    mlx_array empty = mlx_array_new(), e = mlx_array_new();
    GOOD(mlx_zeros(&empty, (int[]){0, 3}, 2, MLX_FLOAT32, cpu));
    GOOD(mlx_distributed_all_gather(&e, empty, all, cpu));
    GOOD(mlx_array_eval(e));
    CHECK(mlx_array_size(e) == 0);
    mlx_array_free(e);
    mlx_array_free(empty);
    mlx_array_free(p);
    mlx_array_free(t);
    mlx_array_free(a);
    mlx_array_free(one);
}

/* Large enough for several pieces where NEXUS_MPI_PIECE makes them small. */
static void test_pieces(void)
{
    enum { N = 4096 };
    float *v = malloc(N * sizeof *v);
    for (int i = 0; i < N; i++)
        v[i] = (float)(i % 1000 + rank);
    mlx_array a = floats(v, (int[]){N}, 1), out = mlx_array_new();
    float *all_of = malloc(sizeof *all_of * N * (size_t)size);
    float total = (float)(size * (size - 1) / 2);
    GOOD(mlx_distributed_all_sum(&out, a, all, cpu));
    for (int i = 0; i < N; i++)
        all_of[i] = (float)(i % 1000) * (float)size + total;
    check_values(__LINE__, out, all_of, N);
    out = mlx_array_new();
    GOOD(mlx_distributed_sum_scatter(&out, a, all, cpu));
    check_values(__LINE__, out, all_of + rank * (N / size), (size_t)(N / size));
    out = mlx_array_new();
    GOOD(mlx_distributed_all_gather(&out, a, all, cpu));
    for (int i = 0; i < N * size; i++)
        all_of[i] = (float)(i % N % 1000 + i / N);
    check_values(__LINE__, out, all_of, (size_t)(N * size));
    if (size > 1) { /* round the ring: odd ranks receive first */
        mlx_array sent = mlx_array_new(), got = mlx_array_new();
        int next = (rank + 1) % size, before = (rank + size - 1) % size;
        GOOD(mlx_distributed_send(&sent, a, next, all, cpu));
        GOOD(mlx_distributed_recv_like(&got, a, before, all, cpu));
        if (rank % 2 == 0)
            GOOD(mlx_array_eval(sent));
        GOOD(mlx_array_eval(got));
        GOOD(mlx_array_eval(sent));
        for (int i = 0; i < N; i++)
            all_of[i] = (float)(i % 1000 + before);
        check_values(__LINE__, got, all_of, N);
        check_values(__LINE__, sent, v, N);
    }
    mlx_array_free(a);
    free(all_of);
    free(v);
}

/* ---- groups -------------------------------------------------------------------------------- */

static void test_groups(void)
{
    mlx_distributed_group again = mlx_distributed_group_new(), half = mlx_distributed_group_new();
    GOOD(mlx_distributed_init(&again, true, "mpi"));
    CHECK(mlx_distributed_group_size(again) == size && mlx_distributed_group_rank(again) == rank);
    CHECK(mlx_distributed_group_size(mlx_distributed_group_new()) == size);
    GOOD(mlx_distributed_group_split(&half, all, rank % 2, -1));
    int in_half = (size + 1 - rank % 2) / 2;
    CHECK(mlx_distributed_group_size(half) == in_half);
    CHECK(mlx_distributed_group_rank(half) == rank / 2);
    mlx_array a = mlx_array_new_float((float)rank), out = mlx_array_new();
    GOOD(mlx_distributed_all_sum(&out, a, half, cpu));
    float sum = 0;
    for (int r = rank % 2; r < size; r += 2)
        sum += (float)r;
    VALUES(out, 1, sum);
    mlx_distributed_group turned = mlx_distributed_group_new();
    GOOD(mlx_distributed_group_split(&turned, all, 0, size - rank)); /* the other way round */
    CHECK(mlx_distributed_group_rank(turned) == (size == 1 ? 0 : size - 1 - rank));
    errors = 0;
    CHECK(mlx_distributed_group_split(&turned, all, -1, 0) == 1 && errors == 1);
    mlx_array_free(a);
    mlx_distributed_group_free(half);

    mlx_distributed_group none = mlx_distributed_group_new();
    CHECK(!mlx_distributed_is_available("ring") && mlx_distributed_is_available("mpi"));
    GOOD(mlx_distributed_init(&none, false, "ring"));
    CHECK(mlx_distributed_group_size(none) == 1 && mlx_distributed_group_rank(none) == 0);
    FAILS(mlx_distributed_init(&none, true, "ring"), "Cannot initialize ring");
    FAILS(mlx_distributed_init(&none, false, "pigeons"), "'pigeons' was provided");
    FAILS(mlx_distributed_group_split(&none, none, 0, 0), "Cannot split");

    /* In a group of one sums are the array itself; there is nobody to send to. */
    a = mlx_array_new_float(3);
    out = mlx_array_new();
    GOOD(mlx_distributed_all_sum(&out, a, none, cpu));
    VALUES(out, 1, 3);
    out = mlx_array_new();
    FAILS(mlx_distributed_send(&out, a, 0, none, cpu), "Cannot send to a singleton group");
    FAILS(mlx_distributed_recv_like(&out, a, 0, none, cpu), "Cannot recv from a singleton group");
    if (size > 1) {
        FAILS(mlx_distributed_send(&out, a, size, all, cpu), "Invalid destination=");
        FAILS(mlx_distributed_recv(&out, NULL, 0, MLX_INT8, -1, all, cpu), "Invalid source=-1");
    }
    mlx_array_free(a);
}

/* ---- derivatives and batches --------------------------------------------------------------- */

static reduction derived;

static int call_derived(mlx_vector_array *res, const mlx_vector_array in)
{
    mlx_array a = mlx_array_new(), r = mlx_array_new();
    mlx_vector_array_get(&a, in, 0);
    int status = derived(&r, a, all, cpu);
    if (!status)
        mlx_vector_array_set_value(res, r);
    mlx_array_free(a);
    mlx_array_free(r);
    return status;
}

/* The derivative of f at a along (or against) t. */
static mlx_array derivative(int (*rule)(mlx_vector_array *, mlx_vector_array *, const mlx_closure,
                                        const mlx_vector_array, const mlx_vector_array),
                            reduction f, mlx_array a, mlx_array t)
{
    mlx_closure c = mlx_closure_new_func(call_derived);
    mlx_vector_array at = mlx_vector_array_new_value(a), along = mlx_vector_array_new_value(t);
    mlx_vector_array values = mlx_vector_array_new(), d = mlx_vector_array_new();
    mlx_array r = mlx_array_new();
    derived = f;
    GOOD(rule(&values, &d, c, at, along));
    GOOD(mlx_vector_array_get(&r, d, 0));
    mlx_vector_array_free(values);
    mlx_vector_array_free(d);
    mlx_vector_array_free(at);
    mlx_vector_array_free(along);
    mlx_closure_free(c);
    return r;
}

static void test_derivatives(void)
{
    float r = (float)rank, n = (float)size, total = n * (n - 1) / 2;
    mlx_array x = floats((float[]){r, 1}, (int[]){2}, 1), t = floats((float[]){2, r}, (int[]){2}, 1);
    VALUES(derivative(mlx_vjp, mlx_distributed_all_sum, x, t), 2, 2, r);
    VALUES(derivative(mlx_jvp, mlx_distributed_all_sum, x, t), 2, 2 * n, size == 1 ? r : total);
    float g[64], expected[64];
    for (int i = 0; i < 2 * size; i++)
        g[i] = (float)i;
    mlx_array wide = floats(g, (int[]){2 * size}, 1);
    VALUES(derivative(mlx_vjp, mlx_distributed_all_gather, x, wide), 2, 2 * r, 2 * r + 1);
    for (int i = 0; i < size; i++) {
        expected[2 * i] = 2;
        expected[2 * i + 1] = (float)i;
    }
    check_values(__LINE__, derivative(mlx_jvp, mlx_distributed_all_gather, x, t), expected,
                 (size_t)(2 * size));
    /* The vjp of sum_scatter gathers what each process has. */
    check_values(__LINE__, derivative(mlx_vjp, mlx_distributed_sum_scatter, wide, t), expected,
                 (size_t)(2 * size));
    mlx_array_free(wide);
    mlx_array_free(x);
    mlx_array_free(t);
}

static mlx_array batched(reduction f, mlx_array x, int in_axis, int out_axis)
{
    mlx_closure c = mlx_closure_new_func(call_derived);
    mlx_vector_array in = mlx_vector_array_new_value(x), traced_in = mlx_vector_array_new();
    mlx_vector_array traced_out = mlx_vector_array_new(), out = mlx_vector_array_new();
    mlx_array r = mlx_array_new();
    derived = f;
    GOOD(mlx_detail_vmap_trace(&traced_in, &traced_out, c, in, &in_axis, 1));
    GOOD(mlx_detail_vmap_replace(&out, in, traced_in, traced_out, &in_axis, 1, &out_axis, 1));
    GOOD(mlx_vector_array_get(&r, out, 0));
    mlx_vector_array_free(in);
    mlx_vector_array_free(traced_in);
    mlx_vector_array_free(traced_out);
    mlx_vector_array_free(out);
    mlx_closure_free(c);
    return r;
}

/* Batches equal a loop over the items: for gathering, each row becomes longer. */
static void test_batches(void)
{
    float r = (float)rank, expected[64];
    mlx_array x = floats((float[]){r, r + 1, r + 2, r + 3}, (int[]){2, 2}, 2);
    for (int axis = 0; axis < 2; axis++) {
        mlx_array out = batched(mlx_distributed_all_gather, x, axis, 0);
        CHECK(mlx_array_dim(out, 0) == 2 && mlx_array_dim(out, 1) == 2 * size);
        for (int item = 0; item < 2; item++)
            for (int i = 0; i < 2 * size; i++)
                expected[item * 2 * size + i] =
                    (float)(i / 2) + (float)(axis == 0 ? 2 * item + i % 2 : item + i % 2 * 2);
        check_values(__LINE__, out, expected, (size_t)(4 * size));
        out = batched(mlx_distributed_all_max, x, axis, axis);
        float top = (float)(size - 1);
        VALUES(out, 4, top, top + 1, top + 2, top + 3);
    }
    mlx_array_free(x);
}

/* ---- faults -------------------------------------------------------------------------------- */

/* Every rank calls something else: all are told, and can go on. */
static void test_mismatch(void)
{
    mlx_array a = mlx_array_new(), out = mlx_array_new();
    GOOD(mlx_ones(&a, (int[]){4 + rank}, 1, MLX_FLOAT32, cpu));
    GOOD(mlx_distributed_all_sum(&out, a, all, cpu));
    FAILS(mlx_array_eval(out), "calls all_sum of");
    mlx_array b = mlx_array_new_float(1), sum = mlx_array_new();
    GOOD(mlx_distributed_all_sum(&sum, b, all, cpu));
    VALUES(sum, 1, (float)size); /* still of use */

    /* What arrives is not what was expected: the receiver is told, the sender gets on. */
    mlx_array moved = mlx_array_new();
    if (rank == 0)
        GOOD(mlx_distributed_send(&moved, a, 1, all, cpu));
    else if (rank == 1)
        GOOD(mlx_distributed_recv(&moved, (int[]){7}, 1, MLX_INT16, 0, all, cpu));
    if (rank == 0)
        GOOD(mlx_array_eval(moved));
    else if (rank == 1)
        FAILS(mlx_array_eval(moved), "rank 0 sends 4 float32, rank 1 expects 7 int16");
    mlx_array_free(moved);
    mlx_array_free(b);
    mlx_array_free(out);
    mlx_array_free(a);
}

/* The last rank ends early: who waits for it is told, at eval or at synchronize. */
static void test_leaving(void)
{
    if (rank == size - 1)
        exit(0);
    mlx_array a = mlx_array_new_float(1), out = mlx_array_new();
    mlx_vector_array v;
    GOOD(mlx_distributed_all_sum(&out, a, all, cpu));
    v = mlx_vector_array_new_value(out);
    GOOD(mlx_async_eval(v));
    FAILS(mlx_synchronize(cpu), "which has ended");
    fprintf(stderr, "rank %d was told\n", rank);
}

/* Rank 1 waits for what nobody sends. */
static void test_waiting(void)
{
    mlx_array out = mlx_array_new();
    if (rank == 1) {
        GOOD(mlx_distributed_recv(&out, NULL, 0, MLX_INT8, 0, all, cpu));
        FAILS(mlx_array_eval(out), "NEXUS_MPI_TIMEOUT");
        fprintf(stderr, "rank %d was told\n", rank);
        exit(0);
    }
    sleep(60);
}

int main(int argc, char **argv)
{
    const char *test = argc > 1 ? argv[1] : "all";
    mlx_set_error_handler(on_error, NULL, NULL);
    cpu = mlx_default_cpu_stream_new();
    if (strcmp(test, "alone") == 0 && !mlx_distributed_is_available("mpi")) {
        fprintf(stderr, "exchange: built without MPI\n");
        return 77;
    }
    all = mlx_distributed_group_new();
    GOOD(mlx_distributed_init(&all, true, "any"));
    rank = mlx_distributed_group_rank(all);
    size = mlx_distributed_group_size(all);
    CHECK(size == (argc > 2 ? atoi(argv[2]) : 1));
    if (strcmp(test, "mismatch") == 0) {
        test_mismatch();
    } else if (strcmp(test, "leaving") == 0) {
        test_leaving();
    } else if (strcmp(test, "waiting") == 0) {
        test_waiting();
    } else {
        test_types();
        test_shapes();
        test_pieces();
        test_groups();
        test_derivatives();
        test_batches();
    }
    CHECK(errors == 0);
    return 0;
}
