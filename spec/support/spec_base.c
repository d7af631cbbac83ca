/* Bindings of runtime/base for the specs: strings in, strings out. Handles are full userdata, freed by __gc.
 * An address is a string that holds a struct kt_addr. */
#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>
#include "base/addr.h"
#include "base/bucket.h"
#include "base/bufq.h"
#include "base/err.h"
#include "base/hmap.h"
#include "base/log_format.h"
#include "base/log_repeats.h"
#include "base/slab.h"
#include "base/wheel.h"
#include "class.h"

#if defined(__SANITIZE_ADDRESS__)
#define HAVE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAVE_ASAN 1
#endif
#endif
#ifdef HAVE_ASAN
#include <sanitizer/asan_interface.h>
#endif

int luaopen_spec_base(lua_State *L);

/* pool: blocks are light userdata */

struct pool_box {
    struct kt_slab *pool;
};

static struct kt_slab *check_pool(lua_State *L, int arg)
{
    struct pool_box *box = luaL_checkudata(L, arg, "spec.pool");
    luaL_argcheck(L, box->pool, arg, "pool is closed");
    return box->pool;
}

static int pool_new(lua_State *L)
{
    size_t size = (size_t)luaL_checkinteger(L, 1);
    size_t max = (size_t)luaL_optinteger(L, 2, 0);
    struct pool_box *box = object(L, "spec.pool", sizeof *box);
    int rc = kt_slab_new(&box->pool, size, max);
    if (rc == 0) return 1;
    lua_pushnil(L);
    lua_pushstring(L, kt_errname(rc));
    return 2;
}

static int pool_close(lua_State *L)
{
    struct pool_box *box = luaL_checkudata(L, 1, "spec.pool");
    if (box->pool && kt_slab_in_use(box->pool) > 0) return luaL_error(L, "blocks are still out");
    kt_slab_free(box->pool);
    box->pool = NULL;
    return 0;
}

static int pool_get(lua_State *L)
{
    void *block = kt_slab_get(check_pool(L, 1));
    if (!block) return 0;
    lua_pushlightuserdata(L, block);
    return 1;
}

static int pool_put(lua_State *L)
{
    kt_slab_put(check_pool(L, 1), lua_touserdata(L, 2));
    return 0;
}

static int pool_trim(lua_State *L)
{
    kt_slab_trim(check_pool(L, 1));
    return 0;
}

static int pool_fail_after(lua_State *L)
{
    kt_slab_fail_after(check_pool(L, 1), (size_t)luaL_optinteger(L, 2, -1));
    return 0;
}

static int pool_block_size(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)kt_slab_block_size(check_pool(L, 1)));
    return 1;
}

static int pool_in_use(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)kt_slab_in_use(check_pool(L, 1)));
    return 1;
}

static int pool_bytes(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)kt_slab_bytes(check_pool(L, 1)));
    return 1;
}

/* Fills the whole block with one byte. */
static int pool_fill(lua_State *L)
{
    memset(lua_touserdata(L, 2), (int)luaL_checkinteger(L, 3), kt_slab_block_size(check_pool(L, 1)));
    return 0;
}

static int pool_read(lua_State *L)
{
    lua_pushlstring(L, lua_touserdata(L, 2), kt_slab_block_size(check_pool(L, 1)));
    return 1;
}

static int address(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)(uintptr_t)lua_touserdata(L, 1));
    return 1;
}

#ifdef HAVE_ASAN
/* Whether byte `offset` of a block is poisoned for AddressSanitizer. */
static int poisoned(lua_State *L)
{
    const char *p = lua_touserdata(L, 1);
    lua_pushboolean(L, __asan_address_is_poisoned(p + luaL_checkinteger(L, 2)));
    return 1;
}
#endif

/* bufq */

static struct kt_bufq *check_bufq(lua_State *L)
{
    return luaL_checkudata(L, 1, "spec.bufq");
}

static int bufq_new(lua_State *L)
{
    struct kt_slab *pool = check_pool(L, 1);
    struct kt_bufq *q = lua_newuserdatauv(L, sizeof *q, 1);
    kt_bufq_init(q, pool);
    luaL_setmetatable(L, "spec.bufq");
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    return 1;
}

