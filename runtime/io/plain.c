/* Whole small files: read, appended to and made with plain blocking calls; and what is said of an address
 * that cannot be bound. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "io/plain.h"

#define FIRST_READ ((size_t)4096)

static int failed(struct kt_err *err, const char *path, int errnum)
{
    int code = kt_err_from_errno(errnum);
    if (errnum == ENOENT) return kt_err_set(err, code, "%s: no such file", path);
    return kt_err_set(err, code, "%s: %s", path, strerror(errnum));
}

/* Reads to the end into *data, growing it. Not by fstat's size: the "file" may be a pipe (`<(…)` in a shell).
 */
static int read_all(int fd, const char *path, size_t max, char **data, size_t *len, struct kt_err *err)
{
    char *buf = NULL;
    size_t have = 0, cap = 0;
    int code = 0;
    while (!code) {
        if (have == cap) {
            cap = cap ? cap * 2 : FIRST_READ;
            if (cap > max + 1) cap = max + 1; /* the byte over tells a longer file from one that just fits */
            char *more = realloc(buf, cap + 1);
            if (!more) {
                code = kt_err_set(err, KT_ENOMEM, "%s: out of memory", path);
                break;
            }
            buf = more;
        }
        ssize_t n = read(fd, buf + have, cap - have);
        if (n == 0) break;
        if (n > 0) {
            have += (size_t)n;
            if (have > max) code = kt_err_set(err, KT_ELIMIT, "%s: larger than %zu bytes", path, max);
        } else if (errno != EINTR) {
            code = failed(err, path, errno);
        }
    }
    if (code) {
        free(buf);
        return code;
    }
    buf[have] = '\0';
    *data = buf;
    *len = have;
    return 0;
}

int kt_plain_file_read(
    struct kt_io *io, const char *path, size_t max, char **data, size_t *len, struct kt_err *err)
{
    (void)io;
    *data = NULL;
    *len = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return failed(err, path, errno);
    int code = read_all(fd, path, max, data, len, err);
    close(fd);
    return code;
}

/* Writes all of it and closes fd. */
static int finish(int fd, const char *path, const char *p, size_t len, struct kt_err *err)
{
    int code = 0;
    while (len > 0 && !code) {
        ssize_t n = write(fd, p, len);
        if (n >= 0) {
            p += n;
            len -= (size_t)n;
        } else if (errno != EINTR) {
            code = failed(err, path, errno);
        }
    }
    /* A full disk may be told only here (NFS). */
    if (close(fd) < 0 && !code && errno != EINTR) code = failed(err, path, errno);
    return code;
}

int kt_plain_file_append(struct kt_io *io, const char *path, const void *data, size_t len, struct kt_err *err)
{
    (void)io;
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);
    if (fd < 0) return failed(err, path, errno);
    return finish(fd, path, data, len, err);
}

int kt_plain_file_create(struct kt_io *io, const char *path, const void *data, size_t len, struct kt_err *err)
{
    (void)io;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0 && errno == EEXIST)
        return kt_err_set(err, KT_EINVAL, "%s is there already, and is left as it is", path);
    if (fd < 0) return failed(err, path, errno);
    return finish(fd, path, data, len, err);
}

const char *kt_plain_no_fd(int errnum, char out[KT_PLAIN_NO_FD])
{
    struct rlimit limit;
    if (errnum == ENFILE || getrlimit(RLIMIT_NOFILE, &limit) != 0)
        snprintf(out, KT_PLAIN_NO_FD, "the system has no file descriptors left; raise fs.file-max");
    else
        snprintf(out, KT_PLAIN_NO_FD, "no file descriptors left of %llu; raise the limit (ulimit -n)",
            (unsigned long long)limit.rlim_cur);
    return out;
}

int kt_plain_bind_error(struct kt_err *err, const char *what, uint16_t port, int errnum)
{
    int code = kt_err_from_errno(errnum);
    if (errnum == EADDRINUSE)
        return kt_err_set(err, code,
            "%s: address already in use; another program listens there, or this one under another name",
            what);
    if (errnum == EACCES && port > 0 && port < 1024)
        return kt_err_set(
            err, code, "%s: permission denied; ports below 1024 need root or CAP_NET_BIND_SERVICE", what);
    if (errnum == EADDRNOTAVAIL)
        return kt_err_set(err, code, "%s: no interface of this machine has that address", what);
    if (errnum == EMFILE || errnum == ENFILE) {
        char text[KT_PLAIN_NO_FD];
        return kt_err_set(err, code, "%s: %s", what, kt_plain_no_fd(errnum, text));
    }
    return kt_err_set(err, code, "%s: %s", what, strerror(errnum));
}
