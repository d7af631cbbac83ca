/* kt run: a script of the user's own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli/start.h"
#include "cli/verb.h"

#define MEMORY_DEFAULT (256u << 20)

static const char help[] =
    "usage: kt run [OPTION...] SCRIPT [ARG...]\n"
    "\n"
    "Runs a Lua script that describes a tunnel. It begins with: local kt = require \"kt\"\n"
    "ARGs arrive in the script's `...`. SIGHUP, or kt reload, has the script read anew: its conns go on, "
    "and\n"
    "a script with a mistake changes nothing.\n"
    "\n"
    "  --unsafe           the script gets Lua's os and io\n"
    "  --memory SIZE      what the script may hold: 64MiB, 1GiB, or none for no limit (256MiB)\n"
    "  --log FILE         log to FILE instead of standard error\n"
    "  --log-level LEVEL  debug, info, warn, error or quiet (info)\n"
    "  --pid-file FILE    writes the process' number to FILE, and how reloads went to FILE.reload\n"
    "  -h, --help         this text\n";

/* Sizes as scripts write them, or "none". */
static bool parse_memory(const char *text, size_t *out)
{
    static const struct {
        const char *unit;
        double bytes;
    } units[] = {{"KiB", 1024}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}};
    *out = 0;
    if (strcmp(text, "none") == 0) return true;
    const size_t digits = strspn(text, "0123456789.");
    char *end;
    const double n = strtod(text, &end);
    if (digits == 0 || end != text + digits) return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(end, units[i].unit) != 0) continue;
        const double bytes = n * units[i].bytes;
        if (bytes < 1 || bytes > 1e15) return false;
        *out = (size_t)bytes;
        return true;
    }
    return false;
}

static int misuse(const char *what, const char *arg)
{
    fprintf(stderr, "kt run: %s%s\n%s", what, arg, help);
    return 1;
}

int kt_verb_run(int argc, char **argv, const struct kt_verb *verbs)
{
    (void)verbs;
    struct kt_start start = {.level = KT_LOG_INFO, .memory = MEMORY_DEFAULT};
    int i = 1;
    for (; i < argc && argv[i][0] == '-' && argv[i][1]; i++) {
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
            fputs(help, stdout);
            return 0;
        } else if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        } else if (strcmp(argv[i], "--unsafe") == 0) {
            start.unsafe = true;
        } else if (strcmp(argv[i], "--memory") == 0 && i + 1 < argc) {
            if (!parse_memory(argv[++i], &start.memory))
                return misuse("--memory wants a size such as 64MiB, or none, not ", argv[i]);
        } else if (strcmp(argv[i], "--log") == 0 && i + 1 < argc) {
            start.log_file = argv[++i];
        } else if (strcmp(argv[i], "--pid-file") == 0 && i + 1 < argc) {
            start.pid_file = argv[++i];
        } else if (strcmp(argv[i], "--log-level") == 0 && i + 1 < argc) {
            if (!kt_log_level_parse(argv[++i], &start.level)) return misuse("no such log level: ", argv[i]);
        } else {
            return misuse("bad option: ", argv[i]);
        }
    }
    if (i >= argc) return misuse("no script given", "");
    start.name = start.file = argv[i];
    start.argc = argc - i - 1;
    start.argv = argv + i + 1;
    return kt_start(&start);
}
