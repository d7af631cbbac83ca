/* State of the controller `auto`, for kcp/cc.h; its members belong to cc_auto.c, which explains them. Rates are
 * in bytes a second, shares and gains in 1/1024. A time that is a total is that of bytes delivered. */
#ifndef KT_KCP_CC_AUTO_H
#define KT_KCP_CC_AUTO_H

#include <stdbool.h>
#include <stdint.h>

/* Bytes lost, and all bytes sent; the older count less. */
struct kt_cc_auto_loss {
    uint64_t lost, all;
};

struct kt_cc_auto {
    uint64_t rate, inflight; /* what the controller says */

    /* the model */
    uint64_t bw[2];      /* highest delivery rate of this cycle and of the last */
    uint32_t min_rtt_us; /* 0: no round trip is known yet */
    uint64_t min_rtt_at;
    uint32_t jitter_us; /* by how much round trips exceed the shortest of their round, on average */
    uint32_t spread_us; /* by how much they vary while no queue of ours shows */
    uint32_t loss;      /* share lost at random */
    struct kt_cc_auto_loss any_loss, low_loss; /* at any rate; at a low rate */
    uint64_t low_from, low_to;                 /* the latest span of low rate, as totals */
    bool low, low_open;                        /* there was one; it lasts */
    uint64_t extra[2];                         /* most bytes acknowledged early, lately and before that */
    uint64_t bunch, bunch_us;                  /* bytes acknowledged since then */
    uint32_t extra_rounds;

    /* the phase */
    uint8_t phase;
    uint32_t gain;
    uint64_t phase_us; /* when it began */
    uint32_t phase_rounds;
    uint64_t until; /* the total at which it ends, or part of it does; UINT64_MAX: not known yet */

    /* STARTUP */
    uint64_t full_bw;
    uint32_t flat; /* rounds without growth */
    uint32_t late; /* round trips in a row that show a queue */
    bool alarmed;  /* a queue has ended it, and has not been seen to drain yet */

    /* CRUISE */
    uint32_t queue_us, last_gain; /* of the last round */
    uint32_t stuck;               /* rounds that did not shorten the queue */
    bool foreign;                 /* the queue is that of others */

    /* UP */
    uint64_t up_from, up_bw; /* total and bw when it began */
    uint64_t up_us;          /* how long it sends faster */
    uint32_t up_gain;
    uint32_t probe_cap_us; /* most that it may add to the queue, as more has overflowed it; 0: none has */
    struct kt_cc_auto_loss up_loss;

    /* the round */
    uint64_t round_end; /* total */
    uint64_t round_bw;  /* highest delivery rate; 0: all samples are app-limited */
    uint64_t round_lost, round_delivered, delivered; /* totals when it began, and at the last progress */
    uint64_t rtt_sum_us;
    uint32_t rtt_count, round_rtt_us, round_max_us; /* round trips: number, shortest, longest */
    uint32_t mean_us;                               /* mean of the last round */
};

#endif
