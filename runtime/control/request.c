/* Parses requests: a strict object, so that a misspelled key is an error and not silently ignored. */
#include "control/request.h"
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/json.h"

#define ARGS_MAX 16u

/* Whether the object has an earlier item with the key of this one. */
static bool repeats(const cJSON *object, const cJSON *item)
{
    for (const cJSON *other = object->child; other != item; other = other->next)
        if (strcmp(other->string, item->string) == 0) return true;
    return false;
}

/* Copies the id: an integer, or a short string. */
static int read_id(struct kt_control_request *out, const cJSON *id, struct kt_err *err)
{
    /* Beyond these bounds a double may be another integer than the text. */
    const bool integer = cJSON_IsNumber(id) && id->valuedouble >= -9007199254740991.0 &&
                         id->valuedouble <= 9007199254740991.0 &&
                         id->valuedouble == (double)(int64_t)id->valuedouble;
    if (!integer && !(cJSON_IsString(id) && strlen(id->valuestring) <= KT_CONTROL_ID_MAX))
        return kt_err_set(err, KT_EINVAL,
            "id: expected an integer below 2^53 or a string of at most %u bytes", KT_CONTROL_ID_MAX);
    if (integer) {
        snprintf(out->id, sizeof out->id, "%lld", (long long)id->valuedouble);
        return 0;
    }
    if (cJSON_PrintPreallocated((cJSON *)(uintptr_t)id, out->id, (int)sizeof out->id, false)) return 0;
    out->id[0] = '\0';
    return kt_err_set(err, KT_EINVAL, "id: too long");
}

static int read_command(struct kt_control_request *out, const cJSON *cmd, struct kt_err *err)
{
    if (!cJSON_IsString(cmd)) return kt_err_set(err, KT_EINVAL, "cmd: expected the name of a command");
    snprintf(out->cmd, sizeof out->cmd, "%s", cmd->valuestring);
    return 0;
}

static int read_protocol(const cJSON *protocol, struct kt_err *err)
{
    if (cJSON_IsNumber(protocol) && protocol->valuedouble == KT_CONTROL_PROTOCOL) return 0;
    return kt_err_set(err, KT_ENOTSUP, "protocol: this kt speaks version %d", KT_CONTROL_PROTOCOL);
}

static int read_args(struct kt_control_request *out, const cJSON *args, struct kt_err *err)
{
    if (!cJSON_IsObject(args)) return kt_err_set(err, KT_EINVAL, "args: expected an object");
    size_t n = 0;
    for (const cJSON *item = args->child; item; item = item->next) {
        if (++n > ARGS_MAX) return kt_err_set(err, KT_EINVAL, "args: expected at most %u", ARGS_MAX);
        if (repeats(args, item)) return kt_err_set(err, KT_EINVAL, "args: %.32s: given twice", item->string);
    }
    out->args = args;
    return 0;
}

static int read_key(struct kt_control_request *out, const cJSON *item, struct kt_err *err)
{
    const char *key = item->string;
    if (strcmp(key, "id") == 0) return read_id(out, item, err);
    if (strcmp(key, "cmd") == 0) return read_command(out, item, err);
    if (strcmp(key, "args") == 0) return read_args(out, item, err);
    if (strcmp(key, "protocol") == 0) return read_protocol(item, err);
    return kt_err_set(
        err, KT_EINVAL, "%.32s: unknown key; expected \"id\", \"cmd\", \"args\" or \"protocol\"", key);
}

static int read_object(struct kt_control_request *out, const cJSON *tree, struct kt_err *err)
{
    struct kt_err first = {0};
    if (!cJSON_IsObject(tree)) return kt_err_set(err, KT_EINVAL, "expected a JSON object");
    for (const cJSON *item = tree->child; item; item = item->next) { /* all, so that an error has the id */
        struct kt_err wrong = {0};
        if (read_key(out, item, &wrong) && !first.code) first = wrong;
        if (!first.code && repeats(tree, item))
            kt_err_set(&first, KT_EINVAL, "%.32s: given twice", item->string);
    }
    if (first.code) return kt_err_set(err, first.code, "%s", first.text);
    if (!out->cmd[0]) return kt_err_set(err, KT_EINVAL, "cmd: missing");
    return 0;
}

int kt_control_request_parse(struct kt_control_request *out, const char *line, size_t len, struct kt_err *err)
{
    *out = (struct kt_control_request){0};
    if (len > KT_CONTROL_LINE)
        return kt_err_set(err, KT_ELIMIT, "a request is at most %u bytes long", KT_CONTROL_LINE);
    int rc = kt_json_parse(line, len, &out->tree, err);
    if (rc == 0) rc = read_object(out, out->tree, err);
    if (rc) kt_control_request_free(out);
    return rc;
}

void kt_control_request_free(struct kt_control_request *r)
{
    cJSON_Delete(r->tree);
    r->tree = NULL;
    r->args = NULL;
}

/* ---- arguments ---- */

bool kt_control_args_known(const struct kt_control_request *r, const char *const *known, struct kt_err *err)
{
    for (const cJSON *item = r->args ? r->args->child : NULL; item; item = item->next) {
        size_t i = 0;
        while (known[i] && strcmp(known[i], item->string) != 0) i++;
        if (known[i]) continue;
        kt_err_set(err, KT_EINVAL, "%s: unknown argument \"%.32s\"", r->cmd, item->string);
        return false;
    }
    return true;
}

static const cJSON *arg(const struct kt_control_request *r, const char *name)
{
    return r->args ? cJSON_GetObjectItemCaseSensitive(r->args, name) : NULL;
}

bool kt_control_arg_given(const struct kt_control_request *r, const char *name)
{
    return arg(r, name) != NULL;
}

const char *kt_control_arg_text(const struct kt_control_request *r, const char *name)
{
    return cJSON_GetStringValue(arg(r, name));
}

bool kt_control_arg_integer(
    const struct kt_control_request *r, const char *name, int64_t min, int64_t max, int64_t *out)
{
    const cJSON *item = arg(r, name);
    if (!cJSON_IsNumber(item) || item->valuedouble < (double)min || item->valuedouble > (double)max)
        return false;
    *out = (int64_t)item->valuedouble;
    return (double)*out == item->valuedouble;
}

char *kt_control_args_json(const struct kt_control_request *r)
{
    return r->args ? cJSON_PrintUnformatted(r->args) : strdup("{}");
}
