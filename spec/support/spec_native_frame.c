/* Frames of kt's own wire, for spec/link/native_frame_spec.lua.
 *
 *   text, bytes = read(packet)   what the first frame holds, in words, and how much of the packet it is; nil, error
 *   copy = again(packet)         the first frame, read and written
 *   copy = cut(packet, room)     likewise, with less room; nil: does not fit
 *   header = header{id, offset, len, room, last}   of a DATA frame; nil: does not fit
 *   len = fits(room, id, offset)
 *   v, bytes = varint(bytes)     bytes = varint(v) */
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>
#include "link/native/frame.h"
#include "link/native/varint.h"

int luaopen_spec_native_frame(lua_State *L);

/* A copy of exactly this length, so that the sanitizer catches reads past the end. The Lua state owns it. */
static uint8_t *copy(lua_State *L, int idx, size_t *len)
{
    const char *packet = luaL_checklstring(L, idx, len);
    uint8_t *p = lua_newuserdatauv(L, *len, 0);
    memcpy(p, packet, *len);
    return p;
}

static void number(luaL_Buffer *b, const char *key, uint64_t v)
{
    lua_State *L = b->L;
    lua_pushfstring(L, " %s=%I", key, (LUAI_UACINT)v);
    luaL_addvalue(b);
}

static void bytes(luaL_Buffer *b, const char *key, const void *data, size_t len)
{
    luaL_addstring(b, " ");
    luaL_addstring(b, key);
    luaL_addstring(b, "=");
    luaL_addlstring(b, data, len);
}

static void text(luaL_Buffer *b, const char *key, const struct kt_native_text *t)
{
    bytes(b, key, t->data, t->len);
}

static void describe(luaL_Buffer *b, const struct kt_native_frame *f)
{
    luaL_addstring(b, kt_native_frame_name(f->type));
    switch (f->type) {
    case KT_NATIVE_FRAME_PADDING:
        number(b, "n", f->padding);
        break;
    case KT_NATIVE_FRAME_ACK:
        number(b, "path", f->ack.path);
        number(b, "delay", f->ack.delay_us);
        for (uint32_t i = 0; i < f->ack.count; i++) {
            number(b, "first", f->ack.ranges[i].first);
            number(b, "last", f->ack.ranges[i].last);
        }
        break;
    case KT_NATIVE_FRAME_ACK_EVERY:
        number(b, "path", f->ack_every.path);
        number(b, "packets", f->ack_every.packets);
        break;
    case KT_NATIVE_FRAME_OPEN:
        number(b, "id", f->open.id);
        number(b, "priority", f->open.priority);
        number(b, "weight", f->open.weight);
        number(b, "flags", f->open.flags);
        text(b, "target", &f->open.target);
        text(b, "client", &f->open.client);
        text(b, "name", &f->open.name);
        break;
    case KT_NATIVE_FRAME_RESET:
        number(b, "id", f->reset.id);
        number(b, "offset", f->reset.offset);
        number(b, "code", f->reset.code);
        text(b, "text", &f->reset.text);
        break;
    case KT_NATIVE_FRAME_STOP:
        number(b, "id", f->stop.id);
        number(b, "taken", f->stop.taken);
        break;
    case KT_NATIVE_FRAME_FLOW_END:
        number(b, "id", f->flow_end.id);
        number(b, "code", f->flow_end.code);
        break;
    case KT_NATIVE_FRAME_MAX_DATA:
        number(b, "bytes", f->max_data);
        break;
    case KT_NATIVE_FRAME_MAX_STREAM_DATA:
        number(b, "id", f->max_stream_data.id);
        number(b, "taken", f->max_stream_data.taken);
        number(b, "window", f->max_stream_data.window);
        break;
    case KT_NATIVE_FRAME_BLOCKED:
        number(b, "id", f->blocked.id);
        number(b, "offset", f->blocked.offset);
        break;
    case KT_NATIVE_FRAME_MAX_STREAMS:
        number(b, "streams", f->max_streams);
        break;
    case KT_NATIVE_FRAME_FLOW:
        number(b, "id", f->flow.id);
        text(b, "target", &f->flow.target);
        text(b, "client", &f->flow.client);
        break;
    case KT_NATIVE_FRAME_PARITY:
        number(b, "first", f->parity.first);
        number(b, "members", f->parity.members);
        number(b, "index", f->parity.index);
        bytes(b, "shard", f->parity.shard, f->parity.len);
        break;
    case KT_NATIVE_FRAME_PATH_CHALLENGE:
    case KT_NATIVE_FRAME_PATH_RESPONSE:
        bytes(b, "bytes", f->challenge, sizeof f->challenge);
        break;
    case KT_NATIVE_FRAME_CLOSE:
        number(b, "code", f->close.code);
        text(b, "text", &f->close.text);
        break;
    default:
        if (kt_native_frame_is_data(f->type)) {
            number(b, "id", f->data.id);
            number(b, "offset", f->data.offset);
            if (f->type & KT_NATIVE_DATA_LAST) luaL_addstring(b, " last");
            bytes(b, "bytes", f->data.data, f->data.len);
        } else if (kt_native_frame_is_datagram(f->type)) {
            number(b, "id", f->datagram.id);
            number(b, "sequence", f->datagram.sequence);
            bytes(b, "bytes", f->datagram.data, f->datagram.len);
        }
    }
}

