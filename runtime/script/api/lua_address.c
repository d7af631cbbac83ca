/* kt.address(text) → host, port, last | nil, err: the parts of an address, by the parser of all calls that take one.
 * kt.cidr(text | list) → cidr | nil, err: a set of networks, and whether it contains an address.
 * kt.ipmask(text [, 32 [, 64]]) → network | nil, err: the network of an address.
 * core.prefix(text) → true | nil, sentence: whether it is an address or a network; used by kt.api.
 *
 * Scopes stay text here: to find an interface is a question to the system, which these functions do not ask. */
#include <stdio.h>
#include <string.h>
#include "base/prefix.h"
#include "script/api/api.h"
#include "script/core/handle.h"

#define ADDRESS "kt.address"
#define CIDR "kt.cidr"
#define IPMASK "kt.ipmask"
#define CIDR_MAX 65536
#define CIDR_WORK 50u /* what a network costs, in instructions */

struct cidr {
    size_t n;
    struct kt_prefix set[];
};

/* Reads an IP address without a port, IPv4 if it is mapped; *scope: what follows, "%eth0" or "". False if it is
 * none. */
static bool read_ip(struct kt_addr *out, const char *host, const char **scope)
{
    char ip[KT_ADDR_TEXT];
    const size_t n = strcspn(host, "%");
    if (n >= sizeof ip) return false;
    memcpy(ip, host, n);
    ip[n] = '\0';
    if (!kt_addr_from_ip(out, ip, 0)) return false;
    if (host[n] && out->sa.sa_family == AF_INET) return false;
    kt_addr_unmap(out);
    *scope = host + n;
    return true;
}

/* The IP address at idx, with or without a port. */
static bool read_address(lua_State *L, int idx, const char *what, struct kt_addr *ip)
{
    struct kt_endpoint at;
    const char *scope;
    if (lua_type(L, idx) != LUA_TSTRING)
        kt_raise(L, "%s: expected an address as a string, got %s", what, kt_type_name(L, idx));
    const char *text = lua_tostring(L, idx);
    if (strlen(text) != lua_rawlen(L, idx)) return false;
    if (read_ip(ip, text, &scope)) return true;
    return kt_endpoint_parse(&at, text, KT_ENDPOINT_RANGE | KT_ENDPOINT_ZERO, NULL) == 0 &&
           read_ip(ip, at.host, &scope);
}

static void lower(char *text)
{
    for (; *text; text++)
        if (*text >= 'A' && *text <= 'Z') *text |= 0x20;
}

static int address(lua_State *L)
{
    struct kt_endpoint at;
    struct kt_addr ip;
    struct kt_err err = {0};
    char text[KT_ADDR_TEXT];
    const char *scope;
    if (lua_type(L, 1) != LUA_TSTRING)
        return kt_raise(L, ADDRESS ": expected a string such as \"host:port\", got %s", kt_type_name(L, 1));
    if (strlen(lua_tostring(L, 1)) != lua_rawlen(L, 1))
        return kt_lua_err_return(L, KT_ECONFIG, "an address with a zero byte");
    if (strcmp(lua_tostring(L, 1), "unix:") == 0) { /* conn.peer of a client without a name */
        lua_pushliteral(L, "");
        return 1;
    }
    const unsigned all = KT_ENDPOINT_RANGE | KT_ENDPOINT_UNIX | KT_ENDPOINT_ZERO;
    const int rc = kt_endpoint_parse(&at, lua_tostring(L, 1), all, &err);
    if (rc) return kt_lua_err_return(L, rc, err.text);
    if (at.is_unix) {
        lua_pushstring(L, at.host);
        return 1;
    }
    if (read_ip(&ip, at.host, &scope)) {
        lua_pushfstring(L, "%s%s", kt_addr_ip_text(&ip, text), scope);
    } else {
        lower(at.host);
        lua_pushstring(L, at.host);
    }
    lua_pushinteger(L, at.port_min);
    if (at.port_max == at.port_min) return 2;
    lua_pushinteger(L, at.port_max);
    return 3;
}

/* ---- networks ---- */

