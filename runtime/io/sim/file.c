/* Files. A host has those that were put there or made by its processes; it can also read this machine's, as
 * an option.
 *
 * Invariant: this machine's files are never changed; appending to one makes the host's own copy. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include "io/system.h"
#include "io/sim/internal.h"

#define REAL_MAX ((size_t)64 << 20)

struct sim_file {
    struct kt_list node; /* in host->files */
    char *path;
    uint8_t *data;
    size_t len;
};

/* A process watches a file. */
struct sim_file_watch {
    struct kt_file_watch watch;
    struct sim_io *p;
    struct kt_list node; /* in host->file_watches */
    struct kt_turn arrival;
    struct sim_grave grave;
    void (*fn)(void *ctx);
    void *ctx;
    char path[];
};

static void changed(struct kt_sim_host *h, const char *path)
{
    for (struct kt_list *n = h->file_watches.next; n != &h->file_watches; n = n->next) {
        struct sim_file_watch *w = KT_CONTAINER(n, struct sim_file_watch, node);
        if (strcmp(w->path, path) == 0) kt_sim_arrive(w->p, &w->arrival);
    }
}

static void on_arrival(void *ctx)
{
    struct sim_file_watch *w = ctx;
    w->fn(w->ctx);
}

static void destroy_watch(struct sim_grave *g)
{
    free(KT_CONTAINER(g, struct sim_file_watch, grave));
}

static void watch_close(struct kt_file_watch *watch)
{
    struct sim_file_watch *w = (struct sim_file_watch *)(void *)watch;
    kt_list_remove(&w->node);
    kt_list_remove(&w->arrival.node);
    kt_sim_ended(w->p);
    kt_sim_bury(w->p->sim, &w->grave, destroy_watch);
}

static struct sim_file *find(const struct kt_sim_host *h, const char *path)
{
    for (struct kt_list *n = h->files.next; n != &h->files; n = n->next) {
        struct sim_file *f = KT_CONTAINER(n, struct sim_file, node);
        if (strcmp(f->path, path) == 0) return f;
    }
    return NULL;
}

static struct sim_file *find_or_add(struct kt_sim_host *h, const char *path)
{
    struct sim_file *f = find(h, path);
    if (f) return f;
    f = calloc(1, sizeof *f);
    if (f) f->path = strdup(path);
    if (!f || !f->path) {
        free(f);
        return NULL;
    }
    kt_list_init(&f->node);
    kt_list_push(&h->files, &f->node);
    return f;
}

/* Appends to the file. */
static int append(struct sim_file *f, const void *data, size_t len)
{
    uint8_t *more = realloc(f->data, f->len + len + 1);
    if (!more) return KT_ENOMEM;
    f->data = more;
    if (len) memcpy(f->data + f->len, data, len);
    f->len += len;
    return 0;
}

/* Whether the folder of a path exists: a host has those of its files, and the working folder. */
static bool has_folder(const struct kt_sim_host *h, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path) return true;
    const size_t n = (size_t)(slash - path);
    for (struct kt_list *i = h->files.next; i != &h->files; i = i->next) {
        const struct sim_file *f = KT_CONTAINER(i, struct sim_file, node);
        if (strncmp(f->path, path, n + 1) == 0) return true;
    }
    char folder[PATH_MAX];
    memcpy(folder, path, n);
    folder[n] = '\0';
    return h->real_files && kt_system_file_real(NULL, folder, false, folder, sizeof folder, NULL) == 0;
}

int kt_sim_file_watch(struct kt_io *io, const char *path, void (*fn)(void *ctx), void *ctx,
    struct kt_file_watch **out, struct kt_err *err)
{
    struct sim_io *p = kt_sim_io(io);
    char real[PATH_MAX];
    *out = NULL;
    if (kt_sim_alive(p, err) != 0) return KT_ECLOSED;
    const int rc = kt_sim_file_real(io, path, true, real, sizeof real, err);
    if (rc) return rc;
    if (!has_folder(p->host, real))
        return kt_err_set(err, KT_ENOENT, "%s: cannot be watched: no such file or directory", path);
    struct sim_file_watch *w = calloc(1, sizeof *w + strlen(real) + 1);
    if (!w) return kt_err_set(err, KT_ENOMEM, "out of memory");
    w->watch.close = watch_close;
    w->p = p;
    w->fn = fn;
    w->ctx = ctx;
    strcpy(w->path, real);
    kt_turn_init(&w->arrival, on_arrival, w);
    kt_list_init(&w->node);
    kt_list_push(&p->host->file_watches, &w->node);
    kt_sim_opened(p);
    *out = &w->watch;
    return 0;
}

