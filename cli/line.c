#include "cli/line.h"

#include <errno.h>
#include <fcntl.h>
#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utf8proc.h>
#include <wchar.h>

#include "base/error.h"
#include "base/os.h"
#include "base/utf8.h"
#include "cli/terminal.h"

enum { HISTORY_MOST = 1000, HISTORY_FILE_MOST = 16 << 20 };

struct line_input {
    bool terminal;
    EditLine *editor;  /* at a terminal */
    HistoryW *history; /* at a terminal */
    nx_str history_path;
    const char *prompt;
    line_kind why; /* no line came */
    wchar_t pending; /* the character that comes next; 0: the next one read */
    bool leaving;  /* the line ends before its next character */
    unsigned char bytes[4096];
    size_t at, n; /* bytes that were read and not used yet */
};

enum { MOVE_TO_END = 'E' & 0x1F, DELETE_BACK = 0x7F }; /* keys */

enum { NO_BYTE = -1 }; /* and in->why says the reason */

/* Suspended from an editor's mode: the terminal is given back first, and taken again after. */
static void stop_and_continue(line_input *in)
{
    el_wset(in->editor, EL_PREP_TERM, 0);
    terminal_catch_stop(false);
    raise(SIGTSTP);
    terminal_catch_stop(true);
    el_wset(in->editor, EL_PREP_TERM, 1);
    fputs("\r\033[J", stdout); /* where nothing could suspend it, the prompt still stands here */
    fflush(stdout);
    el_wset(in->editor, EL_REFRESH);
}

/* Columns from the prompt's beginning to the cursor. */
static int columns_before_cursor(const line_input *in)
{
    const LineInfoW *l = el_wline(in->editor);
    bool escape = false;
    int n = 0;
    for (const char *p = in->prompt; *p; p++) {
        escape ^= *p == '\1';
        n += !escape && *p != '\1';
    }
    for (const wchar_t *p = l->buffer; p < l->cursor; p++) {
        int width = wcwidth(*p);
        n += width > 0 ? width : 0;
    }
    return n;
}

/* The terminal has another width: what it made of the old rows is wiped, and the line drawn anew. */
static void redraw(line_input *in)
{
    int columns = 80, rows;
    el_resize(in->editor);
    el_get(in->editor, EL_GETTC, "co", &columns, NULL);
    rows = columns > 0 ? columns_before_cursor(in) / columns : 0;
    fputs("\r", stdout);
    if (rows > 0)
        fprintf(stdout, "\033[%dA", rows);
    fputs("\033[J", stdout);
    fflush(stdout);
    el_wset(in->editor, EL_REFRESH);
}

/* Ctrl-C. A line whose cursor is not behind it is not left yet: its lower rows would be written
 * over. The character that moves there is given instead, and then the line is left. */
static bool must_move_first(const line_input *in)
{
    const LineInfoW *l = el_wline(in->editor);
    return l->cursor < l->lastchar;
}

/* Events that came. False where the line ends with them. */
static bool take_signals(line_input *in)
{
    for (int s; (s = terminal_next_signal());) {
        if (s == SIGINT) {
            const LineInfoW *l = in->terminal ? el_wline(in->editor) : NULL;
            in->why = l && l->lastchar > l->buffer ? LINE_DROPPED : LINE_INTERRUPTED;
            return false;
        }
        if (s == SIGWINCH && in->terminal) {
            redraw(in);
        } else if (s == SIGTSTP && in->terminal) {
            stop_and_continue(in);
        }
    }
    if (terminal_ended())
        in->why = LINE_ENDED;
    return !terminal_ended();
}

static int next_byte(line_input *in)
{
    while (in->at == in->n) {
        struct pollfd wait[2] = {{STDIN_FILENO, POLLIN, 0}, {terminal_signal_fd(), POLLIN, 0}};
        if (!take_signals(in))
            return NO_BYTE;
        if (poll(wait, 2, -1) < 0 || wait[1].revents || !wait[0].revents)
            continue;
        ssize_t n = read(STDIN_FILENO, in->bytes, sizeof in->bytes);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n <= 0) {
            in->why = LINE_END;
            return NO_BYTE;
        }
        in->at = 0;
        in->n = (size_t)n;
    }
    return in->bytes[in->at++];
}

/* The one character that base and mark are together (e and U+0301 are é), or 0. */
static wchar_t compose(wchar_t base, wchar_t mark)
{
    utf8proc_int32_t pair[2] = {(utf8proc_int32_t)base, (utf8proc_int32_t)mark};
    return utf8proc_normalize_utf32(pair, 2, UTF8PROC_COMPOSE | UTF8PROC_STABLE) == 1
               ? (wchar_t)pair[0]
               : 0;
}

