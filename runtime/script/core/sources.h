/* The source files of a script, watched for changes (kt run --watch): the script, and the modules that it requires,
 * also those that it has looked for in vain. */
#ifndef KT_SCRIPT_CORE_SOURCES_H
#define KT_SCRIPT_CORE_SOURCES_H

#include <stdbool.h>
#include <stddef.h>

struct kt_io;
struct kt_log;
struct kt_sources;

/* Files beyond it are not watched, and the log says so. */
#define KT_SOURCES_MAX 256u
/* A change counts once no other has followed for this long, as editors and programs write in several steps. */
#define KT_SOURCES_SETTLE_US 100000u

/* changed: called from the loop, when the content of a file is not what was last loaded. NULL: out of memory. Free with
 * kt_sources_free. */
struct kt_sources *kt_sources_new(
    struct kt_io *io, const struct kt_log *log, void (*changed)(void *ctx), void *ctx);
/* NULL is allowed. */
void kt_sources_free(struct kt_sources *s);

/* A load begins and ends. After one that worked, only the files that it has read are watched; else all of them. */
void kt_sources_begin(struct kt_sources *s);
void kt_sources_end(struct kt_sources *s, bool worked);
/* A file has been read: its content, or NULL if it could not be. ctx: the kt_sources. */
void kt_sources_read(void *ctx, const char *path, const void *data, size_t len);

#endif
