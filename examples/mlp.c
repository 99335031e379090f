/*
 * mlp.c: a small network learns which of two spirals a point is on, which no straight line can tell.
 *
 * Two hidden layers of 32, and Adam. Parameters are a list of arrays; everything about one step is
 * in train_step.
 */
#include <math.h>

#include "example.h"

enum { POINTS = 400, HIDDEN = 32, LAYERS = 3, PARAMETERS = 2 * LAYERS, STEPS = 500 };
static const int sizes[LAYERS + 1] = {2, HIDDEN, HIDDEN, 1};

typedef struct {
    mlx_array parameter[PARAMETERS]; /* weight, bias of each layer */
    mlx_array mean[PARAMETERS];      /* Adam's running mean of the gradients, */
    mlx_array square[PARAMETERS];    /* and of their squares */
    mlx_array points, labels;        /* [POINTS, 2], [POINTS, 1] of 0 and 1 */
} model;

/* ---- the network ----------------------------------------------------------------------------- */

/* The parameters, then points [n, 2] -> [n, 1]: positive on the one spiral, negative on the other. */
static mlx_array forward(mlx_vector_array in)
{
    mlx_array x = item(in, PARAMETERS);
    for (size_t layer = 0; layer < LAYERS; layer++) {
        x = OP(addmm, item(in, 2 * layer + 1), x, item(in, 2 * layer), 1, 1);
        if (layer + 1 < LAYERS)
            x = OP(tanh, x);
    }
    return x;
}

/* Binary cross-entropy: mean(log(1 + exp(x)) - x label). */
static int loss(mlx_vector_array *res, const mlx_vector_array in)
{
    mlx_array x = forward(in), label = item(in, PARAMETERS + 1);
    mlx_array each = OP(subtract, OP(logaddexp, x, number(0)), OP(multiply, x, label));
    mlx_array mean = OP(mean, each, false);
    return mlx_vector_array_set_data(res, &mean, 1);
}

/* The parameters, points and labels, as a list. */
static mlx_vector_array arguments_of(const model *m)
{
    mlx_vector_array list = mlx_vector_array_new_data(m->parameter, PARAMETERS);
    mlx_vector_array_append_value(list, m->points);
    mlx_vector_array_append_value(list, m->labels);
    return list;
}

/* ---- learning ---------------------------------------------------------------------------------- */

/* x becomes keep x + (1 - keep) y. */
static void blend(mlx_array *x, float keep, mlx_array y)
{
    mlx_array_set(x, OP(add, OP(multiply, number(keep), *x), OP(multiply, number(1 - keep), y)));
}

static void adam(model *m, mlx_vector_array gradients, int t)
{
    const float rate = 0.01f, keep_mean = 0.9f, keep_square = 0.999f;
    float scale = rate * sqrtf(1 - powf(keep_square, (float)t)) / (1 - powf(keep_mean, (float)t));
    for (size_t i = 0; i < PARAMETERS; i++) {
        mlx_array g = item(gradients, i);
        blend(&m->mean[i], keep_mean, g);
        blend(&m->square[i], keep_square, OP(square, g));
        mlx_array size = OP(add, OP(sqrt, m->square[i]), number(1e-8f));
        mlx_array move = OP(multiply, number(scale), OP(divide, m->mean[i], size));
        mlx_array_set(&m->parameter[i], OP(subtract, m->parameter[i], move));
    }
}

/* Computes the whole state, so that no graph grows from step to step. */
static void compute(const model *m)
{
    mlx_vector_array state = mlx_vector_array_new();
    mlx_vector_array_append_data(state, m->parameter, PARAMETERS);
    mlx_vector_array_append_data(state, m->mean, PARAMETERS);
    mlx_vector_array_append_data(state, m->square, PARAMETERS);
    mlx_eval(state);
    mlx_vector_array_free(state);
}

