/* kt help [VERB | NAME]: the verbs here; the names of the API in lua/kt/cli/help.lua. */
#include <stdio.h>
#include <string.h>
#include "cli/flags.h"
#include "cli/start.h"
#include "cli/verb.h"

static const char more[] =
    "usage: kt help [VERB | NAME]\n"
    "\n"
    "List the verbs and the functions of scripts, or describe one of them: kt help run,\n"
    "kt help kt.link, kt help link:open. The functions of specs: kt help kt.sim.\n"
    "\n"
    "      --luals[=sim]      print type definitions for the Lua language server (sim: those of kt.sim)\n"
    "      --markdown[=sim]   print the reference (sim: that of kt.sim)\n"
    "      --bound            print the names of everything that is bound\n"
    "      --values           print words for completions: values of flags, names of the API\n"
    "  -h, --help             show this help\n";

void kt_verbs_list(FILE *to, const struct kt_verb *verbs)
{
    fputs("usage: kt VERB [ARG...]\n\n", to);
    for (const struct kt_verb *v = verbs; v->name; v++) fprintf(to, "  %-9s %s\n", v->name, v->summary);
    fputs("\nRun kt VERB --help for details.\n", to);
}

/* name "": the list of the API's names. */
static int help_api(char *name)
{
    return kt_start(&(struct kt_start){
        .name = "help",
        .module = "kt.cli.help",
        .argc = 1,
        .argv = &name,
        .level = KT_LOG_WARN,
    });
}

int kt_verb_help(int argc, char **argv, const struct kt_verb *verbs)
{
    if (argc < 2) {
        kt_verbs_list(stdout, verbs);
        putchar('\n');
        fflush(stdout);
        return help_api("");
    }
    if (kt_flags_help(more, strcmp(argv[1], "help") == 0 ? "--help" : argv[1])) return 0;
    for (const struct kt_verb *v = verbs; v->name; v++) {
        if (strcmp(v->name, argv[1]) != 0) continue;
        char *args[] = {argv[1], "--help", NULL};
        return v->run(2, args, verbs);
    }
    return help_api(argv[1]);
}
