/* kt.json. Arrays that were read, and those made by kt.json.array, have a metatable that marks them, so that an empty
 * one is written as []. null is a light userdata.
 *
 * Invariant: neither cJSON's tree nor the text that is being written outlives an error: both are freed outside of the
 * protected call that uses them. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/json.h"
#include "script/core/handle.h"
#include "script/api/api.h"

#define DECODE "kt.json.decode"
#define ENCODE "kt.json.encode"
#define EXACT 9007199254740992.0 /* 2^53: from here on, a double may stand for several integers */

static const char array_key; /* its address names the metatable of arrays in the registry */

/* ---- reading ---- */

static void push_node(lua_State *L, const cJSON *node)
{
    luaL_checkstack(L, 4, "nested too deep");
    if (cJSON_IsObject(node)) {
        lua_newtable(L);
        for (const cJSON *child = node->child; child; child = child->next) {
            lua_pushstring(L, child->string);
            push_node(L, child);
            lua_rawset(L, -3);
        }
    } else if (cJSON_IsArray(node)) {
        lua_Integer i = 0;
        lua_newtable(L);
        lua_rawgetp(L, LUA_REGISTRYINDEX, &array_key);
        lua_setmetatable(L, -2);
        for (const cJSON *child = node->child; child; child = child->next) {
            push_node(L, child);
            lua_rawseti(L, -2, ++i);
        }
    } else if (cJSON_IsString(node)) {
        lua_pushstring(L, node->valuestring);
    } else if (cJSON_IsNumber(node)) {
        const double d = node->valuedouble;
        if (d == floor(d) && fabs(d) < EXACT)
            lua_pushinteger(L, (lua_Integer)d);
        else
            lua_pushnumber(L, d);
    } else if (cJSON_IsBool(node)) {
        lua_pushboolean(L, cJSON_IsTrue(node));
    } else {
        lua_pushlightuserdata(L, NULL);
    }
}

static int push_tree(lua_State *L)
{
    push_node(L, lua_touserdata(L, 1));
    return 1;
}

/* kt.json.decode(text) → value | nil, err */
static int decode(lua_State *L)
{
    struct kt_err err = {0};
    cJSON *tree;
    size_t len;
    if (lua_type(L, 1) != LUA_TSTRING)
        return kt_raise(L, DECODE ": expected a string, got %s", kt_type_name(L, 1));
    const char *text = lua_tolstring(L, 1, &len);
    const int rc = kt_json_parse(text, len, &tree, &err);
    if (rc) return kt_lua_err_return(L, rc, lua_pushfstring(L, DECODE ": %s", err.text));
    lua_pushcfunction(L, push_tree);
    lua_pushlightuserdata(L, tree);
    const int status = lua_pcall(L, 1, 1, 0);
    cJSON_Delete(tree);
    return status == LUA_OK ? 1 : lua_error(L);
}

/* ---- writing ---- */

/* A key or index on the way to the value that is being written. */
struct step {
    const struct step *outer;
    const char *key; /* anchored by its table; NULL: an index */
    lua_Integer index;
};

struct text {
    char *data;
    size_t len, room;
    size_t depth;
    const struct step *at; /* NULL: the outermost value */
};

/* Pushes the place of a value: "links[1].link". */
static const char *push_place(lua_State *L, const struct step *at)
{
    if (!at) return lua_pushliteral(L, "");
    const char *outer = push_place(L, at->outer);
    return at->key ? lua_pushfstring(L, "%s%s%s", outer, *outer ? "." : "", at->key)
                   : lua_pushfstring(L, "%s[%I]", outer, (LUAI_UACINT)at->index);
}

static void has_no(lua_State *L, const struct text *t, const char *what)
{
    luaL_checkstack(L, (int)KT_JSON_DEPTH_MAX + 8, "nested too deep");
    const char *place = push_place(L, t->at);
    kt_raise(L, ENCODE ": %s%sJSON has no %s", place, *place ? ": " : "", what);
}

