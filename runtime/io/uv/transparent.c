/* Traffic that netfilter diverts to this machine: the socket options for it, and its original destinations. Linux only;
 * elsewhere every function returns KT_ENOTSUP.
 *
 * A dual-stack socket needs the options of both families, as IPv4 packets come with the messages of IPv4. */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include "io/uv/internal.h"

#ifdef __linux__

/* From <linux/netfilter_ipv4.h>, <linux/netfilter_ipv6/ip6_tables.h> and <linux/in6.h>, which clash with libc's
 * headers. */
#define ORIGINAL_DST 80
#define IPV6_TRANSPARENT_ 75
#define IPV6_ORIGDSTADDR_ 74

static int set(int fd, int level, int name)
{
    const int on = 1;
    return setsockopt(fd, level, name, &on, sizeof on);
}

static bool is_v6(int fd)
{
    struct kt_addr addr = {0};
    socklen_t len = sizeof addr;
    return getsockname(fd, &addr.sa, &len) == 0 && addr.sa.sa_family == AF_INET6;
}

int kt_uv_transparent(int fd, const char *name, struct kt_err *err)
{
    const int rc = is_v6(fd) ? set(fd, IPPROTO_IPV6, IPV6_TRANSPARENT_) : set(fd, IPPROTO_IP, IP_TRANSPARENT);
    if (rc == 0) return 0;
    if (errno == EPERM)
        return kt_err_set(err, KT_EACCES,
            "%s: transparent = \"tproxy\" needs CAP_NET_ADMIN; run kt as root, or with AmbientCapabilities=CAP_NET_ADMIN",
            name);
    return kt_err_set(
        err, kt_err_from_errno(errno), "%s: transparent = \"tproxy\": %s", name, strerror(errno));
}

bool kt_uv_original(int fd, const struct kt_addr *local, struct kt_addr *out)
{
    struct kt_addr found = {0};
    socklen_t len = sizeof found;
    const int level = local->sa.sa_family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
    if (getsockopt(fd, level, ORIGINAL_DST, &found, &len) < 0) return false;
    return kt_addr_from_sockaddr(out, &found.sa);
}

int kt_uv_originals(int fd, const char *name, struct kt_err *err)
{
    const bool v6 = is_v6(fd), v4 = set(fd, IPPROTO_IP, IP_RECVORIGDSTADDR) == 0;
    if (v6 ? set(fd, IPPROTO_IPV6, IPV6_ORIGDSTADDR_) == 0 : v4) return 0;
    return kt_err_set(err, KT_ENOTSUP, "%s: transparent: %s", name, strerror(errno));
}

bool kt_uv_read_original(const struct cmsghdr *c, struct kt_addr *out)
{
    const bool v4 = c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_ORIGDSTADDR,
               v6 = c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_ORIGDSTADDR_;
    struct sockaddr_in6 addr; /* the longer one */
    if (!v4 && !v6) return false;
    memset(&addr, 0, sizeof addr);
    memcpy(&addr, CMSG_DATA(c), v4 ? sizeof(struct sockaddr_in) : sizeof addr);
    if (!kt_addr_from_sockaddr(out, (const struct sockaddr *)(const void *)&addr)) return false;
    kt_addr_unmap(out);
    return true;
}

#else

int kt_uv_transparent(int fd, const char *name, struct kt_err *err)
{
    (void)fd;
    return kt_err_set(err, KT_ENOTSUP, "%s: transparent: only on Linux", name);
}

bool kt_uv_original(int fd, const struct kt_addr *local, struct kt_addr *out)
{
    (void)fd, (void)local, (void)out;
    return false;
}

int kt_uv_originals(int fd, const char *name, struct kt_err *err)
{
    return kt_uv_transparent(fd, name, err);
}

bool kt_uv_read_original(const struct cmsghdr *c, struct kt_addr *out)
{
    (void)c, (void)out;
    return false;
}

#endif