static int bufq_clear(lua_State *L)
{
    kt_bufq_clear(check_bufq(L));
    return 0;
}

static int bufq_append(lua_State *L)
{
    size_t n;
    const char *data = luaL_checklstring(L, 2, &n);
    lua_pushinteger(L, (lua_Integer)kt_bufq_append(check_bufq(L), data, n));
    return 1;
}

/* The room at the tail. */
static int bufq_space(lua_State *L)
{
    uint8_t *space;
    lua_pushinteger(L, (lua_Integer)kt_bufq_space(check_bufq(L), &space));
    return 1;
}

/* Writes in place as much as fits into what one call of space returns, and commits it; returns the number of
 * bytes. */
static int bufq_write(lua_State *L)
{
    struct kt_bufq *q = check_bufq(L);
    size_t n;
    const char *data = luaL_checklstring(L, 2, &n);
    uint8_t *space;
    size_t room = kt_bufq_space(q, &space);
    if (n > room) n = room;
    if (n) memcpy(space, data, n);
    kt_bufq_commit(q, n);
    lua_pushinteger(L, (lua_Integer)n);
    return 1;
}

/* A table of the pieces, at most `max` (16). */
static int bufq_peek(lua_State *L)
{
    struct kt_iov iov[16];
    size_t max = (size_t)luaL_optinteger(L, 3, 16);
    luaL_argcheck(L, max <= 16, 3, "at most 16");
    size_t n = kt_bufq_peek(check_bufq(L), (size_t)luaL_optinteger(L, 2, 0), iov, max);
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        lua_pushlstring(L, (const char *)iov[i].data, iov[i].len);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static int bufq_consume(lua_State *L)
{
    kt_bufq_consume(check_bufq(L), (size_t)luaL_checkinteger(L, 2));
    return 0;
}

static int bufq_len(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)check_bufq(L)->len);
    return 1;
}

/* bucket */

static struct kt_bucket *check_bucket(lua_State *L)
{
    return luaL_checkudata(L, 1, "spec.bucket");
}

static int bucket_new(lua_State *L)
{
    object(L, "spec.bucket", sizeof(struct kt_bucket));
    return 1;
}

/* set(rate, now [, burst]) */
static int bucket_set(lua_State *L)
{
    kt_bucket_set(check_bucket(L), (uint64_t)luaL_checkinteger(L, 2), (uint64_t)luaL_optinteger(L, 4, 0),
        (uint64_t)luaL_checkinteger(L, 3));
    return 0;
}

/* nil: no limit */
static int bucket_room(lua_State *L)
{
    size_t n = kt_bucket_room(check_bucket(L), (uint64_t)luaL_checkinteger(L, 2));
    if (n == SIZE_MAX) return 0;
    lua_pushinteger(L, (lua_Integer)n);
    return 1;
}

static int bucket_take(lua_State *L)
{
    kt_bucket_take(check_bucket(L), (size_t)luaL_checkinteger(L, 2));
    return 0;
}

static int bucket_ready(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)kt_bucket_ready(check_bucket(L)));
    return 1;
}

static int bucket_due(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)kt_bucket_due(check_bucket(L), (size_t)luaL_checkinteger(L, 2)));
    return 1;
}

static const luaL_Reg bucket_methods[] = {{"set", bucket_set}, {"room", bucket_room}, {"take", bucket_take},
    {"due", bucket_due}, {"ready", bucket_ready}, {NULL, NULL}};

/* wheel: the user value of a wheel maps its timers (as light userdata) to their functions and keeps both
 * alive. */

struct wheel_box {
    struct kt_wheel wheel;
    lua_State *L; /* while running, with the wheel at index 1; the first error at index 2 */
    bool failed;
};

struct timer_box {
    struct kt_timer timer;
    struct wheel_box *owner;
};

static struct wheel_box *check_wheel(lua_State *L)
{
    return luaL_checkudata(L, 1, "spec.wheel");
}

