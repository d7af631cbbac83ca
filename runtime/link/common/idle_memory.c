/* The timer that trims the slabs of a context (see idle_memory.h). Once all blocks are free, the allocator is asked to
 * return memory too, if the slabs have freed enough of it for that to be worth a walk of its heap. */
#include "link/common/idle_memory.h"

#define EVERY_US 1000000u
#define WORTH_RETURNING 1048576u /* bytes */

static size_t total(const struct kt_idle_memory *m)
{
    return kt_slab_bytes(m->slabs[0]) + kt_slab_bytes(m->slabs[1]);
}

static void on_timer(void *ctx)
{
    struct kt_idle_memory *m = ctx;
    const size_t before = total(m);
    kt_slab_trim(m->slabs[0]);
    kt_slab_trim(m->slabs[1]);
    m->freed += before - total(m);
    m->count(m->ctx);
    if (kt_slab_in_use(m->slabs[0]) || kt_slab_in_use(m->slabs[1])) {
        kt_idle_memory_busy(m);
    } else if (m->freed >= WORTH_RETURNING) {
        m->freed = 0;
        kt_io_freed(m->io);
    }
}

void kt_idle_memory_init(struct kt_idle_memory *m, struct kt_io *io, struct kt_slab *a, struct kt_slab *b,
    void (*count)(void *ctx), void *ctx)
{
    *m = (struct kt_idle_memory){.io = io, .slabs = {a, b}, .count = count, .ctx = ctx};
    kt_timer_init(&m->timer, on_timer, m);
}

void kt_idle_memory_busy(struct kt_idle_memory *m)
{
    if (!m->timer.armed) kt_io_timer_set(m->io, &m->timer, kt_io_now(m->io) + EVERY_US);
}

void kt_idle_memory_end(struct kt_idle_memory *m)
{
    if (m->io) kt_io_timer_cancel(m->io, &m->timer);
}
