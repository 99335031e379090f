/* main.c: the table of commands. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *about;
} commands[] = {
#define NX_COMMAND(name, about) {#name, cli_##name, about},
#include "cli/commands.def"
#undef NX_COMMAND
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static void help(FILE *out)
{
    fputs("nexus: private AI on your own machine\n\nusage: nexus COMMAND [arguments]\n\n", out);
    for (int i = 0; i < N_COMMANDS; i++)
        fprintf(out, "  %-11s %s\n", commands[i].name, commands[i].about);
    fputs("\n'nexus COMMAND --help' says more of each. Nothing you type leaves this machine.\n", out);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is a write error, reported like any other */
    if (argc < 2) {
        help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        help(stdout);
        return EXIT_GOOD;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("nexus %s\n", nexus_version());
        return EXIT_GOOD;
    }
    for (int i = 0; i < N_COMMANDS; i++)
        if (strcmp(argv[1], commands[i].name) == 0) {
            int code = commands[i].run(argc - 1, argv + 1);
            if (fflush(stdout) && code == EXIT_GOOD) {
                fputs("nexus: the output could not be written\n", stderr);
                code = EXIT_FAILED;
            }
            return code;
        }
    fprintf(stderr, "nexus: there is no command '%s' (see nexus --help)\n", argv[1]);
    return EXIT_USAGE;
}
