/* chat_commands.c: what a line that begins with a slash does, as a table. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/os.h"
#include "base/utf8.h"
#include "cli/chat.h"
#include "cli/cli.h"

typedef struct {
    const char *name;
    const char *operand; /* for the help; NULL: takes none */
    void (*run)(chat *c, const char *operand);
    const char *about;
} command;

static void help(chat *c, const char *operand);

/* ---- files ---- */

/* A path as a person writes it: "~/" is the home folder. */
static void expand_home(const char *written, nx_str *out)
{
    const char *home = getenv("HOME");
    if (strncmp(written, "~/", 2) == 0 && home)
        nx_str_printf(out, "%s%s", home, written + 1);
    else
        nx_str_puts(out, written);
}

/* Where a conversation of that name is: a name alone is NAME.json among the stored ones, anything
 * with a slash is a path. Without a name, where it was last. */
static bool conversation_path(chat *c, const char *written, nx_str *out)
{
    size_t n = strlen(written);
    if (!n && !c->file.len)
        return nx_fail("say which: a name (stored under conversations/), or a path");
    if (!n) {
        nx_str_puts(out, nx_str_cstr(&c->file));
        return true;
    }
    if (strchr(written, '/')) {
        expand_home(written, out);
        return true;
    }
    if (!nx_os_path(out, NX_OS_DATA, "conversations"))
        return false;
    nx_str_printf(out, "/%s%s", written,
                  n > 5 && strcmp(written + n - 5, ".json") == 0 ? "" : ".json");
    return true;
}

static void count_of(char *out, size_t size, size_t n, const char *thing)
{
    snprintf(out, size, "%zu %s%s", n, thing, n == 1 ? "" : "s");
}

static void remember_file(chat *c, const nx_str *path)
{
    nx_str_truncate(&c->file, 0);
    nx_str_puts(&c->file, nx_str_cstr(path));
}

static void save(chat *c, const char *operand)
{
    nx_str path = {0}, folder = {0};
    char messages[32];
    bool ok = conversation_path(c, operand, &path);
    if (ok && *operand && !strchr(operand, '/'))
        ok = nx_os_path(&folder, NX_OS_DATA, "conversations") &&
             nx_os_mkdir_p(nx_str_cstr(&folder), 0700);
    bool was = ok && nx_os_is_file(nx_str_cstr(&path));
    if (ok && conversation_save(&c->talk, c->model_name, nx_str_cstr(&path))) {
        count_of(messages, sizeof messages, c->talk.messages.n, "message");
        chat_say(c, "%s saved to %s%s", messages, nx_str_cstr(&path),
                 was ? ", which was replaced" : "");
        remember_file(c, &path);
    } else {
        chat_complain(c, "%s", nx_error_message());
    }
    nx_str_clear(&path);
    nx_str_clear(&folder);
}

static void load(chat *c, const char *operand)
{
    nx_str path = {0};
    char *model = NULL, messages[32];
    if (conversation_path(c, operand, &path) &&
        conversation_load(&c->talk, nx_str_cstr(&path), &model)) {
        chat_recount(c);
        count_of(messages, sizeof messages, c->talk.messages.n, "message");
        chat_say(c, "%s loaded from %s", messages, nx_str_cstr(&path));
        if (model && strcmp(model, c->model_name) != 0)
            chat_say(c, "they were had with %s; %s goes on", model, c->model_name);
        remember_file(c, &path);
    } else {
        chat_complain(c, "%s", nx_error_message());
    }
    free(model);
    nx_str_clear(&path);
}

enum { READ_MOST = 16 << 20 };

