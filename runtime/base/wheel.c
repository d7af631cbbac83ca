/* Timer wheel, hierarchical, on absolute ticks.
 *
 * A tick is a number in base 64; level L of the wheel is indexed by digit L. An armed timer with deadline tick d
 * is at the level of the highest digit in which d differs from wheel->tick, in the slot of d's digit there.
 * Invariant, kept by every change of wheel->tick:
 *
 *   - all occupied slots of a level are ahead of wheel->tick's own digit (at level 0: not behind it), so slots
 *     never wrap and the lowest set bit of a level is its earliest slot;
 *   - everything at a lower level is due before everything at a higher one.
 *
 * So the earliest slot is the lowest bit of the lowest non-empty level, and time can jump straight to it. When
 * tick reaches the start of a slot above level 0, the slot is spread over the levels below it; a timer moves at
 * most once per level. Deadlines in a later span of 2^36 ticks wait in `far` until that span begins. */
#include "base/wheel.h"

#define DIGIT_BITS 6u
#define SPAN_BITS (DIGIT_BITS * KT_WHEEL_LEVELS)
#define LEVEL_DUE KT_WHEEL_LEVELS /* timer->level outside the slots */
#define LEVEL_FAR (KT_WHEEL_LEVELS + 1u)

static unsigned digit(uint64_t tick, unsigned level)
{
    return (unsigned)(tick >> (DIGIT_BITS * level)) & 63u;
}

/* The highest digit in which two ticks of one span differ, given their exclusive or. */
static unsigned top_digit(uint64_t differ)
{
    return differ ? (63u - (unsigned)__builtin_clzll(differ)) / DIGIT_BITS : 0;
}

/* Rounds up, so that a timer is never early. */
static uint64_t deadline_tick(const struct kt_timer *t)
{
    return t->at / KT_WHEEL_TICK_US + (t->at % KT_WHEEL_TICK_US != 0);
}

void kt_wheel_init(struct kt_wheel *w, uint64_t now_us)
{
    w->now_us = now_us;
    w->tick = now_us / KT_WHEEL_TICK_US + 1;
    kt_list_init(&w->due);
    kt_list_init(&w->far);
    for (unsigned level = 0; level < KT_WHEEL_LEVELS; level++) {
        w->occupied[level] = 0;
        for (unsigned slot = 0; slot < 64; slot++) kt_list_init(&w->slots[level][slot]);
    }
}

void kt_timer_init(struct kt_timer *t, void (*fn)(void *ctx), void *ctx)
{
    *t = (struct kt_timer){.fn = fn, .ctx = ctx};
    kt_list_init(&t->node);
}

/* Puts an unlinked timer where the invariant requires. Its deadline tick is not before w->tick. */
static void place(struct kt_wheel *w, struct kt_timer *t)
{
    uint64_t tick = deadline_tick(t);
    uint64_t differ = tick ^ w->tick;
    if (differ >> SPAN_BITS) {
        t->level = LEVEL_FAR;
        kt_list_push(&w->far, &t->node);
        return;
    }
    unsigned level = top_digit(differ);
    unsigned slot = digit(tick, level);
    t->level = (uint8_t)level;
    t->slot = (uint8_t)slot;
    w->occupied[level] |= UINT64_C(1) << slot;
    kt_list_push(&w->slots[level][slot], &t->node);
}

void kt_wheel_cancel(struct kt_wheel *w, struct kt_timer *t)
{
    if (!t->armed) return;
    t->armed = false;
    kt_list_remove(&t->node);
    if (t->level < KT_WHEEL_LEVELS && kt_list_empty(&w->slots[t->level][t->slot]))
        w->occupied[t->level] &= ~(UINT64_C(1) << t->slot);
}

void kt_wheel_set(struct kt_wheel *w, struct kt_timer *t, uint64_t at_us)
{
    kt_wheel_cancel(w, t);
    if (at_us == KT_TIME_NEVER) return;
    t->at = at_us;
    t->armed = true;
    if (at_us <= w->now_us) {
        t->level = LEVEL_DUE;
        kt_list_push(&w->due, &t->node);
    } else {
        place(w, t); /* later than now_us, so later than every tick left in this run */
    }
}

