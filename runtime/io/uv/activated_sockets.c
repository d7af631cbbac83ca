/* Sockets that the service manager has opened and passes to the process (systemd's socket activation,
 * sd_listen_fds(3)): $LISTEN_FDS descriptors from 3 on, with names in $LISTEN_FDNAMES.
 *
 * A script does not ask for them: a listener on the address that such a socket is bound to gets a duplicate of it, so
 * that a script runs the same with and without. The socket itself stays open as long as the process, so that it can be
 * listened on again. Invariant: fds[i] is a bound socket, close-on-exec. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/log.h"
#include "io/uv/internal.h"

#define FIRST 3 /* SD_LISTEN_FDS_START */
#define MOST 64

struct activated {
    int fd, type; /* SOCK_STREAM, SOCK_DGRAM */
    union kt_uv_name at;
    char name[64];
    bool used;
};

struct kt_uv_activated {
    size_t n;
    struct activated sockets[MOST];
};

/* A whole number from 1 to `most`; 0 if the variable is none. */
static long number(const char *name, long most)
{
    const char *text = getenv(name);
    char *end;
    if (!text || text[0] < '0' || text[0] > '9') return 0;
    const long n = strtol(text, &end, 10);
    return *end || n > most ? 0 : n;
}

/* The i-th of the names, which colons separate. */
static void nth_name(const char *names, long i, char out[64])
{
    for (; names && i > 0; i--) {
        names = strchr(names, ':');
        if (names) names++;
    }
    snprintf(out, 64, "%.*s", names ? (int)strcspn(names, ":") : 0, names ? names : "");
}

static void take(struct kt_uv_activated *h, int fd, const char *names)
{
    struct activated *s = &h->sockets[h->n];
    socklen_t len = sizeof s->at, size = sizeof s->type;
    memset(s, 0, sizeof *s);
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &s->type, &size) < 0 || getsockname(fd, &s->at.sa, &len) < 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return;
    s->fd = fd;
    nth_name(names, fd - FIRST, s->name);
    h->n++;
}

int kt_uv_activated_new(struct kt_uv_activated **out)
{
    *out = NULL;
    const long count = number("LISTEN_FDS", MOST);
    const bool ours = number("LISTEN_PID", LONG_MAX) == (long)getpid();
    if (count == 0 || !ours) return 0;
    struct kt_uv_activated *h = calloc(1, sizeof *h);
    if (!h) return UV_ENOMEM;
    for (int fd = FIRST; fd < FIRST + count; fd++) take(h, fd, getenv("LISTEN_FDNAMES"));
    /* Not for programs that a script starts, nor for another io. */
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    *out = h;
    return 0;
}

static int duplicate(struct activated *s)
{
    const int fd = fcntl(s->fd, F_DUPFD_CLOEXEC, FIRST);
    s->used = s->used || fd >= 0;
    return fd;
}

int kt_uv_activated_addr(struct kt_uv_activated *h, int type, const struct kt_addr *at)
{
    for (size_t i = 0; h && i < h->n; i++) {
        struct kt_addr bound;
        struct activated *s = &h->sockets[i];
        if (s->type == type && kt_addr_from_sockaddr(&bound, &s->at.sa) && kt_addr_equal(&bound, at))
            return duplicate(s);
    }
    return -1;
}

int kt_uv_activated_path(struct kt_uv_activated *h, const char *path)
{
    for (size_t i = 0; h && i < h->n; i++) {
        struct activated *s = &h->sockets[i];
        if (s->type == SOCK_STREAM && s->at.sa.sa_family == AF_UNIX &&
            strncmp(s->at.un.sun_path, path, sizeof s->at.un.sun_path) == 0)
            return duplicate(s);
    }
    return -1;
}

void kt_uv_activated_report(struct kt_io *io)
{
    const struct kt_uv_activated *h = kt_uv(io)->activated;
    for (size_t i = 0; h && i < h->n; i++) {
        const struct activated *s = &h->sockets[i];
        char at[KT_CONN_NAME];
        if (s->used) continue;
        kt_uv_name_text(at, &s->at, sizeof s->at);
        kt_log(io->log, KT_LOG_WARN,
            "%s (%s%s): passed by the service manager, but nothing listens there; the addresses must be the same",
            at, s->name, s->type == SOCK_DGRAM ? ", UDP" : "");
    }
}

void kt_uv_activated_free(struct kt_uv_activated *h)
{
    for (size_t i = 0; h && i < h->n; i++) close(h->sockets[i].fd);
    free(h);
}
