/* Reads the answers of name servers: c-ares parses the records; this file checks and converts them.
 *
 * c-ares parses names and record data. This file parses the TTL, which c-ares's SRV records lack (in Debian's
 * versions). It walks over the headers of the answer's records and follows no pointer, so a message cannot send it
 * in circles. An RRset has one TTL (RFC 2181, 5.2), and records reached through CNAMEs hold no longer than the
 * CNAMEs do. So an answer has one TTL: the least of its CNAMEs and records.
 *
 * Invariant: any bytes are safe to read; spec/fuzz/fuzz_answer.c tests this. */
#include <ares.h>
#include <stdio.h>
#include <string.h>
#include "base/bytes.h"
#include "io/uv/query.h"

#define HEADER 12u   /* RFC 1035, 4.1.1 */
#define RR_FIXED 10u /* type, class, TTL, length: 3.2.1 */
#define TYPE_CNAME 5u

struct cursor {
    const uint8_t *at, *end;
};

static bool skip(struct cursor *c, size_t n)
{
    if ((size_t)(c->end - c->at) < n) return false;
    c->at += n;
    return true;
}

/* Skips a name: labels up to an empty one, or up to a pointer to the rest (4.1.4). */
static bool skip_name(struct cursor *c)
{
    while (c->at < c->end) {
        const uint8_t len = *c->at;
        if (len >= 0xc0) return skip(c, 2);
        if (len > KT_LABEL_MAX || !skip(c, 1u + len)) return false;
        if (len == 0) return true;
    }
    return false;
}

/* The answer's TTL, within its bounds; 0 if the message is malformed or has no record of the type. */
static uint32_t answer_ttl(const uint8_t *msg, size_t len, enum kt_record_type type)
{
    struct cursor c = {msg, msg + len};
    uint32_t least = 0;
    if (!skip(&c, HEADER)) return 0;
    for (uint32_t left = kt_get16_be(msg + 4); left > 0; left--)
        if (!skip_name(&c) || !skip(&c, 4)) return 0;
    for (uint32_t left = kt_get16_be(msg + 6); left > 0; left--) {
        if (!skip_name(&c)) return 0;
        const uint8_t *rr = c.at;
        if (!skip(&c, RR_FIXED) || !skip(&c, kt_get16_be(rr + 8))) return 0;
        if (kt_get16_be(rr) != type && kt_get16_be(rr) != TYPE_CNAME) continue;
        const uint32_t ttl = kt_ttl(kt_get32_be(rr + 4));
        if (least == 0 || ttl < least) least = ttl;
    }
    return least;
}

static int read_a(
    const uint8_t *msg, int len, const struct kt_record *like, struct kt_record *records, size_t *n)
{
    struct ares_addrttl found[KT_QUERY_RECORDS];
    int count = KT_QUERY_RECORDS;
    const int status = ares_parse_a_reply(msg, len, NULL, found, &count);
    if (status == ARES_SUCCESS && count == 0) return ARES_ENODATA; /* only CNAMEs */
    for (int i = 0; status == ARES_SUCCESS && i < count; i++) {
        struct kt_record r = *like;
        r.addr.in4.sin_family = AF_INET;
        r.addr.in4.sin_addr = found[i].ipaddr;
        kt_records_insert(records, n, &r);
    }
    return status;
}

static int read_aaaa(
    const uint8_t *msg, int len, const struct kt_record *like, struct kt_record *records, size_t *n)
{
    struct ares_addr6ttl found[KT_QUERY_RECORDS];
    int count = KT_QUERY_RECORDS;
    const int status = ares_parse_aaaa_reply(msg, len, NULL, found, &count);
    if (status == ARES_SUCCESS && count == 0) return ARES_ENODATA; /* only CNAMEs */
    for (int i = 0; status == ARES_SUCCESS && i < count; i++) {
        struct kt_record r = *like;
        r.addr.in6.sin6_family = AF_INET6;
        memcpy(&r.addr.in6.sin6_addr, &found[i].ip6addr, sizeof r.addr.in6.sin6_addr);
        kt_records_insert(records, n, &r);
    }
    return status;
}

/* Leaves out unusable records: targets that are not host names, and port 0. Also leaves out the root as
 * a target, which means that the service does not exist (RFC 2782). */
static int read_srv(
    const uint8_t *msg, int len, const struct kt_record *like, struct kt_record *records, size_t *n)
{
    struct ares_srv_reply *list = NULL;
    const int status = ares_parse_srv_reply(msg, len, &list);
    for (const struct ares_srv_reply *s = list; s; s = s->next) {
        struct kt_record r = *like;
        size_t length = strlen(s->host);
        if (length > 0 && s->host[length - 1] == '.') length--;
        if (length == 0 || length > KT_NAME_MAX || s->port == 0) continue;
        memcpy(r.target, s->host, length);
        if (kt_name_check(r.target, NULL) != 0) continue;
        r.port = s->port;
        r.priority = s->priority;
        r.weight = s->weight;
        kt_records_insert(records, n, &r);
    }
    ares_free_data(list);
    return status;
}

int kt_uv_answer_read(const char *name, enum kt_record_type type, const uint8_t *msg, size_t len,
    struct kt_record *records, size_t *n, struct kt_err *err)
{
    *n = 0;
    struct kt_record like;
    memset(&like, 0, sizeof like);
    like.ttl = answer_ttl(msg, len, type);
    int status = ARES_EBADRESP;
    if (len > UINT16_MAX) len = 0; /* too long for a message */
    if (type == KT_RECORD_A)
        status = read_a(msg, (int)len, &like, records, n);
    else if (type == KT_RECORD_AAAA)
        status = read_aaaa(msg, (int)len, &like, records, n);
    else if (type == KT_RECORD_SRV)
        status = read_srv(msg, (int)len, &like, records, n);

    if (status == ARES_SUCCESS && *n > 0 && like.ttl > 0) return 0;
    const bool unusable = status == ARES_SUCCESS && *n == 0;
    *n = 0;
    if (status == ARES_ENOMEM) return kt_err_set(err, KT_ENOMEM, "%s: out of memory", name);
    if (status == ARES_ENODATA)
        return kt_err_set(err, KT_ENAME, "%s: the name has no %s records", name, kt_record_type_name(type));
    if (unusable)
        return kt_err_set(
            err, KT_ENAME, "%s: none of its %s records is usable", name, kt_record_type_name(type));
    return kt_err_set(err, KT_EPROTO, "%s: the name server's answer cannot be read", name);
}
