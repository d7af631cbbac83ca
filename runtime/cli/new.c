/* kt new: writes one of the examples in the binary to a file (lua/kt/cli/new.lua). */
#include <stddef.h>
#include "cli/flags.h"
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
    static const struct kt_flag none[] = {{NULL, KT_FLAG_ON, NULL}};
    int code;
    const int operands = kt_flags_read_all(help, none, 2, argc, argv, &code);
    if (operands < 0) return code;
    return kt_start(&(struct kt_start){
        .name = "new",
        .module = "kt.cli.new",
        .argc = operands,
        .argv = argv + 1,
        .level = KT_LOG_WARN,
    });
}
