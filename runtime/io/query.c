/* The common part of kt_query: checks the question, so that no backend sees an invalid name, and limits the
 * answer. */
#include <stdio.h>
#include <string.h>
#include "io/io.h"

#define SERVER_WANTED                                                                                        \
    "expected a name server's IP address, such as \"9.9.9.9\", \"127.0.0.1:5353\" or \"[::1]:53\""

const char *kt_record_type_name(enum kt_record_type type)
{
    switch (type) {
    case KT_RECORD_A:
        return "A";
    case KT_RECORD_AAAA:
        return "AAAA";
    case KT_RECORD_SRV:
        return "SRV";
    }
    return NULL;
}

static bool name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

int kt_name_check(const char *name, struct kt_err *err)
{
    if (!name[0]) return kt_err_set(err, KT_ENAME, "\"\": the name is empty");
    struct kt_addr addr;
    if (kt_addr_from_ip(&addr, name, 0))
        return kt_err_set(err, KT_ENAME, "\"%.64s\": expected a name, got an address", name);

    size_t len = strlen(name), label = 0;
    if (name[len - 1] == '.') len--;
    if (len > KT_NAME_MAX)
        return kt_err_set(
            err, KT_ENAME, "\"%.64s...\": %zu bytes; a name may have at most %u", name, len, KT_NAME_MAX);
    for (size_t i = 0; i <= len; i++) {
        if (i < len && name[i] != '.') {
            label++;
            if (name_char(name[i])) continue;
            if ((unsigned char)name[i] >= 0x80)
                return kt_err_set(
                    err, KT_ENAME, "\"%.64s\": invalid name; write non-ASCII letters as xn--...", name);
            return kt_err_set(err, KT_ENAME,
                "\"%.64s\": invalid name; between dots it may contain only letters, digits, '-' and '_'",
                name);
        }
        if (label == 0)
            return kt_err_set(err, KT_ENAME, "\"%.64s\": invalid name; a label between dots is empty", name);
        if (label > KT_LABEL_MAX)
            return kt_err_set(err, KT_ENAME,
                "\"%.64s...\": %zu bytes between two dots; at most %u are allowed", name, label,
                KT_LABEL_MAX);
        label = 0;
    }
    return 0;
}

int kt_name_server(struct kt_addr *out, const char *text, struct kt_err *err)
{
    struct kt_endpoint at;
    if (!kt_addr_from_ip(out, text, 53) && (kt_endpoint_parse(&at, text, KT_ENDPOINT_HOST, NULL) != 0 ||
                                               !kt_addr_from_ip(out, at.host, at.port_min)))
        return kt_err_set(err, KT_ECONFIG, "\"%.64s\"; " SERVER_WANTED, text);
    if (out->sa.sa_family == AF_INET6 && out->in6.sin6_scope_id)
        return kt_err_set(
            err, KT_ECONFIG, "\"%.64s\": link-local addresses are not supported; " SERVER_WANTED, text);
    return 0;
}

int kt_query(struct kt_io *io, const struct kt_question *question, kt_query_cb cb, void *ctx,
    struct kt_query **out, struct kt_err *err)
{
    *out = NULL;
    int rc = kt_name_check(question->name, err);
    if (rc) return rc;
    if (!kt_record_type_name(question->type))
        return kt_err_set(err, KT_EINVAL, "unknown record type; expected A, AAAA or SRV");
    if (question->server_count > KT_QUERY_SERVERS)
        return kt_err_set(err, KT_ELIMIT, "%zu name servers; at most %u are allowed", question->server_count,
            KT_QUERY_SERVERS);
    if (!io->ops->query)
        return kt_err_set(err, KT_ENOTSUP, "%s: DNS records cannot be looked up here", question->name);
    return io->ops->query(io, question, cb, ctx, out, err);
}

void kt_query_cancel(struct kt_query *q)
{
    if (q) q->cancel(q);
}

void kt_records_insert(struct kt_record *records, size_t *n, const struct kt_record *record)
{
    size_t at = *n;
    while (at > 0 && records[at - 1].priority > record->priority) at--;
    if (at == KT_QUERY_RECORDS) return;
    if (*n == KT_QUERY_RECORDS) --*n;
    memmove(records + at + 1, records + at, (*n - at) * sizeof *records);
    records[at] = *record;
    ++*n;
}

uint32_t kt_ttl(uint32_t wire)
{
    if (wire > INT32_MAX || wire < KT_TTL_MIN) return KT_TTL_MIN;
    return wire < KT_TTL_MAX ? wire : KT_TTL_MAX;
}
