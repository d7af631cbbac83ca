/* The bytes of a stream by their offset, so that one that is misplaced shows. */
#ifndef SPEC_PATTERN_H
#define SPEC_PATTERN_H

#include <stdint.h>

static inline uint8_t pattern(uint64_t offset)
{
    return (uint8_t)((offset * 31) ^ (offset >> 7) ^ (offset >> 15));
}

#endif
