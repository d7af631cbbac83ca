/* The commands of the control socket.
 *
 * A command answers at once, or asks the scripts (ask.h): the running one, and for some commands those that a reload
 * has replaced and that still have conns. Invariant: a call is in k->calls from its request until its answer, or until
 * its client has gone; so no client is answered twice, or after its end. */
#include "control/control.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/list.h"
#include "base/log.h"
#include "control/folder.h"
#include "control/quote.h"
#include "control/request.h"
#include "control/server.h"
#include "control/trace.h"
#include "io/io.h"
#include "link/tap.h"
#include "script/core/ask.h"
#include "script/core/events.h"
#include "script/core/logger.h"
#include "script/core/supervisor.h"

#define ASK_US                                                                                               \
    5000000u /* for what does not wait: a script that is busy for longer is stopped by its watchdog */
#define EVAL_S 10
#define EVAL_MAX_S 600
#define ROWS_MAX 5000 /* of conns in a status */

struct call;

/* The question to one script, and its answer. */
struct part {
    struct call *call;
    struct kt_ask *ask; /* NULL: answered */
    int code;
    char *text;
    size_t len;
};

struct call {
    struct kt_list node;
    struct kt_control *k;
    struct kt_control_client *client;
    const struct command *cmd;
    struct kt_events_listener listener; /* of `events` */
    struct kt_control_trace *trace;     /* of `trace` */
    size_t waiting;                     /* parts without an answer */
    size_t n;
    struct part parts[1 + KT_REPLACED_MAX]; /* the running script's first */
};

struct kt_control {
    struct kt_io *io;
    struct kt_supervisor *sv;
    struct kt_control_server *server;
    struct kt_list calls;
    uint64_t born;
    long pid;
    bool allow_eval;
    char name[64];
    char path[KT_CONTROL_PATH];
};

struct command {
    const char *name;
    const char *args[3]; /* known arguments; ends with NULL */
    void (*run)(struct call *call, const struct kt_control_request *r);
    void (*finish)(struct call *call); /* once all parts have their answers; NULL: it asks no script */
};

/* ---- calls ---- */

static void free_call(struct call *call)
{
    kt_list_remove(&call->node);
    kt_events_unlisten(&call->listener);
    kt_control_trace_end(call->trace);
    for (size_t i = 0; i < call->n; i++) {
        if (call->parts[i].ask) kt_ask_cancel(call->parts[i].ask);
        free(call->parts[i].text);
    }
    free(call);
}

static void answer(struct call *call, const char *json, size_t len)
{
    struct kt_control_client *c = call->client;
    kt_control_answer(c, json, len);
    free_call(call);
}

static void refuse(struct call *call, int code, const char *text)
{
    struct kt_control_client *c = call->client;
    kt_control_refuse(c, code, text);
    free_call(call);
}

/* ---- asking scripts ---- */

static void on_part(void *ctx, int code, const char *text, size_t len)
{
    struct part *p = ctx;
    struct call *call = p->call;
    p->ask = NULL;
    p->code = code;
    p->text = strndup(text, len);
    p->len = p->text ? len : 0;
    if (!p->text) p->code = KT_ENOMEM;
    if (--call->waiting == 0) call->cmd->finish(call);
}

static void ask(struct call *call, struct kt_runtime *rt, const char *args, uint64_t timeout_us)
{
    struct part *p = &call->parts[call->n++];
    const struct kt_ask_opts opts = {.command = call->cmd->name,
        .args = args,
        .len = strlen(args),
        .timeout_us = timeout_us,
        .done = on_part,
        .ctx = p};
    p->call = call;
    p->code = kt_ask(rt, &opts, &p->ask);
    if (p->code == 0) call->waiting++;
}

/* Asks the running script, and those it has replaced if `all`. */
static void ask_scripts(struct call *call, const struct kt_control_request *r, bool all, uint64_t timeout_us)
{
    struct kt_supervisor *sv = call->k->sv;
    char *args = kt_control_args_json(r);
    if (!args) {
        refuse(call, KT_ENOMEM, kt_strerror(KT_ENOMEM));
        return;
    }
    ask(call, kt_supervisor_runtime(sv), args, timeout_us);
    for (size_t i = 0; all && i < KT_REPLACED_MAX; i++) {
        struct kt_runtime *old = kt_supervisor_replaced(sv, i);
        if (!old) break;
        ask(call, old, args, timeout_us);
    }
    free(args);
    if (call->waiting == 0) call->cmd->finish(call);
}

