/* A meter: how much passed within the last two seconds, in slots of a quarter second. Adding is O(1); an idle
 * meter costs nothing. A zeroed meter is new. */
#ifndef KT_BASE_METER_H
#define KT_BASE_METER_H

#include <stdint.h>

#define KT_METER_SLOTS 8u
#define KT_METER_SLOT_US 250000u

struct kt_meter {
    uint64_t slot; /* number of the newest slot */
    uint64_t sums[KT_METER_SLOTS];
};

void kt_meter_add(struct kt_meter *m, uint64_t n, uint64_t now_us);
/* All that was added within the last two seconds, give or take a slot. */
uint64_t kt_meter_sum(const struct kt_meter *m, uint64_t now_us);
/* The same a second. since_us: when the metering began, so that the first seconds are not taken for quiet. */
uint64_t kt_meter_rate(const struct kt_meter *m, uint64_t since_us, uint64_t now_us);

#endif
