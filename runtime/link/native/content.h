/* What a packet carries: one struct kt_native_content for each frame that has a fate. Frames are sent again, not
 * packets (docs/wire.md, 5.2), so recovery keeps these with each packet in flight, and tells the owner of each
 * once whether it was acknowledged or lost. The owner decides what that means now: a lost MAX_DATA is written
 * again with today's figure, and lost DATA of a stream that was reset is forgotten.
 *
 * Small and without pointers, so that a stream may end while packets that carried its bytes are in flight: its
 * content then names a stream that is unknown, and is ignored. */
#ifndef KT_LINK_NATIVE_CONTENT_H
#define KT_LINK_NATIVE_CONTENT_H

#include <stdint.h>

struct kt_native_content {
    uint64_t id;     /* stream or flow; 0: the association or the path */
    uint64_t offset; /* DATA: of its first byte. Other types: whatever the writer needs to know again */
    uint16_t length; /* DATA: bytes, at most a packet */
    uint8_t type;    /* frame type (docs/wire.md, 6); DATA with its bit 0, the end of the stream */
    uint8_t path;    /* frames about a path: its number */
};

/* Frames with a fate in one packet; a writer that has no room for another ends the packet. */
#define KT_NATIVE_CONTENTS 16u

#endif
