/* kt new: writes one of the examples in the binary to a file (lua/kt/cli/new.lua). */
#include <stdio.h>
#include <string.h>
#include "cli/start.h"
#include "cli/verb.h"

static const char help[] =
    "usage: kt new [NAME [FILE]]\n"
    "\n"
    "Write the example NAME to FILE (default NAME.lua; - is stdout). An existing file is not\n"
    "overwritten. Without a NAME, list the examples.\n"
    "\n"
    "  -h, --help   show this help\n";

int kt_verb_new(int argc, char **argv, const struct kt_verb *verbs)
{
    (void)verbs;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
            fputs(help, stdout);
            return 0;
        }
        if (i > 2 || (argv[i][0] == '-' && argv[i][1])) {
            fprintf(
                stderr, "kt new: %s: %s\n%s", i > 2 ? "one argument too many" : "bad option", argv[i], help);
            return 1;
        }
    }
    return kt_start(&(struct kt_start){
        .name = "new",
        .module = "kt.cli.new",
        .argc = argc - 1,
        .argv = argv + 1,
        .level = KT_LOG_WARN,
    });
}
