/* Holds back log lines that repeat, so that a fault which recurs many times a second neither fills a disk nor hides
 * other lines. The same line, text and level, passes KT_REPEATS_PASS times in KT_REPEATS_US; further ones are counted,
 * and once that time is over, the line is written once more with their number. Lines in between do not matter: the last
 * KT_REPEATS_LINES different ones are remembered. Pure: knows no clock. */
#ifndef KT_BASE_LOG_REPEATS_H
#define KT_BASE_LOG_REPEATS_H

#include <stdbool.h>
#include <stdint.h>
#include "base/log.h"

#define KT_REPEATS_LINES 8u
#define KT_REPEATS_PASS 10u
#define KT_REPEATS_US UINT64_C(10000000)

struct kt_log_repeats {
    struct kt_log_repeat {
        uint64_t began;  /* µs */
        uint64_t held;   /* lines held back since */
        unsigned passed; /* 0: the entry is unused */
        enum kt_log_level level;
        char text[1025]; /* kt_log cuts lines at 1 KiB */
    } lines[KT_REPEATS_LINES];
    /* Writes a line whose time is over and of which `held` > 0 were held back. */
    void (*write)(void *ctx, const struct kt_log_repeat *line);
    void *ctx;
};

/* Whether a line passes now, in µs of any steady clock. Also calls write for lines whose time is over. */
bool kt_log_repeats_pass(struct kt_log_repeats *r, enum kt_log_level level, const char *text, uint64_t now);
/* Calls write for the lines whose time is over. Returns when to call it again, UINT64_MAX: not needed. */
uint64_t kt_log_repeats_due(struct kt_log_repeats *r, uint64_t now);
/* Calls write for all that are held back. */
void kt_log_repeats_flush(struct kt_log_repeats *r);

#endif
