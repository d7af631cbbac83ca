/* Whole runtimes within a spec, for what a process cannot show: failing allocations (on libuv), and runtimes
 * on simulated hosts.
 *
 *   spec_script.run { file =, memory =, unsafe =, fail_at =, fail_for =, seconds =, until_ms = }
 *     → { code =, said =, allocations =, bytes =, overrun = }
 *
 *   spec_script.reload { file =, other =, step = }
 *     → { failed =, code =, said =, held =, bytes = }
 *
 * reload: runs `file` under a supervisor and reloads it as `other` repeatedly. The first, then the step-th,
 * then the 2 step-th, … allocation of the reload fails, until a reload succeeds. failed: the number of failed
 * reloads; held: the largest change in allocated bytes that one of these caused.
 *
 * fail_at: the first of Lua's allocations that fails, counted from 1 since the runtime was made; fail_for:
 * how many fail in a row (0: all from then on); until_ms: end it then, if it is still running; seconds: fail
 * the spec after this long; unsafe: with os and io; line_max: bytes kept of each line. overrun: by how many
 * seconds at most a stopped slice exceeded its limit, as measured by the watchdog. said: the log, the output,
 * and why it did not start. code: the exit code, or 1. bytes: allocated after everything was freed.
 *
 *   r = spec_script.start(process, file, …)    a script with its arguments, on a process of spec_sim
 *   r:said() r:exited() r:free()               exited: the exit code, or nil; free: also frees the process */
#include <lauxlib.h>
#include <lua.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "crypto/crypto.h"
#include "io/uv/uv.h"
#include "script/api/bindings.h"
#include "script/core/logger.h"
#include "script/core/runtime.h"
#include "script/core/setup.h"
#include "script/core/supervisor.h"
#include "script/sandbox/guard.h"

struct world {
    uint64_t allocations, fail_at, fail_for;
    size_t bytes;
    char said[65536];
    size_t said_len, line_max;
    struct kt_io *io;
    struct kt_timer deadline;
    bool may_run_on, timed_out;

    /* reload */
    struct kt_supervisor *supervisor;
    struct kt_timer next;
    const char *file, *other;
    uint64_t step, failed;
    size_t held;
    int reloaded;
};

int luaopen_spec_script(lua_State *L);

static void *alloc(void *ctx, void *ptr, size_t old, size_t size)
{
    struct world *w = ctx;
    if (size == 0) {
        free(ptr);
        w->bytes -= old;
        return NULL;
    }
    if (size > old) {
        uint64_t n = ++w->allocations;
        if (w->fail_at && n >= w->fail_at && (!w->fail_for || n < w->fail_at + w->fail_for)) return NULL;
    }
    void *p = realloc(ptr, size);
    if (p) w->bytes += size - old;
    return p;
}

static void say(void *ctx, const char *text, size_t len)
{
    struct world *w = ctx;
    if (w->line_max && len > w->line_max) len = w->line_max;
    if (len > sizeof w->said - w->said_len) len = sizeof w->said - w->said_len;
    memcpy(w->said + w->said_len, text, len);
    w->said_len += len;
}

static void print(void *ctx, int fd, const char *text, size_t len)
{
    (void)fd;
    say(ctx, text, len);
}

static void on_deadline(void *ctx)
{
    struct world *w = ctx;
    w->timed_out = !w->may_run_on;
    kt_io_stop(w->io);
}

static int run_script(struct world *w, struct kt_runtime *rt, const char *file)
{
    int code, rc = kt_runtime_load_file(rt, file, 0, NULL);
    if (kt_runtime_exited(rt, &code)) return code;
    if (rc == 0) rc = kt_runtime_open(rt);
    if (rc == 0) {
        if (!kt_runtime_exited(rt, &code)) kt_io_run(w->io);
        kt_runtime_exited(rt, &code);
        return code;
    }
    say(w, kt_runtime_message(rt), strlen(kt_runtime_message(rt)));
    return 1;
}

static lua_Integer option(lua_State *L, const char *name)
{
    lua_getfield(L, 1, name);
    lua_Integer n = luaL_optinteger(L, -1, 0);
    lua_pop(L, 1);
    return n;
}