static const char *part_text(const struct part *p)
{
    return p->text ? p->text : kt_strerror(p->code);
}

/* The answer is that of the script which has one; else why there is none. */
static void finish_any(struct call *call)
{
    const struct part *best = &call->parts[0];
    for (size_t i = 0; i < call->n && best->code; i++) {
        const struct part *p = &call->parts[i];
        if (p->code == 0 || (best->code == KT_ENOENT && p->code != KT_ENOENT)) best = p;
    }
    if (best->code)
        refuse(call, best->code, part_text(best));
    else
        answer(call, best->text, best->len);
}

/* ---- hello, status ---- */

/* Writes the facts known without asking the script, as an object without its closing brace. Returns their length. */
static size_t facts(const struct kt_control *k, char *out, size_t size)
{
    const struct kt_logger *logger = kt_supervisor_logger(k->sv);
    char name[160];
    return (size_t)snprintf(out, size,
        "{\"protocol\":%d,\"version\":\"%s\",\"name\":%s,\"pid\":%ld,\"uptime\":%.3f,\"log_level\":\"%s\","
        "\"conns\":%zu,\"ending\":%s,\"eval\":%s",
        KT_CONTROL_PROTOCOL, KT_VERSION, kt_control_quote(name, sizeof name, k->name), k->pid,
        (double)(kt_io_now(k->io) - k->born) / 1e6, kt_log_level_name(logger->log.level),
        kt_supervisor_pipes(k->sv), kt_supervisor_ending(k->sv) ? "true" : "false",
        k->allow_eval ? "true" : "false");
}

static void run_hello(struct call *call, const struct kt_control_request *r)
{
    char text[640];
    (void)r;
    const size_t len = facts(call->k, text, sizeof text - 1);
    text[len] = '}';
    answer(call, text, len + 1);
}

static void run_status(struct call *call, const struct kt_control_request *r)
{
    int64_t max;
    if (!kt_control_arg_given(r, "max") || kt_control_arg_integer(r, "max", 0, ROWS_MAX, &max))
        ask_scripts(call, r, true, ASK_US);
    else
        refuse(call, KT_EINVAL, "max: expected an integer from 0 to 5000");
}

/* facts, "script": that of the running one, "replaced": [those of the others] */
static void finish_status(struct call *call)
{
    static const char script[] = ",\"script\":", replaced[] = ",\"replaced\":[";
    char head[640];
    size_t len = facts(call->k, head, sizeof head), size = len + sizeof script + sizeof replaced + 3;
    if (call->parts[0].code) {
        refuse(call, call->parts[0].code, part_text(&call->parts[0]));
        return;
    }
    for (size_t i = 0; i < call->n; i++) size += call->parts[i].len + 1;
    char *out = malloc(size);
    if (!out) {
        refuse(call, KT_ENOMEM, kt_strerror(KT_ENOMEM));
        return;
    }
    len = (size_t)snprintf(out, size, "%s%s%s%s", head, script, call->parts[0].text, replaced);
    bool first = true;
    for (size_t i = 1; i < call->n; i++) {
        const struct part *p = &call->parts[i];
        if (p->code) continue; /* it has just ended */
        len += (size_t)snprintf(out + len, size - len, "%s%s", first ? "" : ",", p->text);
        first = false;
    }
    len += (size_t)snprintf(out + len, size - len, "]}");
    answer(call, out, len);
    free(out);
}

/* ---- reload, drain, log ---- */

static void run_reload(struct call *call, const struct kt_control_request *r)
{
    (void)r;
    if (kt_supervisor_ending(call->k->sv))
        refuse(call, KT_ECLOSED, "the process is shutting down");
    else
        kt_supervisor_ask_reload(call->k->sv); /* answered by kt_control_reloaded */
}

void kt_control_reloaded(struct kt_control *k, int code, const char *text)
{
    if (!k) return;
    for (struct kt_list *n = k->calls.next, *next; n != &k->calls; n = next) {
        struct call *call = KT_CONTAINER(n, struct call, node);
        next = n->next;
        if (call->cmd->run != run_reload) continue;
        char quoted[2048];
        kt_control_quote(quoted, sizeof quoted, text);
        if (code)
            refuse(call, code, text);
        else
            answer(call, quoted, strlen(quoted));
    }
}

