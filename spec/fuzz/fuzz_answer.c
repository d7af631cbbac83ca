/* Fuzz target: answers of a name server. The first byte gives the type of the question. What is accepted must
 * keep io.h's promises; what is refused must come with a sentence. c-ares parses the answers; this tests what
 * kt makes of them. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "io/uv/query.h"
#include "check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void accepted(enum kt_record_type type, const struct kt_record *records, size_t n)
{
    CHECK(n > 0 && n <= KT_QUERY_RECORDS);
    for (size_t i = 0; i < n; i++) {
        const struct kt_record *r = &records[i];
        CHECK(r->ttl >= KT_TTL_MIN && r->ttl <= KT_TTL_MAX && r->ttl == records[0].ttl);
        if (type != KT_RECORD_SRV) {
            CHECK(r->addr.sa.sa_family == (type == KT_RECORD_A ? AF_INET : AF_INET6));
            CHECK(kt_addr_port(&r->addr) == 0 && r->target[0] == '\0');
            continue;
        }
        CHECK(memchr(r->target, '\0', sizeof r->target) && kt_name_check(r->target, NULL) == 0);
        CHECK(r->target[strlen(r->target) - 1] != '.');
        CHECK(r->port > 0);
        CHECK(i == 0 || records[i - 1].priority <= r->priority);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum kt_record_type types[] = {KT_RECORD_A, KT_RECORD_AAAA, KT_RECORD_SRV};
    if (size == 0) return 0;
    const enum kt_record_type type = types[data[0] % 3];
    uint8_t *msg =
        malloc(size); /* a block of exactly its size, so that the sanitizer catches accesses past the end */
    struct kt_record *records = calloc(KT_QUERY_RECORDS, sizeof *records);
    if (msg && records) {
        const size_t len = size - 1;
        uint8_t *at = msg + 1;
        memcpy(at, data + 1, len);
        struct kt_err err = {0};
        size_t n = 99;
        int rc = kt_uv_answer_read("x.test", type, at, len, records, &n, &err);
        if (rc == 0) {
            accepted(type, records, n);
        } else {
            CHECK(n == 0 && err.code == rc);
            CHECK(rc == KT_ENAME || rc == KT_EPROTO || rc == KT_ENOMEM);
            CHECK(strncmp(err.text, "x.test: ", 8) == 0);
        }
    }
    free(records);
    free(msg);
    return 0;
}
