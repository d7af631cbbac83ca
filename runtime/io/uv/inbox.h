/* Bytes that a conn has read. They arrive in the io's scratch area, where the listener finds them; those that it leaves
 * there move to memory of just that size. So moving bytes takes no allocation, and a slow listener holds no more memory
 * than bytes.
 *
 * Invariant: outside of libuv's callbacks nothing is lent. */
#ifndef KT_IO_UV_INBOX_H
#define KT_IO_UV_INBOX_H

#include "io/read_block.h"

/* Zero: empty. */
struct kt_uv_inbox {
    struct kt_read_block b; /* data: the scratch area while `lent`, else from malloc */
    bool lent;
};

/* Where to read n bytes to; NULL: no memory. */
uint8_t *kt_uv_inbox_room(struct kt_uv_inbox *in, uint8_t *scratch, size_t n);
/* n bytes were read there, to `data`. */
void kt_uv_inbox_add(struct kt_uv_inbox *in, uint8_t *data, size_t n);
/* Call it after each kt_uv_inbox_room, before the return to the loop. False if there was no memory, and what was
 * unread is lost. */
bool kt_uv_inbox_keep(struct kt_uv_inbox *in);
void kt_uv_inbox_drop(struct kt_uv_inbox *in);

#endif