/* The earliest occupied slot: its level (LEVEL_FAR for the next span) and first tick. False if nothing is armed. */
static bool next_slot(const struct kt_wheel *w, unsigned *level, uint64_t *start)
{
    for (unsigned l = 0; l < KT_WHEEL_LEVELS; l++) {
        if (!w->occupied[l]) continue;
        uint64_t slot = (uint64_t)__builtin_ctzll(w->occupied[l]);
        unsigned shift = DIGIT_BITS * l;
        *level = l;
        *start = (w->tick >> (shift + DIGIT_BITS) << DIGIT_BITS | slot) << shift;
        return true;
    }
    if (kt_list_empty(&w->far)) return false;
    *level = LEVEL_FAR;
    *start = ((w->tick >> SPAN_BITS) + 1) << SPAN_BITS;
    return true;
}

uint64_t kt_wheel_next(const struct kt_wheel *w)
{
    unsigned level;
    uint64_t start;
    if (!kt_list_empty(&w->due)) return w->now_us;
    if (!next_slot(w, &level, &start)) return KT_TIME_NEVER;
    return start > UINT64_MAX / KT_WHEEL_TICK_US ? KT_TIME_NEVER - 1 : start * KT_WHEEL_TICK_US;
}

/* The first tick of the span in which the first far timer is due. The clock may jump over many spans; each far
 * timer is looked at once per span that holds a timer, not once per span. */
static uint64_t far_start(const struct kt_wheel *w)
{
    uint64_t first = UINT64_MAX;
    for (const struct kt_list *n = w->far.next; n != &w->far; n = n->next) {
        uint64_t tick = deadline_tick(KT_CONTAINER(n, const struct kt_timer, node));
        if (tick < first) first = tick;
    }
    return first >> SPAN_BITS << SPAN_BITS;
}

/* Puts each timer of a list where the new tick requires. */
static void replace_all(struct kt_wheel *w, struct kt_list *from)
{
    struct kt_list moving;
    kt_list_take(&moving, from);
    for (struct kt_list *n; (n = kt_list_pop(&moving));) place(w, KT_CONTAINER(n, struct kt_timer, node));
}

/* Advances time to a tick and restores the invariant. The caller makes sure that no occupied slot is left
 * behind. Levels below the highest digit that changes are empty by then, and those above do not change, so at
 * most one slot is entered and must be spread over the levels below it. */
static void advance(struct kt_wheel *w, uint64_t tick)
{
    uint64_t differ = w->tick ^ tick;
    w->tick = tick;
    if (differ >> SPAN_BITS) {
        replace_all(w, &w->far);
        return;
    }
    unsigned level = top_digit(differ), slot = digit(tick, level);
    uint64_t bit = UINT64_C(1) << slot;
    if (level == 0 || !(w->occupied[level] & bit)) return;
    w->occupied[level] &= ~bit;
    replace_all(w, &w->slots[level][slot]);
}

/* Fires a list of timers that is already out of the wheel: timers that callbacks arm do not fire in this pass,
 * and a cancelled one leaves the list as usual. */
static void fire(struct kt_list *from)
{
    struct kt_list batch;
    kt_list_take(&batch, from);
    for (struct kt_list *n; (n = kt_list_pop(&batch));) {
        struct kt_timer *t = KT_CONTAINER(n, struct kt_timer, node);
        t->armed = false;
        t->fn(t->ctx);
    }
}

void kt_wheel_run(struct kt_wheel *w, uint64_t now_us)
{
    if (now_us > w->now_us) w->now_us = now_us;
    uint64_t last = w->now_us / KT_WHEEL_TICK_US;
    unsigned level;
    uint64_t start;

    fire(&w->due);
    while (next_slot(w, &level, &start) && start <= last) {
        if (level == LEVEL_FAR) {
            start = far_start(w);
            if (start > last) break;
        }
        advance(w, start);
        if (level == 0) {
            unsigned slot = digit(start, 0);
            w->occupied[0] &= ~(UINT64_C(1) << slot);
            fire(&w->slots[0][slot]);
        }
    }
    advance(w, last + 1);
}
