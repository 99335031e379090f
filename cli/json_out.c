#include "cli/json_out.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/utf8.h"
#include "cli/cli.h"

json_t *json_out_text(const char *text)
{
    json_t *s = json_string(text ? text : "");
    if (s)
        return s;
    nx_str clean = {0};
    nx_utf8_replace(&clean, text, strlen(text));
    s = json_string(nx_str_cstr(&clean));
    nx_str_clear(&clean);
    return s;
}

json_t *json_out_count(uint64_t n)
{
    return json_integer(n > INT64_MAX ? INT64_MAX : (json_int_t)n);
}

int json_out_print(json_t *take)
{
    NX_BUG_IF(!take);
    char *text = json_dumps(take, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    json_decref(take);
    NX_BUG_IF(!text);
    puts(text);
    free(text);
    return EXIT_GOOD;
}
