/* This machine's files, read, appended to and created whole with blocking calls, and the error messages that both
 * backends share. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "io/system.h"

#define FIRST_READ ((size_t)4096)

static const char *kind(mode_t mode)
{
    return S_ISDIR(mode) ? "a folder" : S_ISFIFO(mode) ? "a pipe" : S_ISSOCK(mode) ? "a socket" : "a device";
}

/* Reports a path that could not be opened or created. The shell does not expand ~ everywhere (--log=~/x). */
static int failed(struct kt_err *err, const char *path, int errnum)
{
    const int code = kt_err_from_errno(errnum);
    const char *why = errnum == ENOENT   ? "no such file"
                      : errnum == EISDIR ? "is a folder, not a regular file"
                                         : strerror(errnum);
    return kt_err_set(err, code, "%s: %s%s", path, why,
        path[0] == '~' ? "; ~ is not expanded here, write the full path" : "");
}

/* The same for a file that was to be created: if something is missing, it is the folder. */
static int failed_to_make(struct kt_err *err, const char *path, int errnum)
{
    const char *slash = strrchr(path, '/');
    if (errnum != ENOENT || !slash || slash == path) return failed(err, path, errnum);
    char folder[PATH_MAX];
    struct stat st;
    snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
    if (stat(folder, &st) == 0) return failed(err, path, errnum); /* a dangling symlink */
    return kt_err_set(err, KT_ENOENT, "%s: no such folder: %s%s", path, folder,
        path[0] == '~' ? "; ~ is not expanded here, write the full path" : "");
}

static int wrong_kind(struct kt_err *err, const char *path, mode_t mode)
{
    return kt_err_set(err, KT_EINVAL, "%s: is %s, not a regular file", path, kind(mode));
}

/* open(2) on a real path, without following a symbolic link anywhere on it, unlike O_NOFOLLOW: each folder is
 * opened in the one before it. openat2(2) with RESOLVE_NO_SYMLINKS would do the same in one call, but kernels before
 * 5.6 and older container sandboxes lack it. */
static int open_real(const char *path, int flags, mode_t mode)
{
    int folder = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (const char *part = path + 1; folder >= 0;) {
        const char *slash = strchr(part, '/');
        char name[NAME_MAX + 1];
        snprintf(name, sizeof name, "%.*s", slash ? (int)(slash - part) : NAME_MAX, part);
        const int next =
            openat(folder, name, O_NOFOLLOW | (slash ? O_PATH | O_DIRECTORY | O_CLOEXEC : flags), mode);
        const int errnum = errno;
        close(folder);
        errno = errnum;
        if (!slash) return next;
        folder = next;
        part = slash + 1;
    }
    return folder;
}

/* Reports a real path that could not be opened. */
static int not_real(const char *path, int errnum, struct kt_err *err)
{
    if (errnum == ELOOP || errnum == ENOTDIR)
        return kt_err_set(
            err, KT_EACCES, "%s: part of the path was replaced, perhaps by a symbolic link", path);
    return failed(err, path, errnum);
}

/* Opens a file without blocking, as a pipe without another end would. Accepts only files whose reads and writes
 * do not wait for another process: a regular file or, for appending, a character device (/dev/null, a terminal).
 * real: the path is real, and no link is followed. Returns the descriptor or a code. */
static int open_file(const char *path, bool real, int flags, mode_t mode, struct kt_err *err)
{
    struct stat st;
    const int fd = (real ? open_real(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, mode)
                         : open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, mode));
    if (fd < 0) {
        const int errnum = errno;
        if (real && errnum != ENXIO) return not_real(path, errnum, err);
        if (errnum == ENXIO && stat(path, &st) == 0) return wrong_kind(err, path, st.st_mode);
        return flags & O_CREAT ? failed_to_make(err, path, errnum) : failed(err, path, errnum);
    }
    if (fstat(fd, &st) == 0 && (S_ISREG(st.st_mode) || (S_ISCHR(st.st_mode) && (flags & O_APPEND))))
        return fd;
    close(fd);
    return wrong_kind(err, path, st.st_mode);
}

