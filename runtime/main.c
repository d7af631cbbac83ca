/* kt's entry point: finds the verb in a table and runs it. The verbs are in cli/. */
#include <stdio.h>
#include <string.h>
#include "cli/process.h"
#include "cli/verb.h"

static const struct kt_verb verbs[] = {
    {"run", "run a script", kt_verb_run},
    {"check", "check a script without opening anything", kt_verb_check},
    {"new", "write an example to start from, or list them", kt_verb_new},
    {"test", "run specs of scripts on simulated networks", kt_verb_test},
    {"client", "run the near end of a tunnel, with kcptun's flags", kt_verb_client},
    {"server", "run the far end of a tunnel, with kcptun's flags", kt_verb_server},
    {"sip003", "run as a plugin of shadowsocks", kt_verb_sip003},
    {"reload", "reload the script of a running kt, keeping connections", kt_verb_reload},
    {"status", "show what a running kt is doing", kt_verb_attach},
    {"top", "watch what a running kt is doing, each second", kt_verb_attach},
    {"list", "list running instances of kt", kt_verb_attach},
    {"drain", "end a running kt once its conns have ended", kt_verb_attach},
    {"log", "show or set the log level of a running kt", kt_verb_attach},
    {"events", "follow what happens in a running kt", kt_verb_attach},
    {"close", "close a conn or a stream of a running kt", kt_verb_attach},
    {"trace", "write the decrypted packets of a link to a file", kt_verb_attach},
    {"repl", "run Lua in the script of a running kt", kt_verb_attach},
    {"ping", "measure the round trip to a server", kt_verb_measure},
    {"speed", "measure the bandwidth to a server, each way", kt_verb_measure},
    {"doctor", "find out what is wrong with the path to a server", kt_verb_measure},
    {"keygen", "make keys for kt's own wire", kt_verb_keygen},
    {"version", "show the version", kt_verb_version},
    {"help", "show this list, or help on a verb or a script function", kt_verb_help},
    {0},
};

int main(int argc, char **argv)
{
    static char plugin[] = "sip003";
    static char *as_plugin[] = {plugin, NULL};
    kt_process_init();
    if (argc < 2 && kt_sip003_asked()) return kt_verb_sip003(1, as_plugin, verbs);
    if (argc < 2) {
        kt_verbs_list(stdout, verbs);
        return 1;
    }
    const char *name = argv[1];
    if (strcmp(name, "--version") == 0 || strcmp(name, "-v") == 0) name = "version";
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) name = "help";
    for (const struct kt_verb *v = verbs; v->name; v++)
        if (strcmp(v->name, name) == 0) return v->run(argc - 1, argv + 1, verbs);
    fprintf(stderr, "kt: unknown verb: %s\n", argv[1]);
    kt_verbs_list(stderr, verbs);
    return 1;
}
