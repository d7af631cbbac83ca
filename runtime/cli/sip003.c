/* kt sip003: kt as a plugin of shadowsocks (SIP003), which passes addresses and options in the environment. The rest is
 * in lua/kt/cli/sip003.lua. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
    "semicolons; a flag without a value is NAME alone, and a backslash stands before a semicolon, an\n"
    "equals sign or a backslash of a value. `c=FILE` reads settings, and so the key, from a file. `udp`\n"
    "also carries datagrams, for a shadowsocks that sends its UDP through plugins.\n"
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
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
            fputs(help, stdout);
            return 0;
        }
        fprintf(stderr, "kt sip003: %s: unexpected argument; options come in SS_PLUGIN_OPTIONS\n", argv[i]);
        return 1;
    }
    kt_parent_follow();
    return kt_start(&(struct kt_start){
        .name = "sip003",
        .module = "kt.cli.sip003",
        .level = KT_LOG_INFO,
        .serves = true,
    });
}