static struct kt_timer *check_timer(lua_State *L, int arg)
{
    struct timer_box *box = luaL_checkudata(L, arg, "spec.timer");
    return &box->timer;
}

static int wheel_new(lua_State *L)
{
    uint64_t now = (uint64_t)luaL_checkinteger(L, 1);
    struct wheel_box *box = lua_newuserdatauv(L, sizeof *box, 1);
    kt_wheel_init(&box->wheel, now);
    box->L = NULL;
    box->failed = false;
    lua_newtable(L);
    lua_setiuservalue(L, -2, 1);
    luaL_setmetatable(L, "spec.wheel");
    return 1;
}

static void timer_fired(void *ctx)
{
    struct timer_box *t = ctx;
    struct wheel_box *w = t->owner;
    lua_State *L = w->L;
    lua_getiuservalue(L, 1, 1);
    lua_rawgetp(L, -1, t);
    lua_remove(L, -2);
    if (lua_pcall(L, 0, 0, 0) == LUA_OK) return;
    if (!w->failed) lua_replace(L, 2);
    w->failed = true;
    lua_settop(L, 2);
}

static int wheel_timer(lua_State *L)
{
    struct wheel_box *w = check_wheel(L);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    struct timer_box *t = lua_newuserdatauv(L, sizeof *t, 0);
    kt_timer_init(&t->timer, timer_fired, t);
    t->owner = w;
    luaL_setmetatable(L, "spec.timer");

    lua_getiuservalue(L, 1, 1);
    lua_pushvalue(L, 2);
    lua_rawsetp(L, -2, t);
    lua_pushvalue(L, -2);
    lua_pushboolean(L, 1);
    lua_rawset(L, -3);
    lua_pop(L, 1);
    return 1;
}

static int wheel_set(lua_State *L)
{
    kt_wheel_set(&check_wheel(L)->wheel, check_timer(L, 2), (uint64_t)luaL_checkinteger(L, 3));
    return 0;
}

static int wheel_cancel(lua_State *L)
{
    kt_wheel_cancel(&check_wheel(L)->wheel, check_timer(L, 2));
    return 0;
}

static int wheel_armed(lua_State *L)
{
    lua_pushboolean(L, check_timer(L, 2)->armed);
    return 1;
}

static int wheel_next(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)kt_wheel_next(&check_wheel(L)->wheel));
    return 1;
}

static int wheel_run(lua_State *L)
{
    struct wheel_box *w = check_wheel(L);
    uint64_t now = (uint64_t)luaL_checkinteger(L, 2);
    w->L = L;
    w->failed = false;
    kt_wheel_run(&w->wheel, now);
    w->L = NULL;
    if (!w->failed) return 0;
    lua_settop(L, 2);
    return lua_error(L);
}

/* addr */

static struct kt_addr check_addr(lua_State *L, int arg)
{
    size_t n;
    const char *bytes = luaL_checklstring(L, arg, &n);
    struct kt_addr a;
    luaL_argcheck(L, n == sizeof a, arg, "not an address");
    memcpy(&a, bytes, sizeof a);
    return a;
}

static int push_addr(lua_State *L, const struct kt_addr *a)
{
    lua_pushlstring(L, (const char *)a, sizeof *a);
    return 1;
}

static int addr_from_ip(lua_State *L)
{
    struct kt_addr a;
    if (!kt_addr_from_ip(&a, luaL_checkstring(L, 1), (uint16_t)luaL_checkinteger(L, 2))) return 0;
    return push_addr(L, &a);
}

/* Through a sockaddr of the given family, with its first len bytes taken from an address. */
static int addr_from_sockaddr(lua_State *L)
{
    struct kt_addr from = check_addr(L, 1), a;
    if (lua_isinteger(L, 2)) from.sa.sa_family = (sa_family_t)lua_tointeger(L, 2);
    if (!kt_addr_from_sockaddr(&a, &from.sa)) return 0;
    return push_addr(L, &a);
}

static int addr_len(lua_State *L)
{
    struct kt_addr a = check_addr(L, 1);
    lua_pushinteger(L, (lua_Integer)kt_addr_len(&a));
    return 1;
}

