/* Storage of unread bytes: borrowed for the length of a callback, then of the right size. */
#include "io/uv/inbox.h"
#include <stdlib.h>
#include <string.h>

uint8_t *kt_uv_inbox_room(struct kt_uv_inbox *in, uint8_t *scratch, size_t n)
{
    const size_t unread = in->b.len - in->b.pos;
    if (unread == 0) return scratch;
    memmove(in->b.data, in->b.data + in->b.pos, unread);
    in->b.pos = 0;
    in->b.len = unread;
    uint8_t *data = realloc(in->b.data, unread + n);
    if (!data) return NULL;
    in->b.data = data;
    return data + unread;
}

void kt_uv_inbox_add(struct kt_uv_inbox *in, uint8_t *data, size_t n)
{
    if (!in->b.data) {
        in->b.data = data;
        in->lent = true;
    }
    in->b.len += n;
}

bool kt_uv_inbox_keep(struct kt_uv_inbox *in)
{
    const size_t unread = in->b.len - in->b.pos;
    if (unread == 0) {
        kt_uv_inbox_drop(in);
        return true;
    }
    if (!in->lent) {
        uint8_t *smaller = realloc(in->b.data, in->b.len);
        if (smaller) in->b.data = smaller;
        return true;
    }
    uint8_t *data = malloc(unread);
    if (data) memcpy(data, in->b.data + in->b.pos, unread);
    in->b = (struct kt_read_block){.data = data, .len = data ? unread : 0};
    in->lent = false;
    return data != NULL;
}

void kt_uv_inbox_drop(struct kt_uv_inbox *in)
{
    if (!in->lent) free(in->b.data);
    *in = (struct kt_uv_inbox){0};
}