static void put(lua_State *L, struct text *t, const char *data, size_t n)
{
    if (n > KT_JSON_TEXT_MAX - t->len) kt_raise(L, ENCODE ": more than 4 MiB of JSON");
    if (t->len + n > t->room) {
        size_t room = t->room ? t->room : 256;
        while (room < t->len + n) room *= 2;
        char *more = realloc(t->data, room);
        if (!more) luaL_error(L, "not enough memory");
        t->data = more;
        t->room = room;
    }
    memcpy(t->data + t->len, data, n);
    t->len += n;
}

static void put_text(lua_State *L, struct text *t, const char *text)
{
    put(L, t, text, strlen(text));
}

static void put_escaped(lua_State *L, struct text *t, char c)
{
    static const char short_for[] = "\"\"\\\\\nn\rr\tt\bb\ff";
    char out[8] = {'\\'};
    for (size_t i = 0; i + 1 < sizeof short_for; i += 2) {
        if (short_for[i] != c) continue;
        out[1] = short_for[i + 1];
        put(L, t, out, 2);
        return;
    }
    snprintf(out, sizeof out, "\\u%04x", (unsigned)(unsigned char)c);
    put(L, t, out, 6);
}

/* Bytes that are not UTF-8 become U+FFFD. */
static void put_string(lua_State *L, struct text *t, const char *s, size_t len)
{
    put(L, t, "\"", 1);
    for (size_t at = 0, n; at < len; at += n) {
        n = kt_utf8_length(s + at, len - at);
        if (n == 0) {
            put_text(L, t, "\xef\xbf\xbd");
            n = 1;
        } else if (n == 1 && ((unsigned char)s[at] < 0x20 || s[at] == '"' || s[at] == '\\')) {
            put_escaped(L, t, s[at]);
        } else {
            put(L, t, s + at, n);
        }
    }
    put(L, t, "\"", 1);
}

static void put_number(lua_State *L, struct text *t)
{
    char out[32];
    const double d = lua_tonumber(L, -1);
    if (lua_isinteger(L, -1)) {
        snprintf(out, sizeof out, "%lld", (long long)lua_tointeger(L, -1));
    } else {
        if (!isfinite(d)) has_no(L, t, isnan(d) ? "NaN" : "infinity");
        snprintf(out, sizeof out, "%.15g", d);
        if (strtod(out, NULL) != d) snprintf(out, sizeof out, "%.17g", d);
    }
    put_text(L, t, out);
}

static void put_value(lua_State *L, struct text *t);

static void put_array(lua_State *L, struct text *t)
{
    const lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
    struct step step = {.outer = t->at};
    t->at = &step;
    put(L, t, "[", 1);
    for (lua_Integer i = 1; i <= n; i++) {
        if (i > 1) put(L, t, ",", 1);
        lua_rawgeti(L, -1, i);
        step.index = i;
        put_value(L, t);
        lua_pop(L, 1);
    }
    t->at = step.outer;
    put(L, t, "]", 1);
}

struct key {
    const char *text; /* anchored by the table */
    size_t len;
};

static int by_text(const void *a, const void *b)
{
    const struct key *x = a, *y = b;
    const int order = memcmp(x->text, y->text, x->len < y->len ? x->len : y->len);
    return order ? order : (x->len > y->len) - (x->len < y->len);
}

/* In the order of the keys, so that the same table always gives the same text. */
static void put_object(lua_State *L, struct text *t, size_t count)
{
    struct key *keys = lua_newuserdatauv(L, count * sizeof *keys + 1, 0);
    size_t n = 0;
    lua_pushnil(L);
    while (lua_next(L, -3)) {
        keys[n].text = lua_tolstring(L, -2, &keys[n].len);
        n++;
        lua_pop(L, 1);
    }
    qsort(keys, n, sizeof *keys, by_text);
    struct step step = {.outer = t->at};
    t->at = &step;
    put(L, t, "{", 1);
    for (size_t i = 0; i < n; i++) {
        if (i > 0) put(L, t, ",", 1);
        put_string(L, t, keys[i].text, keys[i].len);
        put(L, t, ":", 1);
        lua_pushlstring(L, keys[i].text, keys[i].len);
        lua_rawget(L, -3);
        step.key = keys[i].text;
        put_value(L, t);
        lua_pop(L, 1);
    }
    t->at = step.outer;
    lua_pop(L, 1);
    put(L, t, "}", 1);
}

