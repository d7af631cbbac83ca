/* Fake pipes of spec_link: the spec plays the other end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../class.h"
#include "base/bufq.h"
#include "internal.h"

#define FAKE "spec_link.fake"

/* The code for a name ("reset"). */
static int code_of(lua_State *L, int arg)
{
    const char *name = luaL_checkstring(L, arg);
    for (int code = -1; code > -64; code--)
        if (strcmp(kt_errname(code), name) == 0) return code;
    return luaL_argerror(L, arg, "no such error");
}

struct fake {
    struct handle h;
    struct kt_pipe pipe;
    struct kt_bufq in, out;
    size_t room; /* most bytes in `out` */
    bool eof, half_close, gone, shut, starved;
    int code;      /* broken */
    char end[32];  /* "closed", "reset dead", … */
    char text[64]; /* the text of a cut */
    struct kt_err why;
};

static struct fake *fake_of(const struct kt_pipe *p)
{
    return KT_CONTAINER(p, struct fake, pipe);
}

static size_t fake_peek(struct kt_pipe *p, struct kt_iov *iov, size_t max)
{
    return kt_bufq_peek(&fake_of(p)->in, 0, iov, max);
}

static void fake_consume(struct kt_pipe *p, size_t n)
{
    kt_bufq_consume(&fake_of(p)->in, n);
}

static bool fake_eof(const struct kt_pipe *p)
{
    return fake_of(p)->eof && fake_of(p)->in.len == 0;
}

static size_t fake_write(struct kt_pipe *p, const void *data, size_t n)
{
    struct fake *f = fake_of(p);
    if (f->shut || f->code || f->gone) return 0;
    size_t room = f->room - f->out.len, take = n < room ? n : room;
    kt_bufq_append(&f->out, data, take);
    f->starved = take < n;
    return take;
}

static void fake_shutdown(struct kt_pipe *p)
{
    fake_of(p)->shut = true;
}

static bool fake_half_close(const struct kt_pipe *p)
{
    return fake_of(p)->half_close;
}

static bool fake_gone(const struct kt_pipe *p)
{
    return fake_of(p)->gone;
}

static void fake_ended(struct kt_pipe *p, const char *how, int reason)
{
    struct fake *f = fake_of(p);
    if (f->end[0]) abort(); /* ended twice */
    snprintf(f->end, sizeof f->end, "%s%s%s", how, reason ? " " : "", reason ? kt_errname(reason) : "");
    p->events = NULL;
}

static void fake_close(struct kt_pipe *p)
{
    fake_ended(p, "closed", 0);
}

static void fake_reset(struct kt_pipe *p, int reason, const char *text)
{
    (void)text;
    fake_ended(p, "reset", reason);
}

static void fake_cut(struct kt_pipe *p, int reason, const char *text)
{
    fake_ended(p, "cut", reason);
    snprintf(fake_of(p)->text, sizeof fake_of(p)->text, "%s", text ? text : "");
}

static bool fake_why(const struct kt_pipe *p, struct kt_err *out)
{
    *out = fake_of(p)->why;
    return out->code != 0;
}

static const struct kt_pipe_ops fake_ops = {
    .peek = fake_peek,
    .consume = fake_consume,
    .eof = fake_eof,
    .write = fake_write,
    .shutdown = fake_shutdown,
    .half_close = fake_half_close,
    .reset = fake_reset,
    .close = fake_close,
    .gone = fake_gone,
    .cut = fake_cut,
    .why = fake_why,
};

void fake_end(struct handle *h)
{
    struct fake *f = (struct fake *)h;
    kt_bufq_clear(&f->in);
    kt_bufq_clear(&f->out);
}

/* fake(room): accepts up to `room` bytes that the spec has not taken */
int world_fake(lua_State *L)
{
    struct world *w = check_world(L);
    size_t room = (size_t)luaL_optinteger(L, 2, 1 << 20);
    struct fake *f = push_handle(L, w, FAKE, sizeof *f, fake_end);
    f->pipe.ops = &fake_ops;
    f->room = room;
    f->half_close = true;
    kt_bufq_init(&f->in, w->bufs);
    kt_bufq_init(&f->out, w->bufs);
    return 1;
}

