/* HTTP messages (http/http.h) as tables, for lua/kt/http/. */
#include <string.h>
#include "http/http.h"
#include "script/core/failure.h"
#include "script/core/handle.h"
#include "script/api/api.h"
#include "script/api/lua_pipe.h"
#include "script/core/fields.h"

#define CHUNKS "httpchunks"

static void set_span(lua_State *L, const char *key, struct kt_http_span s)
{
    if (!s.at) return;
    lua_pushlstring(L, s.at, s.len);
    lua_setfield(L, -2, key);
}

/* Sets the fields of a URL in the table on top of the stack. */
static void set_url(lua_State *L, const struct kt_http_url *u)
{
    set_span(L, "host", u->host);
    set_span(L, "path", u->path);
    set_span(L, "query", u->query);
    if (u->port) {
        kt_field_integer(L, "port", u->port);
    }
}

/* Pushes the name of a field, in lower case. */
static void push_name(lua_State *L, struct kt_http_span name)
{
    luaL_Buffer b;
    char *to = luaL_buffinitsize(L, &b, name.len);
    for (size_t i = 0; i < name.len; i++)
        to[i] = name.at[i] >= 'A' && name.at[i] <= 'Z' ? (char)(name.at[i] | 0x20) : name.at[i];
    luaL_pushresultsize(&b, name.len);
}

/* Pushes a table of the fields. Of one that comes several times, the values are joined, as RFC 9110, section 5.3
 * says. */
static void push_fields(lua_State *L, const struct kt_http_head *h)
{
    lua_createtable(L, 0, (int)h->field_count);
    for (size_t i = 0; i < h->field_count; i++) {
        push_name(L, h->fields[i].name);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) == LUA_TNIL) {
            lua_pop(L, 1);
            lua_pushlstring(L, h->fields[i].value.at, h->fields[i].value.len);
        } else {
            lua_pushstring(L, strcmp(lua_tostring(L, -2), "cookie") == 0 ? "; " : ", ");
            lua_pushlstring(L, h->fields[i].value.at, h->fields[i].value.len);
            lua_concat(L, 3);
        }
        lua_rawset(L, -3);
    }
}

static void set_body(lua_State *L, const struct kt_http_head *h)
{
    if (h->body == KT_HTTP_CHUNKED) {
        struct kt_http_chunks *c = kt_handle_push(L, CHUNKS, sizeof *c, 0);
        *c = h->chunks;
        lua_setfield(L, -2, "chunks");
    } else if (h->body == KT_HTTP_TO_END) {
        kt_field_boolean(L, "to_end", true);
    } else {
        kt_field_integer(L, "length", (lua_Integer)(h->body == KT_HTTP_LENGTH ? h->length : 0));
    }
}

/* core.http_head(text, "request" | "response" | "head") → { method, target, host, port, path, query (of a request),
 * status, reason (of a response), minor, headers, keep_alive, upgrade, and one of length, chunks, to_end } | nil,
 * status, sentence. "head": the response to a HEAD */
static int head(lua_State *L)
{
    static const char *const kinds[] = {"request", "response", "head", NULL};
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    const enum kt_http_kind kind = (enum kt_http_kind)luaL_checkoption(L, 2, NULL, kinds);
    struct kt_http_head h;
    struct kt_err err = {0};
    const int status = kt_http_read_head(text, len, kind, &h, &err);
    if (status) {
        lua_pushnil(L);
        lua_pushinteger(L, status);
        lua_pushstring(L, err.text);
        return 3;
    }
    lua_createtable(L, 0, 12);
    set_span(L, "method", h.method);
    set_span(L, "target", h.target);
    set_url(L, &h.url);
    if (kind != KT_HTTP_REQUEST) {
        kt_field_integer(L, "status", h.status);
        lua_pushlstring(L, h.reason.at ? h.reason.at : "", h.reason.len);
        lua_setfield(L, -2, "reason");
    }
    kt_field_integer(L, "minor", h.minor);
    kt_field_boolean(L, "keep_alive", h.keep_alive);
    kt_field_boolean(L, "upgrade", h.upgrade);
    set_body(L, &h);
    push_fields(L, &h);
    lua_setfield(L, -2, "headers");
    return 1;
}

/* core.http_feed(chunks, text) → bytes of data that follow (0: a line follows), or false at the end of the body
 * | nil, sentence */
static int feed(lua_State *L)
{
    size_t len;
    struct kt_http_chunks *c = luaL_checkudata(L, 1, CHUNKS);
    const char *text = luaL_checklstring(L, 2, &len);
    struct kt_err err = {0};
    if (kt_http_feed(c, text, len, &err)) {
        lua_pushnil(L);
        lua_pushstring(L, err.text);
        return 2;
    }
    if (c->done)
        lua_pushboolean(L, 0);
    else
        lua_pushinteger(L, (lua_Integer)c->left);
    return 1;
}

/* core.http_url(text) → { host, port, path, query, https, userinfo } | nil, sentence */
static int url(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    struct kt_http_url u;
    struct kt_err err = {0};
    if (kt_http_read_url(text, len, false, &u, &err)) {
        lua_pushnil(L);
        lua_pushstring(L, err.text);
        return 2;
    }
    lua_createtable(L, 0, 6);
    set_url(L, &u);
    kt_field_boolean(L, "https", u.https);
    kt_field_boolean(L, "userinfo", u.userinfo);
    return 1;
}

/* core.http_phrase(status) → "Not Found" */
static int phrase(lua_State *L)
{
    lua_pushstring(L, kt_http_phrase((unsigned)luaL_checkinteger(L, 1)));
    return 1;
}

/* core.http_field(name, value) → whether a message can hold this field */
static int field(lua_State *L)
{
    size_t name_len, len;
    const char *name = luaL_checklstring(L, 1, &name_len), *value = luaL_checklstring(L, 2, &len);
    lua_pushboolean(L, kt_http_is_token(name, name_len) && kt_http_is_value(value, len));
    return 1;
}

/* core.note_failure(raised, what): logs what a handler raised; for a message handler */
static int note_failure(lua_State *L)
{
    const char *what = luaL_checkstring(L, 2);
    lua_pushvalue(L, 1);
    kt_failure_note(L, what);
    return 0;
}

void kt_lua_http(lua_State *L)
{
    static const luaL_Reg functions[] = {{"http_head", head}, {"http_feed", feed}, {"http_url", url},
        {"http_phrase", phrase}, {"http_field", field}, {"note_failure", note_failure},
        {"await_room", kt_lua_pipe_await_room}, {"write_now", kt_lua_pipe_write_now},
        {"stop_if_gone", kt_lua_pipe_stop_if_gone}, {"is_gone", kt_lua_pipe_is_gone}, {NULL, NULL}};
    kt_handle_type(L, &(struct kt_handle_type){.name = CHUNKS, .hidden = true});
    luaL_setfuncs(L, functions, 0);
}