static int addr_text(lua_State *L)
{
    struct kt_addr a = check_addr(L, 1);
    char text[KT_ADDR_TEXT];
    lua_pushstring(L, kt_addr_text(&a, text));
    return 1;
}

static int addr_port(lua_State *L)
{
    struct kt_addr a = check_addr(L, 1);
    lua_pushinteger(L, kt_addr_port(&a));
    return 1;
}

static int addr_with_port(lua_State *L)
{
    struct kt_addr a = check_addr(L, 1);
    kt_addr_set_port(&a, (uint16_t)luaL_checkinteger(L, 2));
    return push_addr(L, &a);
}

static int addr_equal(lua_State *L)
{
    struct kt_addr a = check_addr(L, 1), b = check_addr(L, 2);
    lua_pushboolean(L, kt_addr_equal(&a, &b));
    return 1;
}

static int addr_hash(lua_State *L)
{
    struct kt_addr a = check_addr(L, 1);
    lua_pushinteger(L, (lua_Integer)kt_addr_hash(&a, (uint64_t)luaL_checkinteger(L, 2)));
    return 1;
}

/* endpoint(text, flags): a table, or nil, sentence, name. Flags are letters: r(ange) u(nix) z(ero) h(ost). */
static int endpoint(lua_State *L)
{
    const char *text = luaL_checkstring(L, 1);
    const char *letters = luaL_optstring(L, 2, "");
    unsigned flags =
        (strchr(letters, 'r') ? KT_ENDPOINT_RANGE : 0) | (strchr(letters, 'u') ? KT_ENDPOINT_UNIX : 0) |
        (strchr(letters, 'z') ? KT_ENDPOINT_ZERO : 0) | (strchr(letters, 'h') ? KT_ENDPOINT_HOST : 0);
    struct kt_endpoint e;
    struct kt_err err = {0};
    int rc = kt_endpoint_parse(&e, text, flags, &err);
    if (rc < 0) {
        lua_pushnil(L);
        lua_pushstring(L, err.text);
        lua_pushstring(L, kt_errname(rc));
        return 3;
    }
    lua_newtable(L);
    lua_pushboolean(L, e.is_unix);
    lua_setfield(L, -2, "is_unix");
    lua_pushstring(L, e.host);
    lua_setfield(L, -2, "host");
    lua_pushinteger(L, e.port_min);
    lua_setfield(L, -2, "port_min");
    lua_pushinteger(L, e.port_max);
    lua_setfield(L, -2, "port_max");
    return 1;
}

/* hmap: from integer keys, with hashes that the spec chooses */

struct item {
    struct kt_hnode node;
    lua_Integer key;
};

static struct kt_hmap *check_hmap(lua_State *L)
{
    return luaL_checkudata(L, 1, "spec.hmap");
}

static int hmap_new(lua_State *L)
{
    struct kt_hmap *m = lua_newuserdatauv(L, sizeof *m, 0);
    kt_hmap_init(m);
    luaL_setmetatable(L, "spec.hmap");
    return 1;
}

static int hmap_gc(lua_State *L)
{
    struct kt_hmap *m = check_hmap(L);
    struct kt_hnode *node = kt_hmap_next(m, NULL);
    while (node) {
        struct kt_hnode *next = kt_hmap_next(m, node);
        kt_hmap_remove(m, node);
        free(node);
        node = next;
    }
    kt_hmap_free(m);
    return 0;
}

static struct kt_hnode *find_item(const struct kt_hmap *m, lua_Integer key, uint64_t hash)
{
    struct kt_hnode *n = kt_hmap_find(m, hash);
    while (n && ((struct item *)(void *)n)->key != key) n = kt_hmap_again(n);
    return n;
}

static int hmap_add(lua_State *L)
{
    struct kt_hmap *m = check_hmap(L);
    lua_Integer key = luaL_checkinteger(L, 2);
    uint64_t hash = (uint64_t)luaL_checkinteger(L, 3);
    struct item *item = malloc(sizeof *item);
    if (!item) return luaL_error(L, "out of memory");
    item->key = key;
    if (kt_hmap_add(m, &item->node, hash) == 0) return 0;
    free(item);
    return luaL_error(L, "out of memory");
}