static int refused(lua_State *L, long code, const struct kt_err *err)
{
    if (code != KT_EPROTO || err->code != KT_EPROTO) return luaL_error(L, "an error that is not protocol");
    lua_pushnil(L);
    lua_pushstring(L, err->text);
    return 2;
}

static int read_frame(lua_State *L)
{
    size_t len;
    const uint8_t *packet = copy(L, 1, &len);
    struct kt_native_frame f;
    struct kt_err err = {0};
    const long n = kt_native_frame_read(&f, packet, len, &err);
    if (n < 0) return refused(L, n, &err);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    describe(&b, &f);
    luaL_pushresult(&b);
    lua_pushinteger(L, n);
    return 2;
}

static int write_frame(lua_State *L, size_t room)
{
    size_t len;
    const uint8_t *packet = copy(L, 1, &len);
    struct kt_native_frame f;
    struct kt_err err = {0};
    const long n = kt_native_frame_read(&f, packet, len, &err);
    if (n < 0) return refused(L, n, &err);
    uint8_t *out = lua_newuserdatauv(L, room, 0);
    const size_t written = kt_native_frame_write(out, room, &f);
    if (written == 0) return 0;
    lua_pushlstring(L, (const char *)out, written);
    return 1;
}

static int again(lua_State *L)
{
    return write_frame(L, 2000);
}

static int cut(lua_State *L)
{
    return write_frame(L, (size_t)luaL_checkinteger(L, 2));
}

static uint64_t field(lua_State *L, const char *key)
{
    lua_getfield(L, 1, key);
    const uint64_t v = (uint64_t)luaL_checkinteger(L, -1);
    lua_pop(L, 1);
    return v;
}

static int header(lua_State *L)
{
    const struct kt_native_data d = {
        .id = field(L, "id"), .offset = field(L, "offset"), .len = (size_t)field(L, "len")};
    const size_t room = (size_t)field(L, "room");
    lua_getfield(L, 1, "last");
    uint8_t *out = lua_newuserdatauv(L, room, 0);
    const unsigned last = lua_toboolean(L, -2) ? KT_NATIVE_DATA_LAST : 0;
    const size_t n =
        kt_native_data_header(out, room, &d, (uint8_t)(KT_NATIVE_FRAME_DATA | KT_NATIVE_DATA_LENGTH | last));
    if (n == 0) return 0;
    lua_pushlstring(L, (const char *)out, n);
    return 1;
}

static int fits(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)kt_native_data_fits((size_t)luaL_checkinteger(L, 1),
                           (uint64_t)luaL_checkinteger(L, 2), (uint64_t)luaL_checkinteger(L, 3)));
    return 1;
}

static int varint(lua_State *L)
{
    if (lua_type(L, 1) == LUA_TNUMBER) {
        uint8_t out[KT_NATIVE_VARINT_BYTES];
        const size_t n = kt_native_varint_put(out, sizeof out, (uint64_t)lua_tointeger(L, 1));
        lua_pushlstring(L, (const char *)out, n);
        return 1;
    }
    size_t len;
    const uint8_t *in = copy(L, 1, &len);
    uint64_t v;
    const size_t n = kt_native_varint_get(&v, in, len);
    if (n == 0) return 0;
    lua_pushinteger(L, (lua_Integer)v);
    lua_pushinteger(L, (lua_Integer)n);
    return 2;
}

int luaopen_spec_native_frame(lua_State *L)
{
    static const luaL_Reg functions[] = {{"read", read_frame}, {"again", again}, {"cut", cut},
        {"header", header}, {"fits", fits}, {"varint", varint}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
