/* stream.h. A stream lives as long as the process, so its handle is the nx_stream itself. */
#include "engine/capi/objects.h"

mlx_stream mlx_stream_new(void)
{
    return (mlx_stream){NULL};
}

static mlx_stream handle_of(nx_stream *s)
{
    if (!s)
        nx_report();
    return (mlx_stream){s};
}

mlx_stream mlx_stream_new_device(mlx_device dev)
{
    return handle_of(nx_stream_new(*NX_OBJECT_OR(nx_device, dev, (mlx_stream){NULL})));
}

int mlx_stream_set(mlx_stream *stream, const mlx_stream src)
{
    NX_POINTER(stream)->ctx = NX_STREAM(src);
    return 0;
}

int mlx_stream_free(mlx_stream stream)
{
    return 0;
}

int mlx_stream_tostring(mlx_string *str, mlx_stream stream)
{
    nx_stream *s = NX_STREAM(stream);
    nx_device d = nx_stream_device(s);
    char text[96];
    snprintf(text, sizeof text, "Stream(Device(%s, %d), %d)", d.type == NX_GPU ? "gpu" : "cpu",
             d.index, nx_stream_index(s));
    nx_string_set(NX_POINTER(str), text);
    return 0;
}

bool mlx_stream_equal(mlx_stream lhs, mlx_stream rhs)
{
    return NX_OBJECT_OR(nx_stream, lhs, false) == NX_OBJECT_OR(nx_stream, rhs, false);
}

int mlx_stream_get_device(mlx_device *dev, mlx_stream stream)
{
    nx_device d = nx_stream_device(NX_STREAM(stream));
    mlx_device made = {&d};
    return mlx_device_set(dev, made);
}

int mlx_stream_get_index(int *index, mlx_stream stream)
{
    *NX_POINTER(index) = nx_stream_index(NX_STREAM(stream));
    return 0;
}

int mlx_synchronize(mlx_stream stream)
{
    nx_stream *s = NX_STREAM(stream);
    nx_stream_synchronize(s);
    return nx_status(nx_stream_check(s));
}

int mlx_get_default_stream(mlx_stream *stream, mlx_device dev)
{
    nx_stream *s = nx_stream_default(*NX_OBJECT(nx_device, dev));
    if (!s)
        return nx_report();
    NX_POINTER(stream)->ctx = s;
    return 0;
}

int mlx_set_default_stream(mlx_stream stream)
{
    nx_stream_set_default(NX_STREAM(stream));
    return 0;
}

mlx_stream mlx_default_cpu_stream_new(void)
{
    return handle_of(nx_stream_default((nx_device){NX_CPU, 0}));
}

mlx_stream mlx_default_gpu_stream_new(void)
{
    return handle_of(nx_stream_default((nx_device){NX_GPU, 0}));
}
