/* kt version: prints the version, which the build takes from CMakeLists.txt. */
#include <stdio.h>
#include "cli/flags.h"
#include "cli/verb.h"

static const char help[] = "usage: kt version\n"
                           "\n"
                           "Show the version.\n"
                           "\n"
                           "  -h, --help   show this help\n";

int kt_verb_version(int argc, char **argv, const struct kt_verb *verbs)
{
    (void)verbs;
    if (argc < 2 || !kt_flags_help(help, argv[1])) puts("kt " KT_VERSION);
    return 0;
}