/* Parses the network on top of the stack, the i-th, and pops it. Returns 0, or pushes nil and an err. */
static int read_network(lua_State *L, struct kt_prefix *out, size_t i)
{
    struct kt_err err = {0};
    if (lua_type(L, -1) != LUA_TSTRING)
        return kt_raise(L, CIDR ": element %I of the list: expected a string, got %s", (lua_Integer)i,
            kt_type_name(L, -1));
    const char *text = lua_tostring(L, -1);
    if (strlen(text) != lua_rawlen(L, -1))
        return kt_lua_err_return(L, KT_ECONFIG, "a network with a zero byte");
    const int rc = kt_prefix_parse(out, text, &err);
    if (rc) return kt_lua_err_return(L, rc, err.text);
    const bool six = out->addr.sa.sa_family == AF_INET6;
    if (out->bits >= 96) kt_addr_unmap(&out->addr);
    if (six && out->addr.sa.sa_family == AF_INET) out->bits -= 96;
    lua_pop(L, 1);
    return 0;
}

static int cidr(lua_State *L)
{
    lua_settop(L, 1);
    if (lua_type(L, 1) == LUA_TSTRING) {
        lua_createtable(L, 1, 0);
        lua_insert(L, 1);
        lua_rawseti(L, 1, 1);
    }
    if (!lua_istable(L, 1))
        return kt_raise(L, CIDR ": expected a network such as \"10.0.0.0/8\", or a list of them, got %s",
            kt_type_name(L, 1));
    const size_t n = lua_rawlen(L, 1);
    if (n > CIDR_MAX)
        return kt_lua_err_return(L, KT_ELIMIT,
            lua_pushfstring(L, "%I networks; at most %d are allowed", (lua_Integer)n, CIDR_MAX));
    if (kt_guard_worked(kt_guard_of(L), n * CIDR_WORK)) kt_guard_raise(L);
    struct cidr *c = kt_handle_push(L, KT_HANDLE_CIDR, sizeof *c + n * sizeof c->set[0], 0);
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, 1, (lua_Integer)i + 1);
        const int failed = read_network(L, &c->set[i], i + 1);
        if (failed) return failed;
    }
    c->n = kt_prefixes_sort(c->set, n);
    return 1;
}

static int contains(lua_State *L)
{
    const struct cidr *c = kt_handle_self(L, KT_HANDLE_CIDR, "contains");
    struct kt_addr ip;
    const bool is_address = read_address(L, 2, "cidr:contains", &ip);
    lua_pushboolean(L, is_address && kt_prefixes_have(c->set, c->n, &ip));
    return 1;
}

static unsigned bits_arg(lua_State *L, int idx, unsigned usual, unsigned most)
{
    int whole = 1;
    const lua_Integer n = lua_isnoneornil(L, idx) ? usual : lua_tointegerx(L, idx, &whole);
    if (!whole || lua_type(L, idx) == LUA_TSTRING || n < 0 || n > (lua_Integer)most)
        kt_raise(L, IPMASK ": argument %d: expected an integer (0 to %d)", idx, (int)most);
    return (unsigned)n;
}

static int ipmask(lua_State *L)
{
    struct kt_addr ip;
    struct kt_prefix net;
    char text[KT_ADDR_TEXT];
    const bool is_address = read_address(L, 1, IPMASK, &ip);
    const unsigned bits4 = bits_arg(L, 2, 32, 32), bits6 = bits_arg(L, 3, 64, 128);
    if (!is_address) return kt_lua_err_return(L, KT_ECONFIG, "not an IP address");
    kt_prefix_of(&net, &ip, ip.sa.sa_family == AF_INET6 ? bits6 : bits4);
    lua_pushfstring(L, "%s/%d", kt_addr_ip_text(&net.addr, text), (int)net.bits);
    return 1;
}

static int prefix(lua_State *L)
{
    struct kt_prefix p;
    struct kt_err err = {0};
    if (kt_prefix_parse(&p, luaL_checkstring(L, 1), &err) == 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, err.text);
    return 2;
}

void kt_lua_address(lua_State *L)
{
    static const luaL_Reg methods[] = {{"contains", contains}, {NULL, NULL}};
    static const luaL_Reg functions[] = {
        {"address", address}, {"cidr", cidr}, {"ipmask", ipmask}, {"prefix", prefix}, {NULL, NULL}};
    kt_handle_type(L, &(struct kt_handle_type){.name = KT_HANDLE_CIDR, .methods = methods});
    luaL_setfuncs(L, functions, 0);
}
