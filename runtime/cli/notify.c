/* Notifications to the service manager. Not libsystemd: all that kt needs of it is a datagram, and it would bring three
 * compression libraries into a process that holds keys. */
#include "cli/notify.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "io/io.h"

static void send_text(const struct kt_notify *n, const char *text)
{
    /* A manager that does not read loses the message; it must not hold up the tunnel. */
    if (n->fd >= 0)
        (void)!sendto(n->fd, text, strlen(text), MSG_DONTWAIT, (const struct sockaddr *)&n->to, n->len);
}

static void on_timer(void *ctx)
{
    struct kt_notify *n = ctx;
    send_text(n, "WATCHDOG=1");
    kt_io_timer_set(n->io, &n->timer, kt_io_now(n->io) + n->every_us);
}

/* The value of an environment variable as a whole number; 0 if it is none. */
static uint64_t number(const char *name)
{
    const char *text = getenv(name);
    char *end;
    if (!text || text[0] < '0' || text[0] > '9') return 0;
    errno = 0;
    const unsigned long long n = strtoull(text, &end, 10);
    return *end || errno ? 0 : n;
}

void kt_notify_open(struct kt_notify *n, struct kt_io *io)
{
    const char *path = getenv("NOTIFY_SOCKET");
    memset(n, 0, sizeof *n);
    n->fd = -1;
    n->io = io;
    kt_timer_init(&n->timer, on_timer, n);
    const size_t len = path ? strlen(path) : 0;
    if (len < 2 || len >= sizeof n->to.sun_path || (path[0] != '/' && path[0] != '@')) return;
    n->to.sun_family = AF_UNIX;
    memcpy(n->to.sun_path, path, len);
    if (path[0] == '@') n->to.sun_path[0] = '\0'; /* an abstract name */
    n->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    n->fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    if (n->fd >= 0) fcntl(n->fd, F_SETFD, FD_CLOEXEC);
    const uint64_t period = number("WATCHDOG_USEC"), pid = number("WATCHDOG_PID");
    if (n->fd < 0 || period < 2 || (pid && pid != (uint64_t)getpid())) return;
    n->every_us = period / 2;
    kt_io_timer_set(io, &n->timer, kt_io_now(io) + n->every_us);
}

void kt_notify_ready(const struct kt_notify *n)
{
    send_text(n, "READY=1");
}

void kt_notify_reloading(const struct kt_notify *n)
{
    struct timespec ts;
    char text[64];
    clock_gettime(CLOCK_MONOTONIC, &ts);
    snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
        (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u);
    send_text(n, text);
}

void kt_notify_stopping(const struct kt_notify *n)
{
    send_text(n, "STOPPING=1");
}

void kt_notify_close(struct kt_notify *n)
{
    kt_io_timer_cancel(n->io, &n->timer);
    if (n->fd >= 0) close(n->fd);
    n->fd = -1;
}
