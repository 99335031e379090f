/* string.h. */
#include "base/str.h"
#include "engine/capi/objects.h"

mlx_string mlx_string_new(void)
{
    return (mlx_string){NULL};
}

void nx_string_give(mlx_string *res, nx_str *take)
{
    nx_str *s = res->ctx;
    if (!s)
        res->ctx = s = nx_calloc(1, sizeof *s);
    nx_str_clear(s);
    *s = *take;
    *take = (nx_str){0};
}

void nx_string_set(mlx_string *res, const char *text)
{
    nx_str s = {0};
    nx_str_puts(&s, text);
    nx_string_give(res, &s);
}

mlx_string mlx_string_new_data(const char *str)
{
    mlx_string s = {NULL};
    if (str)
        nx_string_set(&s, str);
    else
        nx_report_empty(__func__, "str");
    return s;
}

int mlx_string_set(mlx_string *str, const mlx_string src)
{
    nx_string_set(NX_POINTER(str), nx_str_cstr(NX_OBJECT(nx_str, src)));
    return 0;
}

const char *mlx_string_data(mlx_string str)
{
    return nx_str_cstr(NX_OBJECT_OR(nx_str, str, NULL));
}

int mlx_string_free(mlx_string str)
{
    if (str.ctx)
        nx_str_clear(str.ctx);
    free(str.ctx);
    return 0;
}
