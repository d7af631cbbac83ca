/* kt help [VERB]. */
#include <stdio.h>
#include <string.h>
#include "cli/verb.h"

static void list(FILE *to, const struct kt_verb *verbs)
{
    fputs("usage: kt VERB [ARG...]\n\n", to);
    for (const struct kt_verb *v = verbs; v->name; v++) fprintf(to, "  %-9s %s\n", v->name, v->summary);
    fputs("\nkt VERB --help says more about one of them.\n", to);
}

int kt_verb_help(int argc, char **argv, const struct kt_verb *verbs)
{
    if (argc < 2) {
        list(stdout, verbs);
        return 0;
    }
    for (const struct kt_verb *v = verbs; v->name; v++) {
        if (strcmp(v->name, argv[1]) != 0) continue;
        if (v->run == kt_verb_help || v->run == kt_verb_version) {
            printf("usage: kt %s %s\n\n%s\n", v->name, v->usage, v->summary);
            return 0;
        }
        char *args[] = {argv[1], "--help", NULL};
        return v->run(2, args, verbs);
    }
    fprintf(stderr, "kt: no such verb: %s\n", argv[1]);
    list(stderr, verbs);
    return 1;
}
