/* The libuv backend's loop: its turns, clock and random bytes.
 *
 * Invariant: a turn runs in this order: the loop wakes; the callbacks of the other files handle arrivals
 * (kt_uv_wake reads the clock once, before the first); due timers run (check); right before the loop sleeps
 * (prepare), turn hooks run and queued datagrams leave. */
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#ifdef __linux__
#include <sys/random.h>
#endif
#include "base/log.h"
#include "io/uv/internal.h"
#include "io/writer.h"

/* ---- turns ---- */

static void end_turn(struct uv_io *u)
{
    kt_io_turn_end(&u->io);
    kt_uv_udp_flush(u); /* calls nothing above, so it adds no hooks */
}

static void on_prepare(uv_prepare_t *handle)
{
    struct uv_io *u = handle->data;
    end_turn(u);
    kt_uv_alarm_set(u->alarm, kt_wheel_next(&u->io.wheel));
    u->stale = true;
}

static void on_check(uv_check_t *handle)
{
    struct uv_io *u = handle->data;
    kt_uv_wake(u);
    kt_wheel_run(&u->io.wheel, u->io.now);
}

static void uv_io_run(struct kt_io *io)
{
    struct uv_io *u = kt_uv(io);
    u->stale = true;
    kt_uv_wake(u);
    uv_run(&u->loop, UV_RUN_DEFAULT); /* returns only after uv_stop: the prepare handle keeps it running */
    end_turn(u);                      /* the turn that stopped it ends here */
}

static void uv_io_stop(struct kt_io *io)
{
    uv_stop(&kt_uv(io)->loop); /* libuv remembers it until the next uv_run */
}

static uint64_t uv_io_clock(struct kt_io *io)
{
    (void)io;
    return kt_uv_clock();
}

