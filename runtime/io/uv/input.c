/* The process's standard input, for verbs that a person uses: lines, or single keys of a terminal.
 *
 * A terminal is opened again by its name, since libuv makes what it polls non-blocking, and standard output usually
 * shares its open file with standard input. A regular file cannot be polled: it is always readable.
 *
 * Invariant: while `keys` is set, the terminal is in the mode that `before` undoes. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include "io/uv/internal.h"

/* ECMA-48 and xterm's private modes, which every terminal in use knows: alternate screen, cursor. Not ncurses: for
 * these few sequences that would be one more library, with global state and signal handlers of its own. */
#define ENTER "\033[?1049h\033[?25l"
#define LEAVE "\033[0m\033[?25h\033[?1049l"

struct uv_input {
    struct kt_input input;
    struct uv_io *u;
    int fd;
    bool polled; /* `poll` is in use; else `timer` stands for it */
    bool keys;
    struct termios before;
    uv_poll_t poll;
    struct kt_timer timer;
    void (*fn)(void *ctx, const char *data, size_t n);
    void *ctx;
};

static struct uv_input *of(const struct kt_input *input)
{
    return (struct uv_input *)(void *)(uintptr_t)input;
}

static void say(int fd, const char *text)
{
    (void)!write(fd, text, strlen(text)); /* nowhere to report it */
}

static void set_reading(struct uv_input *in, bool on);

static void on_timer(void *ctx)
{
    struct uv_input *in = ctx;
    char data[4096];
    const ssize_t n = read(in->fd, data, sizeof data);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) set_reading(in, false);
    in->fn(in->ctx, data, n > 0 ? (size_t)n : 0);
}

static void on_event(uv_poll_t *poll, int status, int events)
{
    struct uv_input *in = poll->data;
    (void)status, (void)events;
    kt_uv_wake(in->u);
    on_timer(in);
}

static void set_reading(struct uv_input *in, bool on)
{
    if (in->polled && on)
        uv_poll_start(&in->poll, UV_READABLE | UV_DISCONNECT, on_event);
    else if (in->polled)
        uv_poll_stop(&in->poll);
    else if (on)
        kt_io_timer_set(&in->u->io, &in->timer, in->u->io.now);
    else
        kt_io_timer_cancel(&in->u->io, &in->timer);
}

static void input_read(struct kt_input *input, bool on)
{
    set_reading(of(input), on);
}

static bool input_size(const struct kt_input *input, unsigned *columns, unsigned *rows)
{
    struct winsize size;
    if (ioctl(of(input)->fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return false;
    *columns = size.ws_col;
    *rows = size.ws_row;
    return true;
}

static void restore(struct uv_input *in)
{
    if (!in->keys) return;
    say(in->fd, LEAVE);
    tcsetattr(in->fd, TCSANOW, &in->before);
    in->keys = false;
}

static void free_input(struct uv_input *in)
{
    close(in->fd);
    free(in);
}

static void on_closed(uv_handle_t *handle)
{
    struct uv_input *in = handle->data;
    struct uv_io *u = in->u;
    free_input(in);
    kt_uv_close_done(u);
}

static void input_close(struct kt_input *input)
{
    struct uv_input *in = of(input);
    restore(in);
    set_reading(in, false);
    if (!in->polled) {
        free_input(in);
        return;
    }
    kt_uv_close_begun(in->u);
    uv_close((uv_handle_t *)&in->poll, on_closed);
}

/* Keys come one by one and without an echo, signals as keys. */
static int take_keys(struct uv_input *in, struct kt_err *err)
{
    struct termios raw;
    if (tcgetattr(in->fd, &in->before) != 0)
        return kt_err_set(err, KT_ENOTSUP, "standard input is not a terminal");
    raw = in->before;
    cfmakeraw(&raw);
    raw.c_oflag |= OPOST; /* a newline begins at the left */
    if (tcsetattr(in->fd, TCSANOW, &raw) != 0)
        return kt_err_set(err, kt_err_from_errno(errno), "the terminal: %s", strerror(errno));
    in->keys = true;
    say(in->fd, ENTER);
    return 0;
}

int kt_uv_input_open(struct kt_io *io, bool keys, void (*fn)(void *ctx, const char *data, size_t n),
    void *ctx, struct kt_input **out, struct kt_err *err)
{
    struct uv_input *in = calloc(1, sizeof *in);
    *out = NULL;
    if (!in) return kt_err_set(err, KT_ENOMEM, "%s", kt_strerror(KT_ENOMEM));
    in->input = (struct kt_input){.read = input_read, .size = input_size, .close = input_close};
    in->u = kt_uv(io);
    in->fn = fn;
    in->ctx = ctx;
    kt_timer_init(&in->timer, on_timer, in);
    in->fd = isatty(STDIN_FILENO) ? open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC) : -1;
    if (in->fd < 0) in->fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
    int rc = in->fd < 0 ? kt_err_set(err, KT_EIO, "standard input: %s", strerror(errno)) : 0;
    if (rc == 0 && keys) rc = take_keys(in, err);
    if (rc) {
        if (in->fd >= 0) close(in->fd);
        free(in);
        return rc;
    }
    in->polled = uv_poll_init(&in->u->loop, &in->poll, in->fd) == 0;
    in->poll.data = in;
    if (in->polled) kt_uv_opened(in->u);
    *out = &in->input;
    return 0;
}