/* libedit gives every character a column of its own, so a mark that takes none would put all behind
 * it in the wrong place: where it can be, it is composed with the character before the cursor, which
 * is deleted and typed anew. */
static wchar_t join_mark(line_input *in, wchar_t mark)
{
    const LineInfoW *l = el_wline(in->editor);
    if (wcwidth(mark) != 0 || l->cursor == l->buffer)
        return mark;
    in->pending = compose(l->cursor[-1], mark);
    return in->pending ? DELETE_BACK : mark;
}

/* libedit's source of characters. UTF-8 whatever the locale says; a broken sequence is U+FFFD, and
 * a byte that cannot belong to it is read again as a beginning. */
static int next_character(EditLine *editor, wchar_t *out)
{
    line_input *in;
    char sequence[4];
    uint32_t code;
    el_wget(editor, EL_CLIENTDATA, &in);
    if (in->leaving)
        return -1;
    if (in->pending) {
        *out = in->pending;
        in->pending = 0;
        return 1;
    }
    for (size_t n = 0; n < sizeof sequence;) {
        int byte = next_byte(in);
        if (byte == NO_BYTE && in->why == LINE_DROPPED && must_move_first(in)) {
            in->leaving = true;
            *out = MOVE_TO_END;
            return 1;
        }
        if (byte == NO_BYTE)
            return in->why == LINE_END ? 0 : -1;
        sequence[n++] = (char)byte;
        int taken = nx_utf8_decode(sequence, n, &code);
        if (taken < 0 && nx_utf8_incomplete_tail(sequence, n) == n)
            continue;
        if (taken < 0 && n > (size_t)-taken)
            in->at--; /* the byte that broke the sequence; it was read just now */
        *out = join_mark(in, (wchar_t)code);
        return 1;
    }
    *out = 0xFFFD;
    return 1;
}

/* ---- history ---- */

static void to_wide(const char *text, size_t n, wchar_t *out)
{
    uint32_t code;
    while (n > 0) {
        int taken = abs(nx_utf8_decode(text, n, &code));
        *out++ = (wchar_t)code;
        text += taken;
        n -= (size_t)taken;
    }
    *out = 0;
}

static void enter(line_input *in, const char *text, size_t n)
{
    HistEventW event;
    wchar_t *wide = nx_malloc((n + 1) * sizeof *wide);
    to_wide(text, n, wide);
    history_w(in->history, &event, H_ENTER, wide);
    free(wide);
}

/* Reads the last HISTORY_MOST lines; a file with many more is cut to them. */
static void load_history(line_input *in)
{
    nx_str text = {0};
    const char *path = nx_str_cstr(&in->history_path);
    if (!nx_os_is_file(path) || !nx_os_read_file(path, &text, HISTORY_FILE_MOST)) {
        nx_str_clear(&text);
        return;
    }
    const char *end = text.data + text.len, *from = end;
    size_t lines = 0, all = 0;
    for (const char *p = text.data; p < end; p++)
        all += *p == '\n';
    for (; from > text.data && lines <= HISTORY_MOST; from--)
        lines += from[-1] == '\n'; /* the one more is the end of the line before */
    if (lines > HISTORY_MOST)
        from++;
    if (all > 2 * HISTORY_MOST && from < end)
        nx_os_write_file(path, from, (size_t)(end - from));
    for (const char *next; from < end; from = next + 1) {
        next = memchr(from, '\n', (size_t)(end - from));
        next = next ? next : end;
        if (next > from)
            enter(in, from, (size_t)(next - from));
    }
    nx_str_clear(&text);
}