int kt_sim_file_put(struct kt_sim_host *h, const char *path, const void *data, size_t len)
{
    struct sim_file *f = find_or_add(h, path);
    if (!f) return KT_ENOMEM;
    f->len = 0;
    const int rc = append(f, data, len);
    changed(h, path);
    return rc;
}

bool kt_sim_file_get(const struct kt_sim_host *h, const char *path, const void **data, size_t *len)
{
    const struct sim_file *f = find(h, path);
    if (!f) return false;
    *data = f->data;
    *len = f->len;
    return true;
}

static void drop(struct sim_file *f)
{
    kt_list_remove(&f->node);
    free(f->path);
    free(f->data);
    free(f);
}

bool kt_sim_file_remove(struct kt_sim_host *h, const char *path)
{
    struct sim_file *f = find(h, path);
    if (f) {
        drop(f);
        changed(h, path);
    }
    return f != NULL;
}

void kt_sim_files_free(struct kt_sim_host *h)
{
    while (!kt_list_empty(&h->files)) drop(KT_CONTAINER(h->files.next, struct sim_file, node));
}

int kt_sim_file_read(
    struct kt_io *io, const char *path, size_t max, char **data, size_t *len, struct kt_err *err)
{
    const struct kt_sim_host *h = kt_sim_io(io)->host;
    const struct sim_file *f = find(h, path);
    *data = NULL;
    *len = 0;
    if (!f && h->real_files) return kt_system_file_read(io, path, max, data, len, err);
    if (!f) return kt_err_set(err, KT_ENOENT, "%s: no such file", path);
    if (f->len > max) return kt_err_set(err, KT_ELIMIT, "%s: larger than %zu bytes", path, max);
    char *copy = malloc(f->len + 1);
    if (!copy) return kt_err_set(err, KT_ENOMEM, "%s: out of memory", path);
    if (f->len) memcpy(copy, f->data, f->len);
    copy[f->len] = '\0';
    *data = copy;
    *len = f->len;
    return 0;
}

/* Ends `out` before its last part; false if there is none to leave. */
static bool leave(char *out, size_t *len)
{
    const char *slash = strrchr(out, '/'), *last = slash ? slash + 1 : out;
    if (!*last || strcmp(last, "..") == 0) return false;
    *len = slash ? (size_t)(slash - out) : 0;
    if (slash == out) *len = 1; /* the root stays */
    out[*len] = '\0';
    return true;
}

int kt_sim_file_real(
    struct kt_io *io, const char *path, bool fresh, char *out, size_t size, struct kt_err *err)
{
    (void)io;
    (void)fresh;
    size_t len = 0;
    if (strlen(path) + 2 > size) return kt_err_set(err, KT_ELIMIT, "%s: the path is too long", path);
    if (path[0] == '/') out[len++] = '/';
    out[len] = '\0';
    for (const char *p = path; *p;) {
        const size_t n = strcspn(p, "/");
        const bool up = n == 2 && memcmp(p, "..", 2) == 0;
        if (n > 0 && !(n == 1 && *p == '.') && !(up && (leave(out, &len) || (out[0] == '/' && len == 1)))) {
            if (len > 0 && out[len - 1] != '/') out[len++] = '/';
            memcpy(out + len, p, n);
            len += n;
            out[len] = '\0';
        }
        p += n;
        while (*p == '/') p++;
    }
    return 0;
}

int kt_sim_file_append(struct kt_io *io, const char *path, const void *data, size_t len, struct kt_err *err)
{
    struct sim_io *p = kt_sim_io(io);
    char *real = NULL;
    size_t real_len = 0;
    if (kt_sim_alive(p, err) != 0) return KT_ECLOSED;
    bool copy = !find(p->host, path) && p->host->real_files;
    if (copy) {
        int code = kt_system_file_read(io, path, REAL_MAX, &real, &real_len, err);
        if (code && code != KT_ENOENT) return code;
    }
    struct sim_file *f = find_or_add(p->host, path);
    int code = f ? append(f, real, real_len) : KT_ENOMEM;
    if (!code) code = append(f, data, len);
    if (!code && len) changed(p->host, path);
    free(real);
    return code ? kt_err_set(err, code, "%s: out of memory", path) : 0;
}
