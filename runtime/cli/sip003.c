/* kt sip003: kt as a plugin of shadowsocks (SIP003), which passes addresses and options in the environment. The rest is
 * in lua/kt/cli/sip003.lua. */
#include <stdlib.h>
#include "cli/flags.h"
#include "cli/parent.h"
#include "cli/start.h"
#include "cli/verb.h"

static const char help[] =
    "usage: kt sip003\n"
    "\n"
    "Run as a plugin of shadowsocks (SIP003), which starts `kt` and sets SS_REMOTE_HOST, SS_REMOTE_PORT,\n"
    "SS_LOCAL_HOST, SS_LOCAL_PORT and SS_PLUGIN_OPTIONS. With these set, kt without a verb does the same.\n"
    "In shadowsocks' settings of a client and of a server:\n"
    "\n"
    "    \"plugin\": \"kt\", \"plugin_opts\": \"key=SECRET\"\n"
    "    \"plugin\": \"kt\", \"plugin_opts\": \"server;key=SECRET\"\n"
    "\n"
    "Options are the flags of kt client, or of kt server with `server`, as NAME=VALUE separated by\n"
    "semicolons; a flag without a value is NAME alone. Put a backslash before a semicolon, equals sign\n"
    "or backslash in a value. `c=FILE` reads settings, and so the key, from a file. `udp` also carries\n"
    "datagrams, for a shadowsocks that sends its UDP through plugins.\n"
    "\n"
    "  -h, --help              show this help\n";

static const char *const variables[] = {"SS_REMOTE_HOST", "SS_REMOTE_PORT", "SS_LOCAL_HOST", "SS_LOCAL_PORT"};

bool kt_sip003_asked(void)
{
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++)
        if (!getenv(variables[i])) return false;
    return true;
}

int kt_verb_sip003(int argc, char **argv, const struct kt_verb *verbs)
{
    (void)verbs;
    static const struct kt_flag none[] = {{NULL, KT_FLAG_ON, NULL}};
    int code;
    if (kt_flags_read_all(help, none, 0, argc, argv, &code) < 0) return code;
    kt_parent_follow();
    return kt_start(&(struct kt_start){
        .name = "sip003",
        .module = "kt.cli.sip003",
        .level = KT_LOG_INFO,
        .serves = true,
    });
}
