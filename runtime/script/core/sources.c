/* Watches the files that a script was loaded from.
 *
 * Invariant: each file in the list has the digest of what was last loaded from it, so a sign of a change without a new
 * content does nothing, and a script that is wrong is not loaded again until it changes. */
#include "script/core/sources.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/list.h"
#include "base/log.h"
#include "io/io.h"
#include "script/core/state.h"

struct source {
    struct kt_list node; /* in s->files */
    struct kt_sources *s;
    struct kt_file_watch *watch; /* NULL: its folder cannot be watched */
    uint64_t digest;             /* 0: it could not be read */
    bool fresh;                  /* read by the load in progress, or the last one */
    bool signaled;               /* may have changed since it was last looked at */
    char path[];
};

struct kt_sources {
    struct kt_io *io;
    const struct kt_log *log;
    void (*changed)(void *ctx);
    void *ctx;
    struct kt_list files;
    size_t count;
    bool told; /* that there are too many */
    struct kt_timer settle;
};

/* FNV-1a. The text is the user's own, so nobody looks for collisions. Never 0 for a file that was read. */
static uint64_t digest(const void *data, size_t len)
{
    uint64_t h = UINT64_C(14695981039346656037);
    const uint8_t *p = data;
    for (size_t i = 0; i < len; i++) h = (h ^ p[i]) * UINT64_C(1099511628211);
    return data ? h | 1 : 0;
}

static struct source *find(const struct kt_sources *s, const char *path)
{
    for (struct kt_list *n = s->files.next; n != &s->files; n = n->next) {
        struct source *f = KT_CONTAINER(n, struct source, node);
        if (strcmp(f->path, path) == 0) return f;
    }
    return NULL;
}

static void drop(struct source *f)
{
    if (f->watch) kt_file_watch_close(f->watch);
    kt_list_remove(&f->node);
    f->s->count--;
    free(f);
}

static void on_sign(void *ctx)
{
    struct source *f = ctx;
    f->signaled = true;
    kt_io_timer_set(f->s->io, &f->s->settle, kt_io_now(f->s->io) + KT_SOURCES_SETTLE_US);
}

static bool has_changed(const struct source *f)
{
    char *data = NULL;
    size_t len = 0;
    if (kt_file_read(f->s->io, f->path, KT_SCRIPT_MAX, &data, &len, NULL)) data = NULL;
    const bool changed = digest(data, len) != f->digest;
    free(data);
    return changed;
}

static void on_settled(void *ctx)
{
    struct kt_sources *s = ctx;
    bool changed = false;
    for (struct kt_list *n = s->files.next; n != &s->files; n = n->next) {
        struct source *f = KT_CONTAINER(n, struct source, node);
        if (f->signaled && has_changed(f)) changed = true;
        f->signaled = false;
    }
    if (changed) s->changed(s->ctx);
}

static struct source *add(struct kt_sources *s, const char *path)
{
    struct kt_err err = {0};
    if (s->count == KT_SOURCES_MAX) {
        if (!s->told)
            kt_log(s->log, KT_LOG_WARN, "--watch: more than %u files; the others are not watched",
                KT_SOURCES_MAX);
        s->told = true;
        return NULL;
    }
    struct source *f = calloc(1, sizeof *f + strlen(path) + 1);
    if (!f) return NULL;
    strcpy(f->path, path);
    f->s = s;
    kt_list_push(&s->files, &f->node);
    s->count++;
    if (kt_file_watch(s->io, path, on_sign, f, &f->watch, &err)) {
        f->watch = NULL;
        kt_log(s->log, KT_LOG_DEBUG, "--watch: %s", err.text);
    }
    return f;
}

void kt_sources_read(void *ctx, const char *path, const void *data, size_t len)
{
    struct kt_sources *s = ctx;
    struct source *f = find(s, path);
    if (!f) f = add(s, path);
    if (!f) return;
    f->digest = digest(data, len);
    f->fresh = true;
}

void kt_sources_begin(struct kt_sources *s)
{
    for (struct kt_list *n = s->files.next; n != &s->files; n = n->next)
        KT_CONTAINER(n, struct source, node)->fresh = false;
}

void kt_sources_end(struct kt_sources *s, bool worked)
{
    for (struct kt_list *n = s->files.next, *next; worked && n != &s->files; n = next) {
        struct source *f = KT_CONTAINER(n, struct source, node);
        next = n->next;
        if (!f->fresh) drop(f);
    }
}

struct kt_sources *kt_sources_new(
    struct kt_io *io, const struct kt_log *log, void (*changed)(void *ctx), void *ctx)
{
    struct kt_sources *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    *s = (struct kt_sources){.io = io, .log = log, .changed = changed, .ctx = ctx};
    kt_list_init(&s->files);
    kt_timer_init(&s->settle, on_settled, s);
    return s;
}

void kt_sources_free(struct kt_sources *s)
{
    if (!s) return;
    kt_io_timer_cancel(s->io, &s->settle);
    while (!kt_list_empty(&s->files)) drop(KT_CONTAINER(s->files.next, struct source, node));
    free(s);
}