static void append_history(const line_input *in, const char *text)
{
    nx_str line = {0};
    int fd = open(nx_str_cstr(&in->history_path), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return; /* a conversation does not end for want of its history */
    nx_str_printf(&line, "%s\n", text);
    ssize_t done = write(fd, nx_str_cstr(&line), line.len); /* at once: others append too */
    (void)done;
    close(fd);
    nx_str_clear(&line);
}

void line_remember(line_input *in, const char *text)
{
    if (!in->terminal || !*text)
        return;
    enter(in, text, strlen(text));
    append_history(in, text);
}

static void open_history(line_input *in)
{
    HistEventW event;
    nx_str folder = {0};
    in->history = history_winit();
    history_w(in->history, &event, H_SETSIZE, HISTORY_MOST);
    history_w(in->history, &event, H_SETUNIQUE, 1);
    el_wset(in->editor, EL_HIST, history_w, in->history);
    if (nx_os_path(&folder, NX_OS_DATA, NULL) && nx_os_mkdir_p(nx_str_cstr(&folder), 0700)) {
        nx_str_printf(&in->history_path, "%s/history", nx_str_cstr(&folder));
        load_history(in);
    }
    nx_str_clear(&folder);
}

/* ---- the editor ---- */

static char *show_prompt(EditLine *editor)
{
    line_input *in;
    el_get(editor, EL_CLIENTDATA, &in);
    return (char *)in->prompt;
}

/* libedit writes in the locale's encoding: a character must be able to leave as it came. */
static void choose_utf8(void)
{
    static const char *const names[] = {"", "C.UTF-8", "en_US.UTF-8"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (setlocale(LC_CTYPE, names[i]) && strcmp(nl_langinfo(CODESET), "UTF-8") == 0)
            return;
}

static void bind_keys(EditLine *editor)
{
    static const char *const keys[][2] = {
        {"^R", "em-inc-search-prev"},   {"^W", "ed-delete-prev-word"},
        {"\033[3~", "ed-delete-next-char"}, {"\033[H", "ed-move-to-beg"},
        {"\033[F", "ed-move-to-end"},   {"\033[1~", "ed-move-to-beg"},
        {"\033[4~", "ed-move-to-end"},  {"\033[1;5D", "ed-prev-word"},
        {"\033[1;5C", "em-next-word"},
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        el_set(editor, EL_BIND, keys[i][0], keys[i][1], NULL);
}

line_input *line_new(bool terminal)
{
    line_input *in = nx_calloc(1, sizeof *in);
    in->terminal = terminal;
    if (!terminal)
        return in;
    choose_utf8();
    in->editor = el_init("nexus", stdin, stdout, stderr);
    if (!in->editor) {
        free(in);
        return nx_fail_null("the terminal cannot be used for editing lines");
    }
    el_wset(in->editor, EL_CLIENTDATA, in);
    el_set(in->editor, EL_EDITOR, "emacs");
    el_set(in->editor, EL_PROMPT_ESC, show_prompt, '\1');
    el_wset(in->editor, EL_SIGNAL, 0);
    el_wset(in->editor, EL_GETCFN, next_character);
    bind_keys(in->editor);
    el_source(in->editor, NULL); /* a person's own ~/.editrc wins */
    open_history(in);
    return in;
}

void line_free(line_input *in)
{
    if (!in)
        return;
    if (in->editor) {
        el_end(in->editor);
        history_wend(in->history);
    }
    nx_str_clear(&in->history_path);
    free(in);
}

static line_kind edit_line(line_input *in, nx_str *out)
{
    int n = 0;
    in->leaving = false;
    in->pending = 0;
    in->why = LINE_END; /* for Ctrl-D, of which libedit says nothing else */
    el_resize(in->editor);
    terminal_catch_stop(true);
    el_wset(in->editor, EL_PREP_TERM, 1); /* before the prompt: a Ctrl-D in between would be lost */
    const wchar_t *line = el_wgets(in->editor, &n);
    terminal_catch_stop(false);
    if (!line || n <= 0) {
        fputc('\n', stdout);
        fflush(stdout);
        return in->why;
    }
    for (int i = 0; i < n && line[i] != L'\n' && line[i] != L'\r'; i++)
        nx_str_put_utf8(out, line[i] ? (unsigned)line[i] : 0xFFFD);
    return LINE_TEXT;
}

static line_kind plain_line(line_input *in, nx_str *out)
{
    nx_str raw = {0};
    int byte;
    while ((byte = next_byte(in)) != NO_BYTE && byte != '\n')
        nx_str_putc(&raw, byte ? (char)byte : (char)0xFF); /* no text holds NUL */
    line_kind kind = byte == '\n' || (in->why == LINE_END && raw.len) ? LINE_TEXT : in->why;
    if (raw.len && raw.data[raw.len - 1] == '\r')
        nx_str_truncate(&raw, raw.len - 1);
    nx_utf8_replace(out, nx_str_cstr(&raw), raw.len);
    nx_str_clear(&raw);
    return kind;
}

line_kind line_read(line_input *in, const char *prompt, nx_str *out)
{
    nx_str_truncate(out, 0);
    in->prompt = prompt;
    return in->terminal ? edit_line(in, out) : plain_line(in, out);
}