static uint64_t uv_io_wall(struct kt_io *io)
{
    (void)io;
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* machine-id(5) */
static void uv_io_machine(struct kt_io *io, char *out, size_t size)
{
    struct kt_err err;
    char *data;
    size_t len;
    if (kt_system_file_read(io, "/etc/machine-id", size - 1, &data, &len, &err)) return;
    memcpy(out, data, len + 1);
    free(data);
}

/* ---- chance ---- */

static void wipe(uint8_t *p, size_t n)
{
    memset(p, 0, n);
    __asm__ volatile("" : : "r"(p) : "memory"); /* so that the memset is not optimised away */
}

/* getrandom(2) or the platform's equivalent; waits until the kernel's generator is seeded at boot. Not always uv_random,
 * which makes a system call for every 256 bytes. */
static void from_system(uint8_t *out, size_t n)
{
#ifdef __linux__
    while (n > 0) {
        const ssize_t got = getrandom(out, n, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        out += got;
        n -= (size_t)got;
    }
    if (n == 0) return;
#endif
    int r = uv_random(NULL, NULL, out, n, 0, NULL);
    if (r < 0) {
        /* Every key and nonce depends on random bytes, so it is not safe to continue without them. */
        fprintf(stderr, "kt: cannot get random bytes from the system: %s\n", uv_strerror(r));
        abort();
    }
}

static void uv_io_random(struct kt_io *io, void *out, size_t n)
{
    struct uv_io *u = kt_uv(io);
    uint8_t *dst = out;
    if (n >= KT_UV_RANDOM) {
        from_system(dst, n);
        return;
    }
    while (n > 0) {
        if (u->random_left == 0) {
            from_system(u->random, KT_UV_RANDOM);
            u->random_left = KT_UV_RANDOM;
        }
        size_t take = n < u->random_left ? n : u->random_left;
        uint8_t *src = u->random + KT_UV_RANDOM - u->random_left;
        memcpy(dst, src, take);
        wipe(src, take); /* leave no copy of bytes that were handed out */
        u->random_left -= take;
        dst += take;
        n -= take;
    }
}

/* ---- the end ---- */

static void on_own_closed(uv_handle_t *handle)
{
    kt_uv_close_done(handle->data);
}

static void run_closings(struct uv_io *u)
{
    while (u->closing > 0) uv_run(&u->loop, UV_RUN_ONCE);
}

static void uv_io_free(struct kt_io *io)
{
    struct uv_io *u = kt_uv(io);
    end_turn(u); /* hooks of the last turn may still close things */
    assert(u->open == 0);
    kt_uv_conn_hurry(u);
    run_closings(u);

    u->closing += 2;
    uv_close((uv_handle_t *)&u->prepare, on_own_closed);
    uv_close((uv_handle_t *)&u->check, on_own_closed);
    kt_uv_alarm_close(u->alarm);
    kt_uv_hangups_close(u->hangups);
    run_closings(u);
    /* A leaked handle (asserted above) keeps its loop: leaking both is better than freeing the loop under it. */
    if (uv_loop_close(&u->loop) != 0) return;
    kt_uv_activated_free(u->activated);
    free(u->scratch);
    wipe(u->random, sizeof u->random);
    free(u);
}

/* ---- making one ---- */

static const struct kt_io_ops ops = {
    .run = uv_io_run,
    .stop = uv_io_stop,
    .free = uv_io_free,
    .freed = kt_uv_freed,
    .clock = uv_io_clock,
    .wall = uv_io_wall,
    .machine = uv_io_machine,
    .random = uv_io_random,
    .udp_open = kt_uv_udp_open,
    .udp_limits = kt_uv_udp_limits,
    .listen = kt_uv_listen,
    .dialer = &kt_uv_dialer,
    .resolve = kt_uv_resolve,
    .query = kt_uv_query,
    .signal_watch = kt_uv_signal_watch,
    .file_read = kt_system_file_read,
    .file_read_real = kt_system_file_read_real,
    .file_real = kt_system_file_real,
    .file_watch = kt_uv_file_watch,
    .input_open = kt_uv_input_open,
    .file_create = kt_system_file_create,
    .work = kt_uv_work,
    .watch_new = kt_uv_watch_new,
    .append_open = kt_writer_append_open,
};

/* A write to a socket that its peer has closed must fail, not kill the process; libuv's writes do not prevent
 * that. A handler that the program has set is left alone. */
static void ignore_sigpipe(void)
{
    struct sigaction old;
    if (sigaction(SIGPIPE, NULL, &old) == 0 && !(old.sa_flags & SA_SIGINFO) && old.sa_handler == SIG_DFL)
        signal(SIGPIPE, SIG_IGN);
}

static int not_made(int uverr, struct kt_err *err)
{
    char no_fd[KT_SYSTEM_NO_FD];
    const int code = kt_uv_code(uverr);
    if (uverr == UV_EMFILE || uverr == UV_ENFILE)
        return kt_err_set(err, code, "%s", kt_system_no_fd(-uverr, no_fd));
    return kt_err_set(err, code, "%s", kt_strerror(code));
}

int kt_uv_new(struct kt_io **out, const struct kt_log *log, unsigned flags, struct kt_err *err)
{
    *out = NULL;
    struct uv_io *u = calloc(1, sizeof *u);
    if (!u) return not_made(UV_ENOMEM, err);
    int r = kt_uv_activated_new(&u->activated);
    if (r == 0) r = uv_loop_init(&u->loop);
    if (r < 0) {
        kt_uv_activated_free(u->activated);
        free(u);
        return not_made(r, err);
    }
    kt_io_init(&u->io, &ops, log, kt_uv_clock());
    u->io.descriptors = kt_system_descriptors();
    u->flags = flags;
    kt_list_init(&u->udp_dirty);
    kt_list_init(&u->conn_closing);
    kt_uv_count_init(u);
    kt_list_init(&u->works);
    kt_list_init(&u->query_channels);
    r = kt_uv_alarm_new(u, &u->alarm);
    if (r < 0) {
        uv_loop_close(&u->loop);
        kt_uv_activated_free(u->activated);
        free(u);
        return not_made(r, err);
    }
    r = kt_uv_hangups_new(u, &u->hangups);
    if (r == 0 && (r = kt_uv_prealloc_watchers(u)) != 0) kt_uv_hangups_close(u->hangups);
    if (r < 0) {
        kt_uv_alarm_close(u->alarm);
        run_closings(u);
        uv_loop_close(&u->loop);
        kt_uv_activated_free(u->activated);
        free(u);
        return not_made(r, err);
    }
    run_closings(u);
    uv_prepare_init(&u->loop, &u->prepare); /* these four never fail */
    uv_check_init(&u->loop, &u->check);
    uv_prepare_start(&u->prepare, on_prepare);
    uv_check_start(&u->check, on_check);
    u->prepare.data = u->check.data = u;
    ignore_sigpipe();
    *out = &u->io;
    return 0;
}