/* Reads to the end into *data, growing it. Does not trust fstat's size, which is 0 for files in /proc. */
static int read_all(int fd, const char *path, size_t max, char **data, size_t *len, struct kt_err *err)
{
    char *buf = NULL;
    size_t have = 0, cap = 0;
    int code = 0;
    while (!code) {
        if (have == cap) {
            cap = cap ? cap * 2 : FIRST_READ;
            if (cap > max + 1) cap = max + 1; /* one byte more, to detect a file that is too long */
            char *more = malloc(cap + 1);
            if (!more) {
                code = kt_err_set(err, KT_ENOMEM, "%s: out of memory", path);
                break;
            }
            if (have) { /* realloc could leave a copy behind, and this may be a key */
                memcpy(more, buf, have);
                explicit_bzero(buf, have);
            }
            free(buf);
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
        if (have) explicit_bzero(buf, have);
        free(buf);
        return code;
    }
    buf[have] = '\0';
    *data = buf;
    *len = have;
    return 0;
}

static int read_file(const char *path, bool real, size_t max, char **data, size_t *len, struct kt_err *err)
{
    *data = NULL;
    *len = 0;
    int fd = open_file(path, real, O_RDONLY, 0, err);
    if (fd < 0) return fd;
    int code = read_all(fd, path, max, data, len, err);
    close(fd);
    return code;
}

int kt_system_file_read(
    struct kt_io *io, const char *path, size_t max, char **data, size_t *len, struct kt_err *err)
{
    (void)io;
    return read_file(path, false, max, data, len, err);
}

int kt_system_file_read_real(
    struct kt_io *io, const char *real, size_t max, char **data, size_t *len, struct kt_err *err)
{
    (void)io;
    return read_file(real, true, max, data, len, err);
}

void kt_system_folder(const char *path, char *out, size_t size)
{
    const char *slash = strrchr(path, '/');
    snprintf(out, size, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
}

/* A file that does not exist yet: the real path of its folder, and its name. */
static int real_fresh(const char *path, char *out, size_t size, struct kt_err *err)
{
    struct stat st;
    if (lstat(path, &st) == 0) return kt_err_set(err, KT_EACCES, "%s: a dangling symbolic link", path);
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return kt_err_set(err, KT_EINVAL, "%s: is a folder, not a regular file", path);
    char folder[PATH_MAX], real[PATH_MAX];
    kt_system_folder(path, folder, sizeof folder);
    if (!realpath(folder, real)) return failed_to_make(err, path, errno);
    const int n = snprintf(out, size, "%s/%s", strcmp(real, "/") == 0 ? "" : real, name);
    return n >= 0 && (size_t)n < size ? 0 : failed(err, path, ENAMETOOLONG);
}

int kt_system_file_real(
    struct kt_io *io, const char *path, bool fresh, char *out, size_t size, struct kt_err *err)
{
    (void)io;
    char real[PATH_MAX];
    if (strlen(path) >= sizeof real) return failed(err, path, ENAMETOOLONG);
    if (!realpath(path[0] ? path : ".", real))
        return fresh && errno == ENOENT ? real_fresh(path, out, size, err) : failed(err, path, errno);
    if (strlen(real) >= size) return failed(err, path, ENAMETOOLONG);
    strcpy(out, real);
    return 0;
}

/* Writes all bytes and closes fd. */
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
    /* NFS may report a full disk only here. */
    if (close(fd) < 0 && !code && errno != EINTR) code = failed(err, path, errno);
    return code;
}

static int append_file(const char *path, bool real, const void *data, size_t len, struct kt_err *err)
{
    int fd = open_file(path, real, O_WRONLY | O_APPEND | O_CREAT, 0600, err);
    if (fd < 0) return fd;
    return finish(fd, path, data, len, err);
}

int kt_system_file_append(
    struct kt_io *io, const char *path, const void *data, size_t len, struct kt_err *err)
{
    (void)io;
    return append_file(path, false, data, len, err);
}

int kt_system_file_append_real(
    struct kt_io *io, const char *real, const void *data, size_t len, struct kt_err *err)
{
    (void)io;
    return append_file(real, true, data, len, err);
}

int kt_system_file_create(
    struct kt_io *io, const char *path, const void *data, size_t len, struct kt_err *err)
{
    (void)io;
    struct stat st;
    if (lstat(path, &st) == 0) return kt_err_set(err, KT_EINVAL, "%s already exists; not overwritten", path);
    int fd = open_file(path, false, O_WRONLY | O_CREAT | O_EXCL, 0666, err);
    if (fd < 0) return fd;
    const int code = finish(fd, path, data, len, err);
    if (code) unlink(path);
    return code;
}

size_t kt_system_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return SIZE_MAX;
    return (size_t)limit.rlim_cur;
}

const char *kt_system_no_fd(int errnum, char out[KT_SYSTEM_NO_FD])
{
    struct rlimit limit;
    if (errnum == ENFILE || getrlimit(RLIMIT_NOFILE, &limit) != 0)
        snprintf(out, KT_SYSTEM_NO_FD, "the system is out of file descriptors; raise fs.file-max");
    else
        snprintf(out, KT_SYSTEM_NO_FD, "no file descriptors left of %llu; raise the limit (ulimit -n)",
            (unsigned long long)limit.rlim_cur);
    return out;
}

int kt_system_bind_error(struct kt_err *err, const char *what, uint16_t port, int errnum)
{
    int code = kt_err_from_errno(errnum);
    if (errnum == EADDRINUSE)
        return kt_err_set(err, code,
            "%s: address already in use; another program or another listener of this one uses it", what);
    if (errnum == EACCES && port > 0 && port < 1024)
        return kt_err_set(
            err, code, "%s: permission denied; ports below 1024 need root or CAP_NET_BIND_SERVICE", what);
    if (errnum == EADDRNOTAVAIL)
        return kt_err_set(err, code, "%s: no interface of this machine has this address", what);
    if (errnum == EMFILE || errnum == ENFILE) {
        char text[KT_SYSTEM_NO_FD];
        return kt_err_set(err, code, "%s: %s", what, kt_system_no_fd(errnum, text));
    }
    return kt_err_set(err, code, "%s: %s", what, strerror(errnum));
}

void kt_system_give_back(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}