static int hmap_has(lua_State *L)
{
    lua_pushboolean(
        L, find_item(check_hmap(L), luaL_checkinteger(L, 2), (uint64_t)luaL_checkinteger(L, 3)) != NULL);
    return 1;
}

static int hmap_remove(lua_State *L)
{
    struct kt_hmap *m = check_hmap(L);
    struct kt_hnode *node = find_item(m, luaL_checkinteger(L, 2), (uint64_t)luaL_checkinteger(L, 3));
    lua_pushboolean(L, node != NULL);
    if (!node) return 1;
    kt_hmap_remove(m, node);
    free(node);
    return 1;
}

/* All keys, in the order in which the map is walked. */
static int hmap_keys(lua_State *L)
{
    struct kt_hmap *m = check_hmap(L);
    lua_newtable(L);
    lua_Integer i = 0;
    for (struct kt_hnode *n = kt_hmap_next(m, NULL); n; n = kt_hmap_next(m, n)) {
        lua_pushinteger(L, ((struct item *)(void *)n)->key);
        lua_rawseti(L, -2, ++i);
    }
    return 1;
}

static int hmap_count(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)check_hmap(L)->count);
    return 1;
}

static int hmap_slots(lua_State *L)
{
    struct kt_hmap *m = check_hmap(L);
    lua_pushinteger(L, m->slots ? (lua_Integer)(m->mask + 1) : 0);
    return 1;
}

static int hash_u64(lua_State *L)
{
    lua_pushinteger(
        L, (lua_Integer)kt_hash_u64((uint64_t)luaL_checkinteger(L, 1), (uint64_t)luaL_checkinteger(L, 2)));
    return 1;
}

/* log and err */

static void push_line(
    void *ctx, enum kt_log_level level, const struct kt_log_fields *fields, const char *line)
{
    lua_State *L = ctx;
    (void)fields;
    lua_pushstring(L, line);
    lua_pushstring(L, kt_log_level_name(level));
}

static enum kt_log_level check_level(lua_State *L, int arg)
{
    enum kt_log_level level;
    if (!kt_log_level_parse(luaL_checkstring(L, arg), &level)) luaL_argerror(L, arg, "not a level");
    return level;
}

/* log(threshold, level, text): the line and the name of the level that the sink got, or nothing. */
static int log_line(lua_State *L)
{
    struct kt_log log = {.level = check_level(L, 1), .sink = push_line, .ctx = L};
    enum kt_log_level level = check_level(L, 2);
    const char *text = luaL_checkstring(L, 3);
    int top = lua_gettop(L);
    kt_log(&log, level, "%s", text);
    return lua_gettop(L) - top;
}

/* log_write(format, { level, script, text, link, pool, conn, peer, date, wall_us }, repeated) → the line, or nil for an
 * unknown format */
static int log_write(lua_State *L)
{
    static const char *const keys[] = {"script", "text", "link", "conn", "peer", "date", "pool"};
    const char *values[sizeof keys / sizeof keys[0]];
    enum kt_log_format format;
    enum kt_log_level level;
    char out[KT_LOG_FORMATTED];
    if (!kt_log_format_parse(luaL_checkstring(L, 1), &format)) return 0;
    lua_settop(L, 3);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        lua_getfield(L, 2, keys[i]);
        values[i] = lua_tostring(L, -1);
    }
    lua_getfield(L, 2, "level");
    level = check_level(L, -1);
    lua_getfield(L, 2, "wall_us");
    const struct kt_log_line line = {.date = values[5] ? values[5] : "",
        .wall_us = (uint64_t)lua_tointeger(L, -1),
        .level = level,
        .script = values[0] ? values[0] : "",
        .fields = {.link = values[2], .conn = values[3], .peer = values[4], .pool = values[6]},
        .text = values[1],
        .repeated = (uint64_t)luaL_optinteger(L, 3, 0)};
    lua_pushlstring(L, out, kt_log_write(format, &line, out));
    return 1;
}

