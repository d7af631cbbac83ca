/* Files of this machine, and error messages that both backends share. For the backends, and for the process
 * before it has an io and after. */
#ifndef KT_IO_SYSTEM_H
#define KT_IO_SYSTEM_H

#include "io/io.h"

/* kt_file_read, kt_file_read_real and kt_file_create on this machine's files, and appending to one, which creates it
 * with mode 0600; io is ignored. They never wait for another process: anything but a regular file is refused with
 * KT_EINVAL, except that a character device (/dev/null) can be appended to. */
int kt_system_file_read(
    struct kt_io *io, const char *path, size_t max, char **data, size_t *len, struct kt_err *err);
int kt_system_file_read_real(
    struct kt_io *io, const char *real, size_t max, char **data, size_t *len, struct kt_err *err);
int kt_system_file_real(
    struct kt_io *io, const char *path, bool fresh, char *out, size_t size, struct kt_err *err);
int kt_system_file_append(
    struct kt_io *io, const char *path, const void *data, size_t len, struct kt_err *err);
/* The same for a real path: symbolic links are not followed; see kt_file_read_real. */
int kt_system_file_append_real(
    struct kt_io *io, const char *real, const void *data, size_t len, struct kt_err *err);
int kt_system_file_create(
    struct kt_io *io, const char *path, const void *data, size_t len, struct kt_err *err);

/* Writes the folder of a path to out, with its final slash, or "." for a name alone. size: larger than the path's
 * length, and at least 2. */
void kt_system_folder(const char *path, char *out, size_t size);

/* The process's limit on open descriptors; SIZE_MAX: no limit. */
size_t kt_system_descriptors(void);

/* Returns freed memory to the system, if the C library can. Takes milliseconds for tens of MiB. */
void kt_system_give_back(void);

/* The message for running out of descriptors: errnum is EMFILE (this process) or ENFILE (the system). Returns
 * out. */
#define KT_SYSTEM_NO_FD 96u
const char *kt_system_no_fd(int errnum, char out[KT_SYSTEM_NO_FD]);

/* Fills err for an address that could not be bound (errnum > 0), including what to do about it. Returns the
 * code. */
int kt_system_bind_error(struct kt_err *err, const char *what, uint16_t port, int errnum);

#endif
