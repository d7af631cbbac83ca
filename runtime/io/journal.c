/* The socket is connected, so that poll(2) tells whether the journal has room. */
#include "io/journal.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "io/writer.h"

static int connect_to(int fd)
{
    static const struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = "/run/systemd/journal/socket"};
    return connect(fd, (const struct sockaddr *)&to, sizeof to);
}

/* Waits while the journal does not read. Finds it again if it has restarted with a new socket. */
static void send_record(int fd, const char *data, size_t len)
{
    for (int tries = 0; send(fd, data, len, MSG_NOSIGNAL) < 0 && tries < 2;) {
        if (errno == EINTR) continue;
        tries++;
        if (errno != ECONNREFUSED && errno != ENOTCONN) return;
        if (connect_to(fd) < 0) return;
    }
}

int kt_journal_open(
    struct kt_writer **out, const struct kt_append_events *events, void *ctx, struct kt_err *err)
{
    *out = NULL;
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect_to(fd) < 0) {
        const int errnum = errno;
        if (fd >= 0) close(fd);
        return kt_err_set(err, kt_err_from_errno(errnum), "no journal at /run/systemd/journal/socket: %s",
            strerror(errnum));
    }
    const int rc = kt_writer_new_records(out, fd, send_record, events, ctx);
    if (rc) return kt_err_set(err, rc, "no thread for the journal: %s", kt_strerror(rc));
    return 0;
}