static void run_drain(struct call *call, const struct kt_control_request *r)
{
    struct kt_supervisor *sv = call->k->sv;
    char text[96];
    (void)r;
    const int len = snprintf(text, sizeof text, "{\"conns\":%zu,\"seconds\":%.3f}", kt_supervisor_pipes(sv),
        (double)kt_runtime_drain_us(kt_supervisor_runtime(sv)) / 1e6);
    answer(call, text, (size_t)len);
    kt_supervisor_end(sv, "kt drain");
}

static void run_log(struct call *call, const struct kt_control_request *r)
{
    enum kt_log_level level;
    struct kt_supervisor *sv = call->k->sv;
    const char *name = kt_control_arg_text(r, "level");
    char text[32];
    if (kt_control_arg_given(r, "level")) {
        if (!name || !kt_log_level_parse(name, &level)) {
            refuse(call, KT_EINVAL, "level: expected one of debug, info, warn, error, quiet");
            return;
        }
        kt_supervisor_set_log_level(sv, level);
    }
    const int len =
        snprintf(text, sizeof text, "\"%s\"", kt_log_level_name(kt_supervisor_logger(sv)->log.level));
    answer(call, text, (size_t)len);
}

/* ---- events ---- */

#define MEMBER 408u /* bytes of `,"pool":"…"` and the like, beyond which the text is cut */

static void on_event(void *ctx, const struct kt_event *e)
{
    struct call *call = ctx;
    char text[2048], pool[MEMBER], link[MEMBER], conn[MEMBER], peer[MEMBER], json[4096];
    const int len = snprintf(json, sizeof json,
        "{\"type\":\"%s\",\"time\":%.3f%s%s%s%s,\"failed\":%s,\"text\":%s}", kt_event_name(e->type),
        (double)kt_io_wall(call->k->io) / 1e6, kt_control_member(pool, sizeof pool, "pool", e->pool),
        kt_control_member(link, sizeof link, "link", e->link),
        kt_control_member(conn, sizeof conn, "conn", e->conn),
        kt_control_member(peer, sizeof peer, "peer", e->peer), e->failed ? "true" : "false",
        kt_control_quote(text, sizeof text, e->text));
    kt_control_stream(call->client, "event", json, (size_t)len);
}

static void run_events(struct call *call, const struct kt_control_request *r)
{
    (void)r;
    call->listener.fn = on_event;
    call->listener.ctx = call;
    kt_control_stream_begin(call->client, KT_CONTROL_OUT);
    kt_events_listen(kt_supervisor_events(call->k->sv), &call->listener);
}

/* ---- trace ---- */

static void run_trace(struct call *call, const struct kt_control_request *r)
{
    const char *name = kt_control_arg_text(r, "link");
    struct kt_tap *tap = name ? kt_runtime_tap(kt_supervisor_runtime(call->k->sv), name) : NULL;
    if (!name) {
        refuse(call, KT_EINVAL,
            "link: expected the name of a link or of a listener for links, as kt status shows it");
    } else if (!tap) {
        refuse(call, KT_ENOENT, "no open link of that name, nor a listener for links; kt status shows them");
    } else if (kt_tap_on(tap)) {
        refuse(call, KT_EINUSE, "it is already being traced");
    } else if (!(call->trace = kt_control_trace_begin(call->k->io, tap, call->client))) {
        refuse(call, KT_ENOMEM, kt_strerror(KT_ENOMEM));
    } else {
        kt_control_stream_begin(call->client, KT_CONTROL_STREAM_OUT);
    }
}

/* ---- close, eval ---- */

static void run_close(struct call *call, const struct kt_control_request *r)
{
    int64_t conn;
    if (kt_control_arg_integer(r, "conn", 1, INT64_C(1) << 53, &conn))
        ask_scripts(call, r, true, ASK_US);
    else
        refuse(call, KT_EINVAL, "conn: expected the number of a conn or a stream, as kt status shows it");
}

static void run_eval(struct call *call, const struct kt_control_request *r)
{
    int64_t seconds = EVAL_S;
    if (!call->k->allow_eval)
        refuse(call, KT_EACCES, "eval is off; start kt with --allow-eval");
    else if (!kt_control_arg_text(r, "code"))
        refuse(call, KT_EINVAL, "code: expected a string");
    else if (kt_control_arg_given(r, "timeout") &&
             !kt_control_arg_integer(r, "timeout", 1, EVAL_MAX_S, &seconds))
        refuse(call, KT_EINVAL, "timeout: expected an integer from 1 to 600 seconds");
    else
        ask_scripts(call, r, false, (uint64_t)seconds * 1000000u);
}

/* ---- requests ---- */