static void push_repeat(void *ctx, const struct kt_log_repeat *line)
{
    lua_State *L = ctx;
    lua_pushfstring(L, "%s %s*%d", kt_log_level_name(line->level), line->text, (int)line->held);
}

/* log_repeats { { at, level, text } … } → the lines that are written, in order, those held back as "text*number", with
 * the rest flushed at the end; when that would have been due, µs, or -1 */
static int log_repeats(lua_State *L)
{
    struct kt_log_repeats *r = lua_newuserdatauv(L, sizeof *r, 0);
    *r = (struct kt_log_repeats){.write = push_repeat, .ctx = L};
    lua_Integer at = 0;
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    lua_newtable(L);
    for (lua_Integer i = 1; lua_geti(L, 1, i) == LUA_TTABLE; i++) {
        lua_geti(L, -1, 1);
        lua_geti(L, -2, 2);
        lua_geti(L, -3, 3);
        at = lua_tointeger(L, -3);
        enum kt_log_level level = check_level(L, -2);
        const char *text = lua_tostring(L, -1);
        const int top = lua_gettop(L);
        const bool passes = kt_log_repeats_pass(r, level, text, (uint64_t)at);
        for (int said = top + 1; said <= lua_gettop(L); said++) {
            lua_pushvalue(L, said);
            lua_seti(L, 3, (lua_Integer)lua_rawlen(L, 3) + 1);
        }
        if (passes) {
            lua_pushfstring(L, "%s %s", lua_tostring(L, top - 1), text);
            lua_seti(L, 3, (lua_Integer)lua_rawlen(L, 3) + 1);
        }
        lua_settop(L, 3);
    }
    lua_settop(L, 3);
    const uint64_t due = kt_log_repeats_due(r, (uint64_t)at);
    kt_log_repeats_flush(r);
    for (int said = 4; said <= lua_gettop(L); said++) {
        lua_pushvalue(L, said);
        lua_seti(L, 3, (lua_Integer)lua_rawlen(L, 3) + 1);
    }
    lua_settop(L, 3);
    lua_pushinteger(L, due == UINT64_MAX ? -1 : (lua_Integer)due);
    return 2;
}

/* Logs without a log, and to a log without a sink. */
static int log_nowhere(lua_State *L)
{
    struct kt_log log = {.level = KT_LOG_DEBUG};
    (void)L;
    kt_log(NULL, KT_LOG_ERROR, "no sink");
    kt_log(&log, KT_LOG_ERROR, "no sink");
    return 0;
}

static int log_level(lua_State *L)
{
    enum kt_log_level level;
    if (!kt_log_level_parse(luaL_checkstring(L, 1), &level)) return 0;
    lua_pushinteger(L, level);
    lua_pushstring(L, kt_log_level_name(level));
    return 2;
}

static int strerror_(lua_State *L)
{
    lua_pushstring(L, kt_strerror((int)luaL_checkinteger(L, 1)));
    return 1;
}

static int errname(lua_State *L)
{
    lua_pushstring(L, kt_errname((int)luaL_checkinteger(L, 1)));
    return 1;
}

static int from_errno(lua_State *L)
{
    lua_pushinteger(L, kt_err_from_errno((int)luaL_checkinteger(L, 1)));
    return 1;
}

/* Sets a sentence, then wraps it in another; returns the code and both. */
static int err_wrap(lua_State *L)
{
    int code = (int)luaL_checkinteger(L, 1);
    struct kt_err err;
    kt_err_set(&err, code, "%s", luaL_checkstring(L, 2));
    lua_pushstring(L, err.text);
    kt_err_set(&err, code, "%s: %s", luaL_checkstring(L, 3), err.text);
    lua_pushstring(L, err.text);
    lua_pushinteger(L, kt_err_set(NULL, code, "no listener"));
    return 3;
}

