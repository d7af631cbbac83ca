/* Network addresses as values, and parsers for the forms that people write. */
#ifndef KT_BASE_ADDR_H
#define KT_BASE_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include "base/err.h"

/* An IPv4 or IPv6 address with a port. */
struct kt_addr {
    union {
        struct sockaddr sa;
        struct sockaddr_in in4;
        struct sockaddr_in6 in6;
    };
};

#define KT_ADDR_TEXT 64 /* enough for "[v6%scope]:port" and its NUL */

socklen_t kt_addr_len(const struct kt_addr *a);
uint16_t kt_addr_port(const struct kt_addr *a);
void kt_addr_set_port(struct kt_addr *a, uint16_t port);
bool kt_addr_equal(const struct kt_addr *a, const struct kt_addr *b);     /* family, address, port, scope */
bool kt_addr_same_host(const struct kt_addr *a, const struct kt_addr *b); /* the same but for the port */
bool kt_addr_is_any(const struct kt_addr *a); /* a wildcard, 0.0.0.0 or ::, whatever the port */
uint64_t kt_addr_hash(const struct kt_addr *a, uint64_t seed);
const char *kt_addr_text(
    const struct kt_addr *a, char out[KT_ADDR_TEXT]); /* "1.2.3.4:5", "[::1]:5"; returns out */
const char *kt_addr_ip_text(const struct kt_addr *a, char out[KT_ADDR_TEXT]); /* "1.2.3.4", "::1" */

/* Makes an IPv4 address of one that is mapped into IPv6 (::ffff:192.0.2.1), as it leads to the same host. */
void kt_addr_unmap(struct kt_addr *a);

/* 0, or KT_EUNREACH and a sentence if `a` is a link-local IPv6 address without a scope. Such an address is
 * ambiguous: every interface has its own link-local network. */
int kt_addr_check_scope(const struct kt_addr *a, struct kt_err *err);

/* Copies a socket address; false if it is neither IPv4 nor IPv6. */
bool kt_addr_from_sockaddr(struct kt_addr *out, const struct sockaddr *sa);

/* Parses what kt_addr_text writes; false if it is anything else. */
bool kt_addr_parse(struct kt_addr *out, const char *text);

/* Parses a numeric IP without a port, including "fe80::1%eth0" and "fe80::1%2"; false if it is not one. */
bool kt_addr_from_ip(struct kt_addr *out, const char *ip, uint16_t port);

/* An endpoint as people write it: "host:port", ":port", "1.2.3.4:5", "[::1]:5", "host:min-max", "unix:/path",
 * "/path" or "some/path" (unix). */
/* How the conns that a listener gets were diverted to it by the system (netfilter on Linux). */
enum kt_diverted {
    KT_DIVERTED_NOT,
    KT_DIVERTED_REDIRECT, /* their addresses were rewritten: REDIRECT, DNAT */
    KT_DIVERTED_TPROXY,   /* they were not: TPROXY. Needs CAP_NET_ADMIN */
};

struct kt_endpoint {
    bool is_unix;
    char host[256];              /* "" for the wildcard; the path for unix sockets (at most 107 bytes) */
    uint16_t port_min, port_max; /* equal unless a range was given; 0 only with KT_ENDPOINT_ZERO */
    unsigned mode; /* of a unix socket's file when it is listened on; 0: as the umask says. Not parsed */
    enum kt_diverted diverted; /* likewise of a listener */
};

#define KT_ENDPOINT_RANGE 1u /* "host:min-max" is allowed */
#define KT_ENDPOINT_UNIX 2u  /* unix sockets are allowed */
#define KT_ENDPOINT_ZERO 4u  /* port 0 (any free port) is allowed */
#define KT_ENDPOINT_HOST 8u  /* the host must not be empty */

/* 0 or KT_ECONFIG with a sentence that quotes the text and says what to write instead. */
int kt_endpoint_parse(struct kt_endpoint *out, const char *text, unsigned flags, struct kt_err *err);
bool kt_endpoint_equal(const struct kt_endpoint *a, const struct kt_endpoint *b);

#endif
