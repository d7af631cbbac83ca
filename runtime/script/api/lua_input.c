/* Standard input and the terminal, for the verbs that a person uses (kt top, kt repl).
 *
 * Invariant: input is read only while a task waits for it. */
#include <stdlib.h>
#include <string.h>
#include "script/core/handle.h"
#include "script/api/api.h"

#define INPUT "input"

struct input {
    struct kt_input *at; /* NULL: closed */
    struct kt_task *task;
    bool ended;
};

/* Input that has arrived, on its way to the task. */
struct arrived {
    size_t n;
    char data[];
};

static void on_input(void *ctx, const char *data, size_t n)
{
    struct input *in = ctx;
    struct kt_task *t = in->task;
    struct arrived *a = malloc(sizeof *a + n);
    in->task = NULL;
    in->ended = n == 0;
    kt_input_read(in->at, false);
    if (a) {
        a->n = n;
        if (n) memcpy(a->data, data, n);
        kt_task_bring(t, a);
    }
    kt_task_wake(t, a ? 0 : KT_ENOMEM, NULL);
}

/* core.open_input(keys) → input | nil, err; keys: of a terminal, one by one, on a screen of its own */
static int open_input(lua_State *L)
{
    struct kt_err err = {0};
    struct input *in = kt_handle_push(L, INPUT, sizeof *in, 0);
    const int rc =
        kt_input_open(kt_runtime_io(kt_runtime_of(L)), lua_toboolean(L, 1), on_input, in, &in->at, &err);
    return rc ? kt_lua_err_return(L, rc, err.text) : 1;
}

static void cancel(struct kt_task *t)
{
    struct input *in = kt_task_op(t);
    in->task = NULL;
    if (in->at) kt_input_read(in->at, false);
}

static int finish(lua_State *L, struct kt_task *t)
{
    const struct arrived *a = kt_task_brought(t);
    lua_pushlstring(L, a->data, a->n);
    return 1;
}

/* core.read_input(input [, seconds]) → text, "" at the end | nil, err */
static int read_input(lua_State *L)
{
    struct kt_task *t = kt_task_need(L, "kt.core.read_input");
    struct input *in = luaL_checkudata(L, 1, INPUT);
    const lua_Number seconds = luaL_optnumber(L, 2, -1);
    if (!in->at || in->ended) {
        lua_pushliteral(L, "");
        return 1;
    }
    in->task = t;
    kt_input_read(in->at, true);
    return kt_task_wait(L, t,
        &(struct kt_wait){.what = "kt.core.read_input",
            .cancel = cancel,
            .finish = finish,
            .op = in,
            .timeout_us = seconds < 0 ? (uint64_t)KT_TIME_NEVER : (uint64_t)(seconds * 1e6)});
}

/* core.input_size(input) → columns, rows | nothing */
static int input_size(lua_State *L)
{
    const struct input *in = luaL_checkudata(L, 1, INPUT);
    unsigned columns, rows;
    if (!in->at || !kt_input_size(in->at, &columns, &rows)) return 0;
    lua_pushinteger(L, columns);
    lua_pushinteger(L, rows);
    return 2;
}

/* core.close_input(input): restores the terminal. Never raises, as it is also the finalizer. */
static int close_input(lua_State *L)
{
    struct input *in = lua_touserdata(L, 1);
    if (in->at) kt_input_close(in->at);
    in->at = NULL;
    return 0;
}

void kt_lua_input(lua_State *L)
{
    static const luaL_Reg functions[] = {{"open_input", open_input}, {"read_input", read_input},
        {"input_size", input_size}, {"close_input", close_input}, {NULL, NULL}};
    kt_handle_type(L, &(struct kt_handle_type){.name = INPUT, .gc = close_input, .hidden = true});
    luaL_setfuncs(L, functions, 0);
}
