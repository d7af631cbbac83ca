/* The search for the largest packet, as a ladder of sizes, and the count that shows a black hole (mtu.h). */
#include "link/native/mtu.h"

#include <assert.h>
#include <stddef.h>

/* Sizes worth a probe: tunnels inside tunnels, PPPoE and VPNs take from 20 to 120 bytes of 1,500. The largest
 * is the path's own. */
static const uint32_t ladder[] = {1350, 1400, 1440};

void kt_native_mtu_init(struct kt_native_mtu *m, uint32_t most)
{
    assert(most >= KT_NATIVE_MTU_BASE);
    *m = (struct kt_native_mtu){.size = KT_NATIVE_MTU_BASE, .most = most};
}

uint32_t kt_native_mtu_probe(const struct kt_native_mtu *m, uint64_t now_us)
{
    if (m->probing) return 0;
    if (m->doubted > 0) return m->doubted;
    if (m->size == m->most || now_us < m->search_us) return 0;
    for (size_t i = 0; i < sizeof ladder / sizeof *ladder; i++)
        if (ladder[i] > m->size && ladder[i] < m->most) return ladder[i];
    return m->most;
}

uint32_t kt_native_mtu_reach(const struct kt_native_mtu *m, uint64_t now_us)
{
    if (m->doubted > 0) return m->doubted;
    return now_us < m->search_us ? m->size : m->most;
}

void kt_native_mtu_sent(struct kt_native_mtu *m)
{
    m->probing = true;
}

/* Packets of this size pass. */
static void trust(struct kt_native_mtu *m, uint32_t size)
{
    m->doubted = m->row = m->tries = 0;
    m->size = size;
}

void kt_native_mtu_acked(struct kt_native_mtu *m, uint32_t size)
{
    m->probing = false;
    m->tries = 0;
    if (size > m->size && size <= m->most) trust(m, size);
}

static void pause(struct kt_native_mtu *m, uint64_t now_us)
{
    m->tries = 0;
    m->search_us = now_us + KT_NATIVE_MTU_AGAIN_US;
}

bool kt_native_mtu_lost(struct kt_native_mtu *m, uint32_t size, uint64_t now_us)
{
    m->probing = false;
    if (size <= m->size || ++m->tries < KT_NATIVE_MTU_TRIES) return false;
    const bool hole = m->doubted > 0;
    m->doubted = 0;
    m->holes += hole;
    pause(m, now_us);
    return hole;
}

bool kt_native_mtu_packet_acked(struct kt_native_mtu *m, uint32_t bytes)
{
    if (bytes <= KT_NATIVE_MTU_BASE) {
        m->small = true;
        return false;
    }
    m->row = 0;
    if (bytes < m->doubted || m->doubted == 0) return false;
    trust(m, m->doubted);
    return true;
}

bool kt_native_mtu_packet_lost(struct kt_native_mtu *m, uint32_t bytes, uint64_t now_us)
{
    if (bytes <= KT_NATIVE_MTU_BASE || m->size == KT_NATIVE_MTU_BASE) return false;
    if (m->row > 0 && m->row_us == now_us) return false;
    if (m->row++ == 0) m->small = false;
    m->row_us = now_us;
    if (m->row < KT_NATIVE_MTU_ROW || !m->small) return false;
    m->doubted = m->size;
    m->size = KT_NATIVE_MTU_BASE;
    m->row = m->tries = 0;
    return true;
}
