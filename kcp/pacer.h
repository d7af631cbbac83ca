/* Pacing: when the next packet may leave, so that packets leave at a rate and not in bursts.
 *
 * A packet of n bytes moves the time of the next one by n / rate. A sender that has fallen behind because its
 * timer is coarse or its machine busy may catch up by at most `burst` bytes; one that had nothing to send, by a
 * quantum (BBR.send_quantum in draft-ietf-ccwg-bbr-06): what the rate allows in KT_PACER_QUANTUM_US, or two packets
 * if that is more. A sender that has to wait does so until a quantum may leave, because on a fast path each turn of
 * the loop costs as much as many packets.
 *
 * Invariant: the error is less than 2^-32 µs a byte, so a long transfer keeps its rate to a millionth.
 * Integers only; times in µs, rates in bytes a second. */
#ifndef KT_KCP_PACER_H
#define KT_KCP_PACER_H

#include <stdbool.h>
#include <stdint.h>

#define KT_PACER_QUANTUM_US 500u     /* about a tick of the timers (base/wheel.h) */
#define KT_PACER_QUANTUM_MIN 3000u   /* two packets */
#define KT_PACER_RATE_MAX UINT32_MAX /* bytes a second: 34 Gbit/s; higher rates are paced at this one */
#define KT_PACER_RATE_MIN 16u        /* likewise lower ones, except 0 */

struct kt_pacer {
    uint32_t rate;                 /* 0: not paced */
    uint32_t burst;                /* bytes */
    uint32_t quantum;              /* bytes, at most burst */
    uint64_t burst_us, quantum_us; /* what these take at the rate */
    uint64_t byte_time;            /* what a byte takes: µs with 32 fraction bits */
    uint64_t next_us;              /* the next packet is due at next_us + fraction / 2^32 */
    uint32_t fraction;
    bool idle;           /* there was nothing to send since the last packet */
    uint64_t resumes_us; /* it does not leave before this time, when a quantum may */
};

/* All zero is a pacer that lets everything through. */

/* Changes rate and burst. Bytes already sent count at the old rate. */
void kt_pacer_set(struct kt_pacer *p, uint64_t rate, uint32_t burst);

/* When the next packet may leave; 0 or any time that has passed: now. */
static inline uint64_t kt_pacer_next(const struct kt_pacer *p)
{
    if (p->rate == 0) return 0;
    const uint64_t due = p->next_us + (p->fraction > 0);
    return due > p->resumes_us ? due : p->resumes_us;
}

/* Bytes that may leave at once. The last packet may exceed that. UINT64_MAX: any number. */
uint64_t kt_pacer_allowance(const struct kt_pacer *p, uint64_t now_us);

/* A packet of less than 64 KiB leaves. One that must not wait may leave before kt_pacer_next; later ones make up for
 * it. */
void kt_pacer_sent(struct kt_pacer *p, uint32_t bytes, uint64_t now_us);

#endif