static const luaL_Reg pool_methods[] = {{"get", pool_get}, {"put", pool_put}, {"trim", pool_trim},
    {"fail_after", pool_fail_after}, {"block_size", pool_block_size}, {"in_use", pool_in_use},
    {"bytes", pool_bytes}, {"fill", pool_fill}, {"read", pool_read}, {"close", pool_close},
    {"__gc", pool_close}, {NULL, NULL}};

static const luaL_Reg bufq_methods[] = {{"append", bufq_append}, {"space", bufq_space}, {"write", bufq_write},
    {"peek", bufq_peek}, {"consume", bufq_consume}, {"clear", bufq_clear}, {"__len", bufq_len},
    {"__gc", bufq_clear}, {NULL, NULL}};

static const luaL_Reg wheel_methods[] = {{"timer", wheel_timer}, {"set", wheel_set}, {"cancel", wheel_cancel},
    {"armed", wheel_armed}, {"next", wheel_next}, {"run", wheel_run}, {NULL, NULL}};

static const luaL_Reg timer_methods[] = {{NULL, NULL}};

static const luaL_Reg hmap_methods[] = {{"add", hmap_add}, {"has", hmap_has}, {"remove", hmap_remove},
    {"keys", hmap_keys}, {"slots", hmap_slots}, {"__len", hmap_count}, {"__gc", hmap_gc}, {NULL, NULL}};

static const luaL_Reg functions[] = {{"pool", pool_new}, {"address", address}, {"bufq", bufq_new},
    {"bucket", bucket_new}, {"wheel", wheel_new}, {"addr_from_ip", addr_from_ip},
    {"addr_from_sockaddr", addr_from_sockaddr}, {"addr_len", addr_len}, {"addr_text", addr_text},
    {"addr_port", addr_port}, {"addr_with_port", addr_with_port}, {"addr_equal", addr_equal},
    {"addr_hash", addr_hash}, {"endpoint", endpoint}, {"hmap", hmap_new}, {"hash_u64", hash_u64},
    {"log_line", log_line}, {"log_nowhere", log_nowhere}, {"log_write", log_write},
    {"log_repeats", log_repeats}, {"log_level", log_level}, {"strerror", strerror_}, {"errname", errname},
    {"from_errno", from_errno}, {"err_wrap", err_wrap}, {NULL, NULL}};

int luaopen_spec_base(lua_State *L)
{
    class(L, "spec.pool", pool_methods);
    class(L, "spec.bufq", bufq_methods);
    class(L, "spec.bucket", bucket_methods);
    class(L, "spec.wheel", wheel_methods);
    class(L, "spec.timer", timer_methods);
    class(L, "spec.hmap", hmap_methods);
    luaL_newlib(L, functions);
#ifdef HAVE_ASAN
    lua_pushcfunction(L, poisoned); /* absent in other builds */
    lua_setfield(L, -2, "poisoned");
#endif
#define CONSTANT(symbol) (lua_pushinteger(L, (lua_Integer)(symbol)), lua_setfield(L, -2, #symbol))
    CONSTANT(AF_UNIX);
    CONSTANT(KT_WHEEL_TICK_US);
    CONSTANT(KT_TIME_NEVER);
#define ERROR_CONSTANT(symbol, num, name, text) CONSTANT(symbol);
    KT_ERRORS(ERROR_CONSTANT)
    CONSTANT(ENOMEM);
    CONSTANT(EAGAIN);
    CONSTANT(EINTR);
    CONSTANT(ETIMEDOUT);
    CONSTANT(ECONNRESET);
    CONSTANT(EPIPE);
    CONSTANT(ECONNREFUSED);
    CONSTANT(ENETUNREACH);
    CONSTANT(EHOSTUNREACH);
    CONSTANT(EADDRINUSE);
    CONSTANT(EACCES);
    CONSTANT(EPERM);
    CONSTANT(EMFILE);
    CONSTANT(ENOTSUP);
    CONSTANT(EAFNOSUPPORT);
    CONSTANT(ECANCELED);
    CONSTANT(ENOENT);
    CONSTANT(EINVAL);
    CONSTANT(ENOTCONN);
    CONSTANT(EXDEV);
    return 1;
}
