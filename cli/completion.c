/* completion.c: nexus completion SHELL: what bash, zsh and fish need, and the man page, from the
 * tables of the verbs. */
#include <stdio.h>
#include <string.h>

#include "cli/args.h"
#include "cli/cli.h"
#include "cli/verbs.h"

static const verb *all;
static size_t n_verbs;

/* Verbs whose operands are models, in any of the ways they may be named. */
static bool takes_models(const verb *v)
{
    static const char *const names[] = {"run", "chat", "info", "bench", "rm", "import", "alias"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(v->name, names[i]) == 0)
            return true;
    return false;
}

/* For single quotes of the shells: a quote ends them, stands escaped, and they begin again. */
static void put_quoted(const char *s)
{
    for (; *s; s++)
        if (*s == '\'')
            fputs("'\\''", stdout);
        else
            putchar(*s == '[' ? '(' : *s == ']' ? ')' : *s == ':' ? ';' : *s);
}

static void print_bash(void)
{
    puts("# bash completion of nexus\n_nexus() {\n    local cur=${COMP_WORDS[COMP_CWORD]} words=\n"
         "    if [ \"$COMP_CWORD\" -eq 1 ]; then");
    printf("        words='");
    for (size_t i = 0; i < n_verbs; i++)
        printf("%s%s", i ? " " : "", all[i].name);
    puts(" --help --version'\n    else\n        case ${COMP_WORDS[1]} in");
    for (size_t i = 0; i < n_verbs; i++) {
        printf("        %s) words='--help --profile", all[i].name);
        for (size_t k = 0; k < all[i].n_options; k++)
            printf(" --%s", all[i].options[k].name);
        puts("' ;;");
    }
    printf("        esac\n        case ${COMP_WORDS[1]} in\n        ");
    for (size_t i = 0, first = 1; i < n_verbs; i++)
        if (takes_models(&all[i]))
            printf("%s%s", first ? "" : " | ", all[i].name), first = 0;
    puts(")\n            case $cur in\n            -*) ;;\n"
         "            *) words=\"auto $(nexus models --json 2>/dev/null | sed -n "
         "'s/^      \"name\": \"\\([^ \\\"]*\\)\",$/\\1/p')\" ;;\n            esac ;;\n        esac\n    fi\n"
         "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
         "    case $cur in -*) ;; *) [ \"$COMP_CWORD\" -gt 1 ] && COMPREPLY+=($(compgen -f -- \"$cur\")) ;; "
         "esac\n}\ncomplete -o filenames -F _nexus nexus");
}

static void print_zsh(void)
{
    puts("#compdef nexus\n_nexus_models() {\n    local -a names\n"
         "    names=(auto ${(f)\"$(nexus models --json 2>/dev/null | sed -n "
         "'s/^      \"name\": \"\\([^\\\"]*\\)\",$/\\1/p')\"})\n"
         "    _alternative 'models:model:compadd -a names' 'files:file:_files'\n}\n_nexus() {\n"
         "    local -a verbs\n    verbs=(");
    for (size_t i = 0; i < n_verbs; i++) {
        printf("        '%s:", all[i].name);
        put_quoted(all[i].about);
        puts("'");
    }
    puts("    )\n    if (( CURRENT == 2 )); then\n        _describe verb verbs\n        return\n    fi\n"
         "    case $words[2] in");
    for (size_t i = 0; i < n_verbs; i++) {
        printf("    %s) shift words; (( CURRENT-- )); _arguments '--help[this text]' "
               "'--profile[take what is not given from this profile]:profile:'", all[i].name);
        for (size_t k = 0; k < all[i].n_options; k++) {
            const struct verb_option *o = &all[i].options[k];
            printf(" \\\n        '--%s[", o->name);
            put_quoted(o->help);
            printf("]%s%s'", *o->operand ? ":" : "", *o->operand ? o->operand : "");
        }
        printf(" \\\n        '*:%s' ;;\n", takes_models(&all[i]) ? "model:_nexus_models" : "file:_files");
    }
    puts("    esac\n}\n_nexus \"$@\"");
}

static void print_fish(void)
{
    puts("# fish completion of nexus\ncomplete -c nexus -f");
    for (size_t i = 0; i < n_verbs; i++) {
        printf("complete -c nexus -n __fish_use_subcommand -a %s -d '", all[i].name);
        put_quoted(all[i].about);
        puts("'");
        for (size_t k = 0; k < all[i].n_options; k++) {
            const struct verb_option *o = &all[i].options[k];
            printf("complete -c nexus -n '__fish_seen_subcommand_from %s' -l %s", all[i].name, o->name);
            if (o->letter)
                printf(" -s %c", o->letter);
            printf("%s -d '", o->type == ARG_FLAG ? "" : " -r");
            put_quoted(o->help);
            puts("'");
        }
        printf("complete -c nexus -n '__fish_seen_subcommand_from %s' %s\n", all[i].name,
               takes_models(&all[i]) ? "-F -a \"auto (nexus models --json 2>/dev/null | string match -rg "
                                       "'^      \\\"name\\\": \\\"(.*)\\\",\\$')\""
                                     : "-F");
    }
}

