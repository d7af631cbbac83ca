/* Lists the bindings. Each adds its functions to kt.core, the table on top of the stack. */
#include "script/api/bindings.h"
#include "script/api/api.h"

void kt_api_bind(lua_State *L)
{
    kt_lua_core(L);
    kt_lua_check(L);
    kt_lua_address(L);
    kt_lua_resolve(L);
    kt_lua_log(L);
    kt_lua_task(L);
    kt_lua_await(L);
    kt_lua_inspect(L);
    kt_lua_event(L);
    kt_lua_event_log(L);
    kt_lua_queue(L);
    kt_lua_timer(L);
    kt_lua_clock(L);
    kt_lua_daemon_task(L);
    kt_lua_kind(L);
    kt_lua_rows(L);
    kt_lua_secret(L);
    kt_lua_crypto(L);
    kt_lua_json(L);
    kt_lua_file(L);
    kt_lua_watch(L);
    kt_lua_input(L);
    kt_lua_limit(L);
    kt_lua_pipe(L);
    kt_lua_connect(L);
    kt_lua_idle(L);
    kt_lua_splice(L);
    kt_lua_udp(L);
    kt_lua_kcp(L);
    kt_lua_flow(L);
    kt_lua_udplisten(L);
    kt_lua_listen(L);
    kt_lua_link(L);
    kt_lua_accept(L);
    kt_lua_http(L);
}
