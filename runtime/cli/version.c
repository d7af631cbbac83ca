/* kt version. */
#include <stdio.h>
#include "cli/verb.h"

int kt_verb_version(int argc, char **argv, const struct kt_verb *verbs)
{
    (void)argc;
    (void)argv;
    (void)verbs;
    puts("kt " KT_VERSION);
    return 0;
}