static struct fake *check_fake(lua_State *L)
{
    struct fake *f = luaL_checkudata(L, 1, FAKE);
    luaL_argcheck(L, f->h.w->io, 1, "freed");
    return f;
}

static void raise_readable(struct fake *f)
{
    if (f->pipe.events) f->pipe.events->readable(f->pipe.ctx);
}

/* feed(data): data arrives */
static int fake_feed(lua_State *L)
{
    struct fake *f = check_fake(L);
    size_t n;
    const char *data = luaL_checklstring(L, 2, &n);
    kt_bufq_append(&f->in, data, n);
    raise_readable(f);
    return 0;
}

/* finish(gone): the other end has finished sending; gone: it has closed both directions */
static int fake_finish(lua_State *L)
{
    struct fake *f = check_fake(L);
    f->eof = true;
    f->gone = lua_toboolean(L, 2);
    raise_readable(f);
    if (f->gone && f->starved && f->pipe.events) {
        f->starved = false;
        f->pipe.events->writable(f->pipe.ctx);
    }
    return 0;
}

/* break_off(code [, why, text]): the pipe breaks; why, text: the reason from the far side */
static int fake_break(lua_State *L)
{
    struct fake *f = check_fake(L);
    f->code = code_of(L, 2);
    if (!lua_isnoneornil(L, 3)) kt_err_set(&f->why, code_of(L, 3), "%s", luaL_checkstring(L, 4));
    if (f->pipe.events)
        f->pipe.events->closed(f->pipe.ctx, f->code);
    else
        f->gone = true;
    return 0;
}

/* take(n): removes and returns up to n bytes that were written to it */
static int fake_take(lua_State *L)
{
    struct fake *f = check_fake(L);
    size_t left = (size_t)luaL_optinteger(L, 2, LUA_MAXINTEGER);
    struct kt_iov iov;
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    while (left && kt_bufq_peek(&f->out, 0, &iov, 1)) {
        size_t n = iov.len < left ? iov.len : left;
        luaL_addlstring(&b, (const char *)iov.data, n);
        kt_bufq_consume(&f->out, n);
        left -= n;
    }
    luaL_pushresult(&b);
    if (f->starved && f->out.len < f->room && f->pipe.events) {
        f->starved = false;
        f->pipe.events->writable(f->pipe.ctx);
    }
    return 1;
}

/* Bytes that arrived but were not consumed; bytes that were written but not taken. */
static int fake_waiting(lua_State *L)
{
    struct fake *f = check_fake(L);
    lua_pushinteger(L, (lua_Integer)f->in.len);
    lua_pushinteger(L, (lua_Integer)f->out.len);
    return 2;
}

static int fake_set_half_close(lua_State *L)
{
    check_fake(L)->half_close = lua_toboolean(L, 2);
    return 0;
}

static int fake_is_shut(lua_State *L)
{
    lua_pushboolean(L, check_fake(L)->shut);
    return 1;
}

/* How it ended, and the text of a cut; nil: still open */
static int fake_how_ended(lua_State *L)
{
    const struct fake *f = check_fake(L);
    if (!f->end[0]) return 0;
    lua_pushstring(L, f->end);
    if (!f->text[0]) return 1;
    lua_pushstring(L, f->text);
    return 2;
}

struct kt_pipe *fake_pipe(lua_State *L, int arg)
{
    struct fake *f = luaL_testudata(L, arg, FAKE);
    return f ? &f->pipe : NULL;
}

void link_spec_fake(lua_State *L)
{
    static const luaL_Reg fake[] = {{"feed", fake_feed}, {"finish", fake_finish}, {"break_off", fake_break},
        {"take", fake_take}, {"waiting", fake_waiting}, {"half_close", fake_set_half_close},
        {"shut", fake_is_shut}, {"ended", fake_how_ended}, {NULL, NULL}};
    class(L, FAKE, fake);
}
