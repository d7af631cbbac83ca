/* The contents of a packet: a struct kt_native_content for each frame that has a fate. Frames are sent again,
 * not packets (docs/wire.md, 5.2). So recovery keeps these with each packet in flight, and reports each to
 * its owner once, as acknowledged or lost. The owner then decides what that means: a lost MAX_DATA is
 * written again with the present value, and lost DATA of a stream that was reset is forgotten.
 *
 * Small and without pointers, so that a stream may end while packets with its bytes are in flight: the
 * content then names an unknown stream, and is ignored. */
#ifndef KT_LINK_NATIVE_CONTENT_H
#define KT_LINK_NATIVE_CONTENT_H

#include <stdint.h>

struct kt_native_content {
    uint64_t id;     /* stream or flow; 0: the association or the path */
    uint64_t offset; /* DATA: of its first byte. Other types: what the writer needs to write it again */
    uint32_t length; /* DATA: bytes: of a frame, or of several that continue one another */
    uint8_t type;    /* frame type (docs/wire.md, 6); DATA with its bit 0, the end of the stream */
    uint8_t path;    /* frames about a path: its number */
};

/* Frames with a fate in one packet; a writer that has no room for another ends the packet. */
#define KT_NATIVE_CONTENTS 16u

#endif
