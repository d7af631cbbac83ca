/* A request on the control socket: one line with a JSON object (docs/control.md).
 *
 *     {"id": 1, "cmd": "log", "args": {"level": "debug"}}
 *
 * The text is hostile until it is parsed. */
#ifndef KT_CONTROL_REQUEST_H
#define KT_CONTROL_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

struct cJSON;

#define KT_CONTROL_PROTOCOL 1        /* the version of this protocol */
#define KT_CONTROL_LINE (64u * 1024) /* longest request, in bytes, without its newline */
#define KT_CONTROL_COMMAND_MAX 32u   /* longer than the name of any command */
#define KT_CONTROL_ID_MAX 64u        /* longest id, in bytes */

struct kt_control_request {
    char cmd[KT_CONTROL_COMMAND_MAX + 1]; /* a longer one is cut */
    char id[6 * KT_CONTROL_ID_MAX + 3];   /* as JSON, to be sent back; "" if the request has none */
    struct cJSON *tree;                   /* freed with kt_control_request_free */
    const struct cJSON *args;             /* an object, or NULL */
};

/* line has a NUL after its len bytes. 0, or a code and what is wrong with it; `id` is set even then if it could be
 * read, and `tree` is NULL. */
int kt_control_request_parse(
    struct kt_control_request *out, const char *line, size_t len, struct kt_err *err);
void kt_control_request_free(struct kt_control_request *r);

/* Arguments by name. */
/* Whether all of them are among `known`, a list of names that ends with NULL; sets err to the first that is not. */
bool kt_control_args_known(const struct kt_control_request *r, const char *const *known, struct kt_err *err);
bool kt_control_arg_given(const struct kt_control_request *r, const char *name);
/* NULL if it is missing or not a string. Valid until the request is freed. */
const char *kt_control_arg_text(const struct kt_control_request *r, const char *name);
/* Whether it is there as an integer within the range, which *out then is. */
bool kt_control_arg_integer(
    const struct kt_control_request *r, const char *name, int64_t min, int64_t max, int64_t *out);
/* The arguments as a JSON object, malloc'd; NULL: out of memory. */
char *kt_control_args_json(const struct kt_control_request *r);

#endif