static const struct command commands[] = {
    {"hello", {NULL}, run_hello, NULL},
    {"status", {"max", NULL}, run_status, finish_status},
    {"reload", {NULL}, run_reload, NULL},
    {"drain", {NULL}, run_drain, NULL},
    {"log", {"level", NULL}, run_log, NULL},
    {"events", {NULL}, run_events, NULL},
    {"trace", {"link", NULL}, run_trace, NULL},
    {"close", {"conn", NULL}, run_close, finish_any},
    {"eval", {"code", "timeout", NULL}, run_eval, finish_any},
    {0},
};

static void unknown(struct kt_control_client *c, const char *name)
{
    char text[512];
    size_t len = (size_t)snprintf(text, sizeof text, "unknown command \"%s\"; expected one of", name);
    for (const struct command *cmd = commands; cmd->name; cmd++)
        len +=
            (size_t)snprintf(text + len, sizeof text - len, "%s %s", cmd == commands ? "" : ",", cmd->name);
    kt_control_refuse(c, KT_EINVAL, text);
}

static void on_request(void *ctx, struct kt_control_client *c, const struct kt_control_request *r)
{
    struct kt_control *k = ctx;
    struct kt_err err = {0};
    const struct command *cmd = commands;
    while (cmd->name && strcmp(cmd->name, r->cmd) != 0) cmd++;
    if (!cmd->name) {
        unknown(c, r->cmd);
        return;
    }
    if (!kt_control_args_known(r, cmd->args, &err)) {
        kt_control_refuse(c, err.code, err.text);
        return;
    }
    struct call *call = calloc(1, sizeof *call);
    if (!call) {
        kt_control_refuse(c, KT_ENOMEM, kt_strerror(KT_ENOMEM));
        return;
    }
    call->k = k;
    call->client = c;
    call->cmd = cmd;
    kt_list_init(&call->listener.node);
    kt_list_push(&k->calls, &call->node);
    cmd->run(call, r);
}

static void on_gone(void *ctx, struct kt_control_client *c)
{
    struct kt_control *k = ctx;
    for (struct kt_list *n = k->calls.next, *next; n != &k->calls; n = next) {
        struct call *call = KT_CONTAINER(n, struct call, node);
        next = n->next;
        if (call->client == c) free_call(call);
    }
}

/* ---- life ---- */

/* Tries NAME.sock, NAME-2.sock, ... The first that no other kt has is ours. */
static int open_default(struct kt_control *k, const struct kt_control_events *events, struct kt_err *err)
{
    const struct kt_log *log = &kt_supervisor_logger(k->sv)->log;
    int rc = KT_EINUSE;
    for (unsigned n = 1; rc == KT_EINUSE && n <= KT_CONTROL_SAME_MAX; n++) {
        rc = kt_control_path(k->name, n, k->path, err);
        if (rc == 0) rc = kt_control_server_open(k->io, log, k->path, events, k, &k->server, err);
    }
    return rc;
}

int kt_control_open(const struct kt_control_opts *opts, struct kt_control **out, struct kt_err *err)
{
    static const struct kt_control_events events = {.request = on_request, .gone = on_gone};
    const struct kt_log *log = &kt_supervisor_logger(opts->sv)->log;
    *out = NULL;
    struct kt_control *k = calloc(1, sizeof *k);
    if (!k) return kt_err_set(err, KT_ENOMEM, "%s", kt_strerror(KT_ENOMEM));
    k->io = opts->io;
    k->sv = opts->sv;
    k->pid = opts->pid;
    k->allow_eval = opts->allow_eval;
    k->born = kt_io_now(opts->io);
    kt_list_init(&k->calls);
    snprintf(k->name, sizeof k->name, "%s", opts->name);
    int rc;
    if (opts->path) {
        snprintf(k->path, sizeof k->path, "%s", opts->path);
        rc = kt_control_server_open(k->io, log, opts->path, &events, k, &k->server, err);
    } else {
        struct kt_err why = {0};
        rc = open_default(k, &events, &why);
        if (rc) kt_log(log, KT_LOG_DEBUG, "no control socket: %s", why.text);
    }
    if (rc == 0) {
        kt_log(log, KT_LOG_DEBUG, "control socket at %s", k->path);
        *out = k;
        return 0;
    }
    free(k);
    return opts->path ? rc : 0;
}

void kt_control_close(struct kt_control *k)
{
    if (!k) return;
    while (!kt_list_empty(&k->calls)) free_call(KT_CONTAINER(k->calls.next, struct call, node));
    kt_control_server_close(k->server);
    free(k);
}