static bool marked(lua_State *L)
{
    if (!lua_getmetatable(L, -1)) return false;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &array_key);
    const bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

static int mixed(lua_State *L)
{
    return kt_raise(L, ENCODE ": a table is neither a list 1..n nor one with strings as keys; "
                              "kt.json.array marks a list");
}

/* Raises if the table has keys that an array would leave out. */
static void check_array(lua_State *L)
{
    const lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        lua_pop(L, 1);
        const lua_Integer key = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
        if (key < 1 || key > n) mixed(L);
    }
}

static void put_table(lua_State *L, struct text *t)
{
    size_t strings = 0, others = 0;
    if (marked(L)) {
        check_array(L);
        put_array(L, t);
        return;
    }
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        if (lua_type(L, -2) == LUA_TSTRING)
            strings++;
        else
            others++;
        lua_pop(L, 1);
    }
    if (others == 0)
        put_object(L, t, strings);
    else if (strings == 0 && others == lua_rawlen(L, -1))
        put_array(L, t);
    else
        mixed(L);
}

/* Writes the value on top of the stack. */
static void put_value(lua_State *L, struct text *t)
{
    size_t len;
    const char *s;
    luaL_checkstack(L, 8, "nested too deep");
    if (++t->depth > KT_JSON_DEPTH_MAX + 1)
        kt_raise(
            L, ENCODE ": nested more than %d deep; does a table contain itself?", (int)KT_JSON_DEPTH_MAX);
    switch (lua_type(L, -1)) {
    case LUA_TNIL:
        put_text(L, t, "null");
        break;
    case LUA_TBOOLEAN:
        put_text(L, t, lua_toboolean(L, -1) ? "true" : "false");
        break;
    case LUA_TNUMBER:
        put_number(L, t);
        break;
    case LUA_TSTRING:
        s = lua_tolstring(L, -1, &len);
        put_string(L, t, s, len);
        break;
    case LUA_TTABLE:
        put_table(L, t);
        break;
    default:
        if (lua_type(L, -1) == LUA_TLIGHTUSERDATA && !lua_touserdata(L, -1))
            put_text(L, t, "null");
        else
            has_no(L, t, kt_type_name(L, -1));
    }
    t->depth--;
}

/* Protected: value, text → the text as a string */
static int write_value(lua_State *L)
{
    struct text *t = lua_touserdata(L, 2);
    lua_settop(L, 1);
    put_value(L, t);
    lua_pushlstring(L, t->data, t->len);
    return 1;
}

/* kt.json.encode(value) → text */
static int encode(lua_State *L)
{
    struct text t = {0};
    lua_settop(L, 1);
    lua_pushcfunction(L, write_value);
    lua_insert(L, 1);
    lua_pushlightuserdata(L, &t);
    const int status = lua_pcall(L, 2, 1, 0);
    free(t.data);
    return status == LUA_OK ? 1 : lua_error(L);
}

/* kt.json.array([list]) → list, which encode writes as an array */
static int array(lua_State *L)
{
    if (lua_isnoneornil(L, 1)) {
        lua_settop(L, 0);
        lua_newtable(L);
    } else if (!lua_istable(L, 1)) {
        return kt_raise(L, "kt.json.array: expected a table, got %s", kt_type_name(L, 1));
    }
    lua_settop(L, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &array_key);
    lua_setmetatable(L, 1);
    return 1;
}

void kt_lua_json(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"decode", decode}, {"encode", encode}, {"array", array}, {NULL, NULL}};
    lua_newtable(L);
    lua_pushliteral(L, "array");
    lua_setfield(L, -2, "__metatable");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &array_key);
    lua_newtable(L);
    luaL_setfuncs(L, functions, 0);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    lua_setfield(L, -2, "json");
}
