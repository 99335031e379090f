#include "cli/input.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/os.h"

bool input_read(const char *file, nx_str *out)
{
    if (file && strcmp(file, "-") != 0)
        return nx_os_read_file(file, out, SIZE_MAX);
    char block[65536];
    for (size_t n; (n = fread(block, 1, sizeof block, stdin)) > 0;)
        nx_str_add(out, block, n);
    return !ferror(stdin) || nx_fail("the standard input cannot be read: %s", strerror(errno));
}
