/* Two network namespaces with a TUN device in each. Neither has a name, so nothing can be left behind. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "line.h"

/* The device's queue for when we are not running: larger than any window worth measuring. */
#define DEVICE_QUEUE 16384

struct in6_ifreq { /* linux/ipv6.h clashes with netinet/in.h */
    struct in6_addr addr;
    uint32_t prefix;
    int index;
};

static int failed(struct kt_err *err, const char *what)
{
    int errnum = errno;
    return kt_err_set(err, errnum == EPERM || errnum == EACCES ? KT_EACCES : KT_EIO, "%s: %s%s", what,
        strerror(errnum), errnum == EPERM ? "; this must run as root" : "");
}

static void set_addr(struct ifreq *r, struct in_addr addr)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = addr};
    memcpy(&r->ifr_addr, &at, sizeof at);
}

static bool up(int fd, const char *device)
{
    struct ifreq r = {0};
    snprintf(r.ifr_name, sizeof r.ifr_name, "%s", device);
    if (ioctl(fd, SIOCGIFFLAGS, &r) != 0) return false;
    r.ifr_flags |= IFF_UP;
    return ioctl(fd, SIOCSIFFLAGS, &r) == 0;
}

/* On a machine without IPv6, lines lack it too. */
static void set_v6(const struct line_end *e, int index)
{
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct in6_ifreq r = {.addr = e->v6, .prefix = 64, .index = index};
    if (fd < 0) return;
    (void)!ioctl(fd, SIOCSIFADDR, &r);
    close(fd);
}

static int configure(const struct line_end *e, unsigned mtu, struct kt_err *err)
{
    struct ifreq r = {0};
    const struct in_addr mask = {htonl(0xffffff00)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), code = 0;
    if (fd < 0) return failed(err, "socket");
    snprintf(r.ifr_name, sizeof r.ifr_name, "%s", e->device);
    if (!up(fd, "lo")) code = failed(err, "lo");
    set_addr(&r, e->v4);
    if (!code && ioctl(fd, SIOCSIFADDR, &r) != 0) code = failed(err, "address");
    set_addr(&r, mask);
    if (!code && ioctl(fd, SIOCSIFNETMASK, &r) != 0) code = failed(err, "netmask");
    r.ifr_mtu = (int)mtu;
    if (!code && ioctl(fd, SIOCSIFMTU, &r) != 0) code = failed(err, "mtu");
    r.ifr_qlen = DEVICE_QUEUE;
    if (!code && ioctl(fd, SIOCSIFTXQLEN, &r) != 0) code = failed(err, "queue length");
    if (!code && !up(fd, e->device)) code = failed(err, "up");
    if (!code && ioctl(fd, SIOCGIFINDEX, &r) != 0) code = failed(err, "index");
    if (!code) set_v6(e, r.ifr_ifindex);
    close(fd);
    return code;
}

/* Makes a device in a new namespace, in which the caller then is. */
static int open_end(struct line_end *e, unsigned mtu, struct kt_err *err)
{
    struct ifreq r = {0};
    if (unshare(CLONE_NEWNET) != 0) return failed(err, "a network namespace");
    e->netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (e->netns < 0) return failed(err, "/proc/self/ns/net");
    e->tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (e->tun < 0) return failed(err, "/dev/net/tun");
    r.ifr_flags = IFF_TUN | IFF_NO_PI;
    snprintf(r.ifr_name, sizeof r.ifr_name, "%s", e->device);
    if (ioctl(e->tun, TUNSETIFF, &r) != 0) return failed(err, "TUNSETIFF");
    return configure(e, mtu, err);
}

int line_net_open(struct line_end ends[2], unsigned mtu, struct kt_err *err)
{
    for (int i = 0; i < 2; i++) {
        struct line_end *e = &ends[i];
        memset(e, 0, sizeof *e);
        e->netns = e->tun = -1;
        snprintf(e->device, sizeof e->device, "line%d%c", (int)getpid(), 'a' + i);
        e->v4.s_addr = htonl(0x0a4d0001u + (uint32_t)i);
        e->v6.s6_addr[0] = 0xfd;
        e->v6.s6_addr[1] = 0x77;
        e->v6.s6_addr[15] = (uint8_t)(1 + i);
    }
    int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (home < 0) return failed(err, "/proc/self/ns/net");
    int code = open_end(&ends[LINE_A], mtu, err);
    if (!code) code = open_end(&ends[LINE_B], mtu, err);
    if (setns(home, CLONE_NEWNET) != 0 && !code) code = failed(err, "the way back");
    close(home);
    return code;
}

void line_net_close(struct line_end ends[2])
{
    for (int i = 0; i < 2; i++) {
        if (ends[i].tun >= 0) close(ends[i].tun);
        if (ends[i].netns >= 0) close(ends[i].netns);
        ends[i].tun = ends[i].netns = -1;
    }
}

uint64_t line_net_dropped(const struct line_end *end)
{
    unsigned long long dropped = 0;
    char row[512];
    size_t len = strlen(end->device);
    int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (home < 0) return 0;
    if (setns(end->netns, CLONE_NEWNET) == 0) {
        FILE *f = fopen("/proc/self/net/dev", "re");
        while (f && fgets(row, sizeof row, f)) {
            const char *at = row + strspn(row, " ");
            if (strncmp(at, end->device, len) != 0 || at[len] != ':') continue;
            /* Eight columns for receiving, then bytes, packets, errors and drops for sending. */
            sscanf(at + len + 1, "%*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %llu", &dropped);
        }
        if (f) fclose(f);
        (void)!setns(home, CLONE_NEWNET);
    }
    close(home);
    return dropped;
}
