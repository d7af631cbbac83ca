/* kt check: what is wrong with a script, without running it (lua/kt/cli/check.lua). */
#include <stdio.h>
#include <string.h>
#include "cli/start.h"
#include "cli/verb.h"

static const char help[] =
    "usage: kt check [OPTION...] SCRIPT [ARG...]\n"
    "\n"
    "Check a script without opening anything: run its main chunk and look at the calls in its tasks.\n"
    "Prints one mistake per line, as FILE:LINE: PATH: MESSAGE; SUGGESTION. Exits with 0 if there is none,\n"
    "otherwise with 1.\n"
    "\n"
    "      --json          print a JSON array of {file, line, path, message, suggestion} for editors;\n"
    "                      line 0 is the whole file\n"
    "      --unsafe        give the script Lua's os and io, as kt run --unsafe does\n"
    "      --memory SIZE   memory limit of the script, as for kt run --memory (default 256MiB)\n"
    "  -h, --help          show this help\n";

static int misuse(const char *what, const char *arg)
{
    fprintf(stderr, "kt check: %s%s\n%s", what, arg, help);
    return 1;
}

int kt_verb_check(int argc, char **argv, const struct kt_verb *verbs)
{
    (void)verbs;
    struct kt_start start = {
        .name = "check", .module = "kt.cli.check", .level = KT_LOG_WARN, .memory = KT_MEMORY_DEFAULT};
    char *format = "text";
    int i = 1;
    for (; i < argc && argv[i][0] == '-' && argv[i][1]; i++) {
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
            fputs(help, stdout);
            return 0;
        } else if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        } else if (strcmp(argv[i], "--json") == 0) {
            format = "json";
        } else if (strcmp(argv[i], "--unsafe") == 0) {
            start.unsafe = true;
        } else if (strcmp(argv[i], "--memory") == 0 && i + 1 < argc) {
            if (!kt_memory_parse(argv[++i], &start.memory))
                return misuse("--memory wants a size with its unit, such as 64MiB, or none, not ", argv[i]);
        } else {
            return misuse("bad option: ", argv[i]);
        }
    }
    if (i >= argc) return misuse("no script given", "");
    argv[i - 1] = format; /* the module's arguments: the format, the script, the script's own */
    start.argc = argc - i + 1;
    start.argv = argv + i - 1;
    return kt_start(&start);
}
