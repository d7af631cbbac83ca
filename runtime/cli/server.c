/* kt server: a script that ships in the binary (lua/kt/cli/server.lua, started by tunnel.lua). */
#include "cli/start.h"
#include "cli/verb.h"

int kt_verb_server(int argc, char **argv, const struct kt_verb *verbs)
{
    (void)verbs;
    return kt_start(&(struct kt_start){
        .name = "server",
        .module = "kt.cli.tunnel",
        .argc = argc,
        .argv = argv,
        .level = KT_LOG_INFO,
        .serves = true,
    });
}
