/* kt: a table of verbs; each is a file under cli/. */
#include <stdio.h>
#include <string.h>
#include "cli/process.h"
#include "cli/verb.h"

static const struct kt_verb verbs[] = {
    {"run", "SCRIPT [ARG...]", "runs a script", kt_verb_run},
    {"check", "[--json] SCRIPT [ARG...]", "says all that is wrong with a script, and opens nothing",
        kt_verb_check},
    {"new", "[NAME [FILE]]", "copies out an example to begin with, or lists them", kt_verb_new},
    {"test", "[OPTION...] [PATH...]", "runs specs of scripts, on simulated networks", kt_verb_test},
    {"client", "[OPTION...]", "a tunnel's near end, with kcptun's flags", kt_verb_client},
    {"server", "[OPTION...]", "a tunnel's far end, with kcptun's flags", kt_verb_server},
    {"reload", "PID | --pid-file FILE", "has a running kt read its script anew, breaking no connection",
        kt_verb_reload},
    {"version", "", "prints the version", kt_verb_version},
    {"help", "[VERB | NAME]", "prints this list, how a verb is used, or what a function of scripts does",
        kt_verb_help},
    {0},
};

int main(int argc, char **argv)
{
    kt_process_init();
    if (argc < 2) {
        kt_verbs_list(stdout, verbs);
        return 1;
    }
    const char *name = argv[1];
    if (strcmp(name, "--version") == 0 || strcmp(name, "-v") == 0) name = "version";
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) name = "help";
    for (const struct kt_verb *v = verbs; v->name; v++)
        if (strcmp(v->name, name) == 0) return v->run(argc - 1, argv + 1, verbs);
    fprintf(stderr, "kt: no such verb: %s\n", argv[1]);
    kt_verbs_list(stderr, verbs);
    return 1;
}
