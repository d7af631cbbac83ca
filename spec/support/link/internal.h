/* Shared by the files of spec_link. Each registers its classes in link_spec_NAME. */
#ifndef SPEC_LINK_INTERNAL_H
#define SPEC_LINK_INTERNAL_H

#include <lauxlib.h>
#include <lua.h>
#include "base/list.h"
#include "base/slab.h"
#include "io/io.h"
#include "link/kcptun/kcptun.h"

struct world {
    struct kt_io *io;
    struct kt_list handles;
    struct kt_slab *bufs;
    struct kt_timer look, deadline;
    lua_State *L; /* of the run under way; its fn is at index 3 */
    bool done, late, failed;
};

/* Every handle begins with this. The world's table keeps it until w:free(), which ends it. */
struct handle {
    struct kt_list node;
    struct world *w;
    void (*end)(struct handle *h); /* does nothing if it has ended already */
};

/* ---- spec_link.c ---- */

/* The world at index 1; raises once it was freed. */
struct world *check_world(lua_State *L);
/* Pushes a handle of `size` bytes, zeroed. The world keeps it until w:free(), which calls `end`. */
void *push_handle(
    lua_State *L, struct world *w, const char *class, size_t size, void (*end)(struct handle *h));
/* Pushes a pipe handle that owns a link's stream. */
void push_stream(lua_State *L, struct world *w, struct kt_pipe *stream, const char *peer);
/* Pushes nil, the name of the code and the text; returns 3. */
int fail(lua_State *L, int code, const char *text);
/* An integer of the table at index, or `otherwise` if it is nil. */
lua_Integer field(lua_State *L, int index, const char *name, lua_Integer otherwise);

/* ---- link/fake.c ---- */

int world_fake(lua_State *L);
/* Ends a fake; after everything that uses it. */
void fake_end(struct handle *h);
/* The pipe of the fake at `arg`; NULL for anything else. */
struct kt_pipe *fake_pipe(lua_State *L, int arg);
void link_spec_fake(lua_State *L);

/* ---- link/facts.c ---- */

/* Defaults, overridden by the table at index, whose keys are the members' names. Strings stay in the table. */
struct kt_kcptun_config config_at(lua_State *L, int index, bool client);
int health_new(lua_State *L);
int send_budget_room(lua_State *L);
int config_check(lua_State *L);
int config_mode(lua_State *L);
int config_defaults(lua_State *L);
void link_spec_facts(lua_State *L);

/* ---- link/ends.c ---- */

int world_link(lua_State *L);
int world_accept(lua_State *L);
void link_spec_ends(lua_State *L);

/* ---- link/relay.c ---- */

int world_relay(lua_State *L);
int world_free_port(lua_State *L);
void link_spec_relay(lua_State *L);

#endif