static float train_step(model *m, mlx_closure_value_and_grad loss_and_gradients, int t)
{
    mlx_vector_array values = mlx_vector_array_new(), gradients = mlx_vector_array_new();
    mlx_vector_array arguments = arguments_of(m);
    mlx_closure_value_and_grad_apply(&values, &gradients, loss_and_gradients, arguments);
    adam(m, gradients, t);
    compute(m);
    float now = value(item(values, 0));
    mlx_vector_array_free(arguments);
    mlx_vector_array_free(gradients);
    mlx_vector_array_free(values);
    release();
    return now;
}

/* The share of points whose spiral is told right. */
static float accuracy(const model *m)
{
    mlx_vector_array arguments = arguments_of(m);
    mlx_array one = OP(greater, forward(arguments), number(0));
    mlx_array right = OP(equal, OP(astype, one, MLX_FLOAT32), m->labels);
    float share = value(OP(mean, OP(astype, right, MLX_FLOAT32), false));
    mlx_vector_array_free(arguments);
    release();
    return share;
}

/* ---- data, beginning and end -------------------------------------------------------------------- */

/* Points along two spirals that wind one and a half times around each other. */
static void make_spirals(model *m)
{
    float points[POINTS][2], labels[POINTS];
    for (int i = 0; i < POINTS; i++) {
        float t = (float)(i / 2) / (POINTS / 2), radius = 0.5f + 3.5f * t;
        float angle = 9.42f * t + 3.14159f * (float)(i % 2);
        points[i][0] = radius * cosf(angle);
        points[i][1] = radius * sinf(angle);
        labels[i] = (float)(i % 2);
    }
    m->points = mlx_array_new_data(points, (int[]){POINTS, 2}, 2, MLX_FLOAT32);
    m->labels = mlx_array_new_data(labels, (int[]){POINTS, 1}, 2, MLX_FLOAT32);
}

static void model_init(model *m)
{
    make_spirals(m);
    for (int i = 0; i < PARAMETERS; i++) {
        int in = sizes[i / 2], out = sizes[i / 2 + 1];
        float scale = sqrtf(2.0f / (float)(in + out));
        m->parameter[i] = mlx_array_new();
        m->mean[i] = mlx_array_new();
        m->square[i] = mlx_array_new();
        mlx_array_set(&m->parameter[i], i % 2 ? OP(zeros, SHAPE(out), MLX_FLOAT32)
                                              : OP(multiply, number(scale), NORMAL(in, out)));
        mlx_array_set(&m->mean[i], OP(zeros_like, m->parameter[i]));
        mlx_array_set(&m->square[i], OP(zeros_like, m->parameter[i]));
    }
    release();
}

static void model_clear(model *m)
{
    for (int i = 0; i < PARAMETERS; i++) {
        mlx_array_free(m->parameter[i]);
        mlx_array_free(m->mean[i]);
        mlx_array_free(m->square[i]);
    }
    mlx_array_free(m->points);
    mlx_array_free(m->labels);
}

int main(void)
{
    example_begin();
    model m;
    model_init(&m);

    int trained[PARAMETERS];
    for (int i = 0; i < PARAMETERS; i++)
        trained[i] = i;
    mlx_closure function = mlx_closure_new_func(loss);
    mlx_closure_value_and_grad loss_and_gradients = mlx_closure_value_and_grad_new();
    mlx_value_and_grad(&loss_and_gradients, function, trained, PARAMETERS);

    for (int t = 1; t <= STEPS; t++) {
        float now = train_step(&m, loss_and_gradients, t);
        if (t % 100 == 0)
            printf("step %4d: loss %.4f, %.1f%% right\n", t, (double)now, 100 * (double)accuracy(&m));
    }
    float right = accuracy(&m);
    mlx_closure_value_and_grad_free(loss_and_gradients);
    mlx_closure_free(function);
    model_clear(&m);
    return example_end(right > 0.99f);
}