static int run(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_getfield(L, 1, "file");
    const char *file = luaL_checkstring(L, -1);
    struct world *w = lua_newuserdatauv(L, sizeof *w, 0);
    *w = (struct world){.fail_at = (uint64_t)option(L, "fail_at"),
        .fail_for = (uint64_t)option(L, "fail_for"),
        .line_max = (size_t)option(L, "line_max")};
    struct kt_logger logger;
    kt_logger_init(&logger, "s");
    kt_logger_to(&logger, say, w);
    if (kt_uv_new(&w->io, &logger.log, 0, NULL)) return luaL_error(L, "no io");
    kt_logger_set_io(&logger, w->io);
    kt_timer_init(&w->deadline, on_deadline, w);
    const uint64_t ms = (uint64_t)option(L, "until_ms");
    w->may_run_on = ms > 0;
    kt_io_timer_set(w->io, &w->deadline,
        kt_io_clock(w->io) + (ms ? ms * 1000u : (uint64_t)option(L, "seconds") * 1000000u));

    const struct kt_runtime_opts opts = {.io = w->io,
        .logger = &logger,
        .bind = kt_api_bind,
        .memory = (size_t)option(L, "memory"),
        .unsafe = option(L, "unsafe") != 0,
        .alloc = alloc,
        .alloc_ctx = w,
        .print = print,
        .print_ctx = w};
    struct kt_runtime *rt;
    struct kt_err err = {0};
    int code = 1;
    uint64_t overrun = 0;
    if (kt_runtime_new(&rt, &opts, &err)) {
        say(w, err.text, strlen(err.text));
    } else {
        code = run_script(w, rt, file);
        overrun = kt_guard_overrun_us(kt_runtime_guard(rt));
        kt_runtime_free(rt);
    }
    kt_io_timer_cancel(w->io, &w->deadline);
    kt_io_free(w->io);
    kt_logger_set_io(&logger, NULL);
    kt_logger_close(&logger);
    if (w->timed_out) return luaL_error(L, "%s did not end in time", file);

    lua_createtable(L, 0, 5);
    lua_pushinteger(L, code);
    lua_setfield(L, -2, "code");
    lua_pushlstring(L, w->said, w->said_len);
    lua_setfield(L, -2, "said");
    lua_pushnumber(L, (double)overrun / 1e6);
    lua_setfield(L, -2, "overrun");
    lua_pushinteger(L, (lua_Integer)w->allocations);
    lua_setfield(L, -2, "allocations");
    lua_pushinteger(L, (lua_Integer)w->bytes);
    lua_setfield(L, -2, "bytes");
    return 1;
}

/* ---- reload ---- */

static void swap_files(const struct world *w)
{
    char aside[512];
    snprintf(aside, sizeof aside, "%s.aside", w->file);
    rename(w->file, aside);
    rename(w->other, w->file);
    rename(aside, w->other);
}

/* One reload per turn, so that what a reload ends is freed before the next. */
static void on_next(void *ctx)
{
    struct world *w = ctx;
    const size_t before = w->bytes;
    w->allocations = 0;
    w->fail_at = 1 + w->failed * w->step;
    w->fail_for = 2; /* Lua tries again after a garbage collection */
    w->reloaded = kt_supervisor_reload(w->supervisor);
    w->fail_at = 0;
    if (w->reloaded == 0) {
        kt_io_timer_set(w->io, &w->deadline, kt_io_clock(w->io) + 100000u); /* the load may have taken long */
        return;
    }
    const size_t change = w->bytes > before ? w->bytes - before : before - w->bytes;
    if (change > w->held) w->held = change;
    w->failed++;
    kt_io_timer_set(w->io, &w->next, kt_io_now(w->io) + 1000u);
}

static int reload(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    struct world *w = lua_newuserdatauv(L, sizeof *w, 0);
    *w = (struct world){.step = (uint64_t)option(L, "step"), .may_run_on = true};
    lua_getfield(L, 1, "file");
    lua_getfield(L, 1, "other");
    w->file = luaL_checkstring(L, -2);
    w->other = luaL_checkstring(L, -1);
    struct kt_logger logger;
    kt_logger_init(&logger, "s");
    kt_logger_set_level(&logger, KT_LOG_WARN);
    kt_logger_to(&logger, say, w);
    if (kt_uv_new(&w->io, &logger.log, 0, NULL)) return luaL_error(L, "no io");
    kt_logger_set_io(&logger, w->io);
    kt_timer_init(&w->deadline, on_deadline, w);
    kt_timer_init(&w->next, on_next, w);
    const struct kt_supervisor_opts opts = {
        .runtime = {.io = w->io,
            .logger = &logger,
            .bind = kt_api_bind,
            .alloc = alloc,
            .alloc_ctx = w,
            .print = print,
            .print_ctx = w},
        .file = w->file,
    };
    struct kt_err err = {0};
    int code = 1;
    if (kt_supervisor_new(&w->supervisor, &opts, &err) == 0) {
        if (kt_supervisor_start(w->supervisor) == 0) {
            swap_files(w);
            kt_logger_set_level(&logger, KT_LOG_QUIET); /* there are many failures */
            kt_io_timer_set(w->io, &w->next, kt_io_now(w->io) + 1000u);
            code = kt_supervisor_run(w->supervisor);
        }
        kt_supervisor_free(w->supervisor);
    }
    kt_io_timer_cancel(w->io, &w->deadline);
    kt_io_timer_cancel(w->io, &w->next);
    kt_io_free(w->io);
    kt_logger_set_io(&logger, NULL);
    kt_logger_close(&logger);

    lua_createtable(L, 0, 5);
    lua_pushinteger(L, code);
    lua_setfield(L, -2, "code");
    lua_pushlstring(L, w->said, w->said_len);
    lua_setfield(L, -2, "said");
    lua_pushinteger(L, (lua_Integer)w->failed);
    lua_setfield(L, -2, "failed");
    lua_pushinteger(L, (lua_Integer)w->held);
    lua_setfield(L, -2, "held");
    lua_pushinteger(L, (lua_Integer)w->bytes);
    lua_setfield(L, -2, "bytes");
    return 1;
}

