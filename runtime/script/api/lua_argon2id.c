/* kt.crypto.argon2id: deliberately slow, so it runs as work of the io, one call at a time. A client that may try
 * passwords could queue calls without end, so a script has at most CALLS_MAX.
 *
 * Invariant: the password and the result are only ever in the job, which is locked memory. */
#include <string.h>
#include "crypto/locked.h"
#include "crypto/primitives.h"
#include "script/core/handle.h"
#include "script/api/api.h"

#define WHAT "kt.crypto.argon2id"
#define PASSWORD_MAX 1024u
#define OUT_MAX 64u
#define MEMORY ((uint64_t)64 << 20)
#define MEMORY_MIN 8192u
#define MEMORY_MAX ((uint64_t)256 << 20)
#define CALLS_MAX 16u
#define TIMEOUT_US 30000000u

/* Belongs to the work; done reads it before it is freed. */
struct job {
    size_t password_len, size, memory;
    unsigned passes;
    int rc;
    uint8_t salt[KT_ARGON2_SALT], out[OUT_MAX];
    uint8_t password[PASSWORD_MAX];
};

/* Those of a script: a userdata, the function's upvalue. */
struct calls {
    unsigned n; /* in progress */
};

/* A call: userdata on its task's stack. */
struct call {
    struct calls *calls;
    struct kt_task *task;
    struct kt_work *work;
    struct job *job; /* NULL once the result was taken, or the work is over */
    char *secret;    /* where the result goes */
};

static void run(void *arg)
{
    struct job *j = arg;
    j->rc = kt_argon2id(
        j->out, j->size, (struct kt_bytes){j->password, j->password_len}, j->salt, j->passes, j->memory);
}

static void done(void *ctx)
{
    struct call *c = ctx;
    c->calls->n--;
    if (c->job->rc == 0) memcpy(c->secret, c->job->out, c->job->size);
    kt_task_wake(c->task, c->job->rc, c->job->rc ? WHAT ": out of memory" : NULL);
}

static void cancel(struct kt_task *t)
{
    const struct call *c = kt_task_op(t);
    c->calls->n--;
    kt_work_cancel(c->work);
}

/* Stack: the arguments, the secret, the call. */
static int finish(lua_State *L, struct kt_task *t)
{
    (void)t;
    lua_pushvalue(L, 4);
    return 1;
}

static struct kt_bytes arg(lua_State *L, int idx, bool secret)
{
    struct kt_bytes b = {0};
    if (secret || lua_type(L, idx) == LUA_TSTRING) b.data = kt_lua_secret_bytes(L, idx, &b.len);
    if (!b.data)
        kt_raise(L, WHAT ": argument %d: expected a string%s, got %s", idx, secret ? " or a secret" : "",
            kt_type_name(L, idx));
    return b;
}

/* kt.crypto.argon2id(password, salt [, { size = 32, passes = 3, memory = "64MiB", timeout = "30s" }])
 * → secret | nil, err */
static int argon2id(lua_State *L)
{
    struct kt_task *t = kt_task_need(L, WHAT);
    struct calls *calls = lua_touserdata(L, lua_upvalueindex(1));
    struct kt_opt_integer size = {.value = 32, .min = KT_ARGON2_OUT_MIN, .max = OUT_MAX};
    struct kt_opt_integer passes = {.value = 3, .min = 1, .max = 16};
    uint64_t memory = MEMORY, timeout = TIMEOUT_US;
    const struct kt_opt opts[] = {{"size", KT_OPT_INTEGER, &size}, {"passes", KT_OPT_INTEGER, &passes},
        {"memory", KT_OPT_SIZE, &memory}, {"timeout", KT_OPT_DURATION, &timeout}};
    lua_settop(L, 3);
    const struct kt_bytes password = arg(L, 1, true), salt = arg(L, 2, false);
    kt_opts_read(L, 3, WHAT, opts, sizeof opts / sizeof *opts);
    if (memory < MEMORY_MIN || memory > MEMORY_MAX) return kt_opts_wrong(L, 3, WHAT);
    if (salt.len != KT_ARGON2_SALT)
        return kt_raise(L, WHAT ": argument 2: expected a salt of %d bytes, got %I", (int)KT_ARGON2_SALT,
            (lua_Integer)salt.len);
    if (password.len > PASSWORD_MAX)
        return kt_lua_err_return(L, KT_ELIMIT,
            lua_pushfstring(L, WHAT ": the password has %I bytes; at most %d are allowed",
                (lua_Integer)password.len, (int)PASSWORD_MAX));
    if (calls->n == CALLS_MAX)
        return kt_lua_err_return(
            L, KT_ELIMIT, lua_pushfstring(L, WHAT ": limit of %d calls at a time reached", (int)CALLS_MAX));

    char *secret = kt_lua_secret_new(L, (size_t)size.value);
    struct call *c = lua_newuserdatauv(L, sizeof *c, 0);
    *c = (struct call){.calls = calls, .task = t, .secret = secret, .job = kt_locked_alloc(sizeof *c->job)};
    if (!c->job) return kt_lua_err_return(L, KT_ENOMEM, WHAT ": out of memory");
    struct job *j = c->job;
    j->size = (size_t)size.value;
    j->passes = (unsigned)passes.value;
    j->memory = (size_t)memory;
    j->password_len = password.len;
    memcpy(j->salt, salt.data, salt.len);
    if (password.len) memcpy(j->password, password.data, password.len);
    const struct kt_job job = {.run = run, .free = kt_locked_free, .arg = j};
    if (kt_work(kt_runtime_io(kt_task_runtime(t)), &job, done, c, &c->work)) {
        kt_locked_free(j);
        return kt_lua_err_return(L, KT_ENOMEM, WHAT ": out of memory");
    }
    calls->n++;
    return kt_task_wait(L, t,
        &(struct kt_wait){
            .what = WHAT,
            .cancel = cancel,
            .finish = finish,
            .op = c,
            .timeout_us = timeout,
        });
}

/* Adds it to the table on top of the stack. */
void kt_lua_argon2id(lua_State *L)
{
    struct calls *calls = lua_newuserdatauv(L, sizeof *calls, 0);
    calls->n = 0;
    lua_pushcclosure(L, argon2id, 1);
    lua_setfield(L, -2, "argon2id");
}
