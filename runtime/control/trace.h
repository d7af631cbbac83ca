/* A trace: the packets of a link or an acceptor, decrypted, as a stream to a control client. Packets that the client
 * does not read in time are dropped and counted, so that a trace never holds up the link. The last line is the count of
 * those dropped after the last packet. */
#ifndef KT_CONTROL_TRACE_H
#define KT_CONTROL_TRACE_H

struct kt_control_client;
struct kt_control_trace;
struct kt_io;
struct kt_tap;

/* NULL: out of memory. Free with kt_control_trace_end. One trace at a time has a tap; see kt_tap_on. */
struct kt_control_trace *kt_control_trace_begin(
    struct kt_io *io, struct kt_tap *tap, struct kt_control_client *client);
/* NULL is allowed. */
void kt_control_trace_end(struct kt_control_trace *t);

#endif