/* ---- on simulated hosts ---- */

#define GUEST "kt.spec.guest"

struct guest {
    struct world w;
    struct kt_logger logger;
    struct kt_supervisor *supervisor;
    char *argv[16]; /* anchored by the uservalue */
};

static int guest_start(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TLIGHTUSERDATA);
    struct kt_io *io = lua_touserdata(L, 1);
    const char *file = luaL_checkstring(L, 2);
    const int args = lua_gettop(L);
    struct guest *g = lua_newuserdatauv(L, sizeof *g, 1);
    memset(g, 0, sizeof *g);
    lua_createtable(L, args, 0);
    int argc = 0;
    for (int arg = 2; arg <= args && argc < 16; arg++) {
        if (arg > 2) g->argv[argc++] = (char *)(uintptr_t)luaL_checkstring(L, arg);
        lua_pushvalue(L, arg);
        lua_rawseti(L, -2, arg);
    }
    lua_setiuservalue(L, -2, 1);
    g->w.io = io;
    kt_logger_init(&g->logger, file);
    kt_logger_to(&g->logger, say, &g->w);
    kt_logger_set_io(&g->logger, io);
    const struct kt_supervisor_opts opts = {.runtime = {.io = io,
                                                .logger = &g->logger,
                                                .bind = kt_api_bind,
                                                .memory = (size_t)256 << 20,
                                                .alloc = alloc,
                                                .alloc_ctx = &g->w,
                                                .print = print,
                                                .print_ctx = &g->w},
        .file = file,
        .argc = argc,
        .argv = g->argv};
    struct kt_err err = {0};
    if (kt_supervisor_new(&g->supervisor, &opts, &err)) return luaL_error(L, "%s", err.text);
    luaL_setmetatable(L, GUEST);
    if (kt_supervisor_start(g->supervisor) == 0) return 1;
    lua_pushnil(L);
    lua_pushstring(L, kt_supervisor_message(g->supervisor));
    return 2;
}

static int guest_said(lua_State *L)
{
    const struct guest *g = luaL_checkudata(L, 1, GUEST);
    lua_pushlstring(L, g->w.said, g->w.said_len);
    return 1;
}

/* Of the script's state. */
static int guest_bytes(lua_State *L)
{
    const struct guest *g = luaL_checkudata(L, 1, GUEST);
    lua_pushinteger(L, (lua_Integer)g->w.bytes);
    return 1;
}

static int guest_exited(lua_State *L)
{
    const struct guest *g = luaL_checkudata(L, 1, GUEST);
    int code;
    if (!kt_supervisor_exited(g->supervisor, &code)) return 0;
    lua_pushinteger(L, code);
    return 1;
}

static int guest_free(lua_State *L)
{
    struct guest *g = luaL_checkudata(L, 1, GUEST);
    if (!g->supervisor) return 0;
    kt_supervisor_free(g->supervisor);
    g->supervisor = NULL;
    kt_io_free(g->w.io);
    kt_logger_set_io(&g->logger, NULL);
    kt_logger_close(&g->logger);
    if (g->w.bytes) return luaL_error(L, "%d bytes were leaked", (int)g->w.bytes);
    return 0;
}

int luaopen_spec_script(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"run", run}, {"reload", reload}, {"start", guest_start}, {NULL, NULL}};
    static const luaL_Reg guest[] = {{"said", guest_said}, {"bytes", guest_bytes}, {"exited", guest_exited},
        {"free", guest_free}, {"__gc", guest_free}, {NULL, NULL}};
    struct kt_err err = {0};
    luaL_newmetatable(L, GUEST);
    luaL_setfuncs(L, guest, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    if (kt_crypto_init(&err)) return luaL_error(L, "%s", err.text);
    luaL_newlib(L, functions);
    return 1;
}
