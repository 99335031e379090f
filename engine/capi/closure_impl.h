/*
 * closure_impl.h: the functions of one kind of closure. Included once a kind by closure.c, which
 * defines before:
 *
 *   CLOSURE(f)   the public name of function f       HANDLE   the public handle
 *   TYPES        the callback's parameter types (a payload comes last where there is one)
 *   PARAMS       the same with names            ARGS   the names alone
 */

/* Runs the function; false after nx_fail. */
static bool CLOSURE(call_)(nx_closure *c, PARAMS)
{
    nx_closure_ref(c); /* the function may let its own handle go */
    int status = c->plain ? ((int (*)(TYPES))c->plain)(ARGS)
                          : ((int (*)(TYPES, void *))c->with_payload)(ARGS, c->payload);
    nx_closure_unref(&c);
    if (status == 0 || status == NX_CLOSURE_FAILED)
        return status == 0;
    return nx_fail("[closure] the function returned %d", status);
}

HANDLE CLOSURE(new)(void)
{
    return (HANDLE){NULL};
}

int CLOSURE(free)(HANDLE cls)
{
    return cell_free(cls.ctx);
}

HANDLE CLOSURE(new_func)(int (*fun)(TYPES))
{
    return (HANDLE){cell_new((nx_closure){.plain = (void (*)(void))fun})};
}

HANDLE CLOSURE(new_func_payload)(int (*fun)(TYPES, void *), void *payload, void (*dtor)(void *))
{
    return (HANDLE){cell_new(
        (nx_closure){.with_payload = (void (*)(void))fun, .payload = payload, .dtor = dtor})};
}

int CLOSURE(set)(HANDLE *cls, const HANDLE src)
{
    nx_closure *c = NX_OBJECT(nx_closure_cell, src)->closure;
    cell_set(&NX_POINTER(cls)->ctx, c);
    return 0;
}

#undef CLOSURE
#undef HANDLE
#undef TYPES
#undef PARAMS
#undef ARGS