/* The file's text as it will stand in the message. False with an error. */
static bool file_as_text(const char *path, nx_str *out, size_t *replaced)
{
    struct stat st;
    nx_str bytes = {0}, clean = {0};
    if (stat(path, &st))
        return nx_fail("[%s] the file cannot be read: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return nx_fail("[%s] this is no file", path);
    bool ok = nx_os_read_file(path, &bytes, READ_MOST);
    if (ok && bytes.len && memchr(bytes.data, 0, bytes.len))
        ok = nx_fail("[%s] this is no text: it holds bytes of value 0", path);
    if (ok) {
        *replaced = nx_utf8_replace(&clean, nx_str_cstr(&bytes), bytes.len);
        const char *slash = strrchr(path, '/');
        bool ends = clean.len && clean.data[clean.len - 1] == '\n';
        nx_str_printf(out, "%s:\n```\n%s%s```\n\n", slash ? slash + 1 : path, nx_str_cstr(&clean),
                      ends ? "" : "\n");
    }
    nx_str_clear(&bytes);
    nx_str_clear(&clean);
    return ok;
}

static void read_file(chat *c, const char *operand)
{
    nx_str path = {0}, text = {0};
    size_t replaced = 0;
    expand_home(operand, &path);
    if (!*operand) {
        chat_complain(c, "say which file: /read FILE");
    } else if (!file_as_text(nx_str_cstr(&path), &text, &replaced)) {
        chat_complain(c, "%s", nx_error_message());
    } else {
        size_t before = c->attached.len;
        nx_str_puts(&c->attached, nx_str_cstr(&text));
        size_t n = answerer_count_text(c->by, nx_str_cstr(&c->attached), c->attached.len);
        if (n >= (size_t)c->context) {
            nx_str_truncate(&c->attached, before);
            chat_complain(c, "[%s] with this file the message would take %zu tokens, which does not "
                          "fit the context of %d: it was not read", nx_str_cstr(&path), n, c->context);
        } else {
            chat_say(c, "%s: %zu tokens, which go before your next message", nx_str_cstr(&path),
                     answerer_count_text(c->by, nx_str_cstr(&text), text.len));
            if (replaced)
                chat_say(c, "it is not valid UTF-8: %zu place%s replaced by U+FFFD", replaced,
                         replaced == 1 ? " was" : "s were");
        }
    }
    nx_str_clear(&path);
    nx_str_clear(&text);
}

/* ---- the conversation ---- */

static void clear(chat *c, const char *operand)
{
    conversation_clear(&c->talk);
    nx_str_truncate(&c->attached, 0);
    nx_str_truncate(&c->file, 0);
    c->answers = c->computed = c->generated = 0;
    c->seconds = 0;
    chat_recount(c);
    chat_say(c, "the conversation is forgotten%s", c->talk.system ? "; the system message stays" : "");
}

static void set_system(chat *c, const char *operand)
{
    if (!*operand) {
        if (c->talk.system)
            chat_say(c, "the system message is: %s", c->talk.system);
        else
            chat_say(c, "there is no system message but the model's own, if it has one");
        return;
    }
    bool none = strcmp(operand, "\"\"") == 0;
    conversation_set_system(&c->talk, none ? NULL : operand);
    chat_recount(c);
    chat_say(c, none ? "there is no system message now" : "the system message is set");
}

static void regenerate(chat *c, const char *operand)
{
    const char *last = conversation_last_role(&c->talk);
    bool had = strcmp(last, "assistant") == 0;
    char *old = had ? conversation_pop(&c->talk) : NULL;
    if (strcmp(conversation_last_role(&c->talk), "user") != 0) {
        chat_complain(c, "there is no answer yet that could be made again");
    } else {
        c->again++;
        if (chat_answer(c)) {
            free(old);
            return;
        }
    }
    if (old) /* the one there was stays */
        conversation_add(&c->talk, "assistant", old);
    free(old);
    chat_recount(c);
}

static void show_stats(chat *c, const char *operand)
{
    if (!c->answers) {
        chat_say(c, "there was no answer yet");
        return;
    }
    cli_print_stats(stdout, &c->last);
    printf("context   %zu of %d tokens, %zu message%s left out\n", c->used, c->context,
           c->talk.first, c->talk.first == 1 ? "" : "s");
    printf("all       %zu answer%s, %zu tokens read, %zu written, %.1f s\n", c->answers,
           c->answers == 1 ? "" : "s", c->computed, c->generated, c->seconds);
    c->broken |= fflush(stdout) != 0;
}

static void leave(chat *c, const char *operand)
{
    c->leaving = true;
}

/* ---- the table ---- */

static const command commands[] = {
    /* name    operand   run         about */
    {"help",   NULL,     help,       "this list"},
    {"clear",  NULL,     clear,      "forget the conversation (the system message stays)"},
    {"system", "TEXT",   set_system, "set the system message; alone: show it; \"\": none"},
    {"regen",  NULL,     regenerate, "answer the last message again"},
    {"save",   "FILE",   save,       "save the conversation; a name alone goes to conversations/"},
    {"load",   "FILE",   load,       "go on with a saved one"},
    {"read",   "FILE",   read_file,  "put a text file before the next message"},
    {"stats",  NULL,     show_stats, "speed and memory of the last answer, and the context"},
    {"exit",   NULL,     leave,      "leave (as Ctrl-D)"},
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static void help(chat *c, const char *operand)
{
    for (int i = 0; i < N_COMMANDS; i++) {
        char head[32];
        snprintf(head, sizeof head, "/%s %s", commands[i].name,
                 commands[i].operand ? commands[i].operand : "");
        printf("  %-14s %s\n", head, commands[i].about);
    }
    printf("  %-14s %s\n", "\"\"\"", "begins and ends a message of several lines");
    printf("  %-14s %s\n", "//", "begins a message that begins with a slash");
    printf("Ctrl-C stops an answer. Arrows and Ctrl-R go through what was typed before.\n");
    c->broken |= fflush(stdout) != 0;
}

static const command *find(const char *name, size_t n)
{
    for (int i = 0; i < N_COMMANDS; i++)
        if (strlen(commands[i].name) == n && memcmp(commands[i].name, name, n) == 0)
            return &commands[i];
    return NULL;
}

void chat_command(chat *c, const char *line)
{
    size_t n = strcspn(line + 1, " \t");
    const command *found = find(line + 1, n);
    nx_str operand = {0};
    const char *rest = line + 1 + n;
    nx_str_puts(&operand, rest + strspn(rest, " \t"));
    while (operand.len && isspace((unsigned char)operand.data[operand.len - 1]))
        nx_str_truncate(&operand, operand.len - 1);
    if (!found)
        chat_complain(c, "there is no command /%.*s (see /help; // begins a message with a slash)",
                      (int)n, line + 1);
    else if (operand.len && !found->operand)
        chat_complain(c, "/%s takes nothing after it", found->name);
    else
        found->run(c, nx_str_cstr(&operand));
    nx_str_clear(&operand);
}
