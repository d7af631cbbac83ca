/* The real-world backend of the I/O seam, on libuv. */
#ifndef KT_IO_UV_UV_H
#define KT_IO_UV_UV_H

#include "io/io.h"

/* Features that are probed at run time; tests switch them off to exercise the fallbacks. */
#define KT_UV_NO_GSO 1u  /* no UDP_SEGMENT */
#define KT_UV_NO_GRO 2u  /* no UDP_GRO */
#define KT_UV_NO_MMSG 4u /* no sendmmsg/recvmmsg: one call per packet */

/* Makes an io on its own libuv loop. log may be NULL and must outlive the io. 0, or a code with a sentence
 * in err. Freed with kt_io_free. */
int kt_uv_new(struct kt_io **out, const struct kt_log *log, unsigned flags, struct kt_err *err);

/* Logs a warning for each socket that the service manager has passed to the process (LISTEN_FDS) and that nothing has
 * used yet. A listener, or a UDP socket without a fixed peer, uses the one that is bound to its address. */
void kt_uv_activated_report(struct kt_io *io);

#endif