/* ---- the man page ---- */

/* Text for roff: backslashes and hyphens, and lines that would begin with a request. */
static void put_roff(const char *s)
{
    for (const char *p = s; *p; p++) {
        if ((p == s || p[-1] == '\n') && (*p == '.' || *p == '\''))
            fputs("\\&", stdout);
        if (*p == '\\')
            fputs("\\e", stdout);
        else if (*p == '-')
            fputs("\\-", stdout);
        else
            putchar(*p);
    }
}

static void print_verb(const verb *v)
{
    printf(".SS \"");
    put_roff(v->usage);
    puts("\"");
    put_roff(v->text);
    putchar('\n');
    for (size_t k = 0; k < v->n_options; k++) {
        const struct verb_option *o = &v->options[k];
        printf(".TP\n\\fB");
        if (o->letter)
            printf("\\-%c\\fR, \\fB", o->letter);
        printf("\\-\\-");
        put_roff(o->name);
        printf("\\fR%s\\fI%s\\fR\n", *o->operand ? " " : "", o->operand);
        put_roff(o->help);
        puts(o->setting ? " (a setting)" : "");
    }
}

static void print_man(void)
{
    printf(".TH NEXUS 1 \"\" \"nexus %s\" \"User commands\"\n", nexus_version());
    puts(".SH NAME\nnexus \\- private AI on your own machine\n.SH SYNOPSIS\n.B nexus\n.I COMMAND\n"
         "[\\fIARGUMENTS\\fR] [\\fIOPTIONS\\fR]\n.SH DESCRIPTION\nRuns language models on this machine. "
         "Nothing you type leaves it; the one connection made is a\n.B pull\nyou ask for.\n.PP\n"
         "\\fIMODEL\\fR is a GGUF file, a folder in MLX's or Hugging Face's layout, an alias, a name that\n"
         ".B nexus models\nlists, in any case, or\n.BR auto ,\nwhat\n.B nexus select\nchooses.\n.PP\n"
         "Every command also takes \\fB\\-\\-help\\fR and \\fB\\-\\-profile\\fR \\fINAME\\fR.\n.SH COMMANDS");
    for (size_t i = 0; i < n_verbs; i++)
        print_verb(&all[i]);
    puts(".SH ENVIRONMENT\nAn option that is a setting, as \\fB\\-\\-max\\-tokens\\fR, is "
         "\\fBNEXUS_MAX_TOKENS\\fR here and \\fBmax_tokens\\fR in the\nsettings file. A flag wins over the "
         "environment, which wins over the profile in force, which wins over the\nfile.\n"
         ".TP\n.B NEXUS_LOG\nerror, warn (the default), info or debug: lines on standard error\n"
         ".TP\n.B NEXUS_MEMORY\nas if the machine had no more memory: 8G, 512M\n"
         ".TP\n.B NEXUS_FOLDERS\nfolders with models, separated by ':'\n"
         ".TP\n.BR HF_ENDPOINT ,\\  HF_TOKEN\nthe hub that\n.B pull\nfetches from, and its token\n"
         ".SH FILES\n.TP\n.I ~/.local/share/nexus/models\nstored models\n"
         ".TP\n.I ~/.local/share/nexus/conversations\nsaved conversations\n"
         ".TP\n.I ~/.config/nexus/config.json\nsettings and profiles\n"
         ".TP\n.I ~/.config/nexus/policy.json\nthe policy of\n.BR select ,\nwhere one was written\n"
         ".TP\n.I ~/.cache/nexus\nwhat scans found out; may be deleted\n"
         ".SH EXIT STATUS\n0 after success, 1 after a failure that a sentence on standard error explains, 2 "
         "after a wrong\ncommand line, 130 after Ctrl\\-C.\n.SH EXAMPLES\n.nf\n"
         "nexus pull bartowski/SmolLM2\\-135M\\-Instruct\\-GGUF:Q8_0\nnexus models\n"
         "nexus run auto \"What is the capital of France?\"\n"
         "cat report.txt | nexus run ./model.gguf \\-\\-system \"Summarize in three sentences.\"\n.fi");
}

int cli_completion(int argc, char **argv)
{
    const arg_option options[] = {{0}};
    const arg_command command = {"nexus completion bash | zsh | fish | man",
                                 "Prints a completion script for a shell, or the man page.", options, 1};
    const char *shell;
    int code = args_parse(&command, argc, argv, &shell);
    if (code != ARGS_OK)
        return code;
    static const struct {
        const char *name;
        void (*print)(void);
    } kinds[] = {{"bash", print_bash}, {"zsh", print_zsh}, {"fish", print_fish}, {"man", print_man}};
    for (size_t i = 0; shell && i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].name, shell) == 0) {
            all = verbs_all(&n_verbs);
            kinds[i].print();
            return EXIT_GOOD;
        }
    return args_usage_error(&command, shell ? "there is no completion for '%s'" : "no shell was named%s",
                            shell ? shell : "");
}
