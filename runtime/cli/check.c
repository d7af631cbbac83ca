/* kt check: checks a script without running its tasks (lua/kt/cli/check.lua). */
#include <stdbool.h>
#include "cli/flags.h"
#include "cli/start.h"
#include "cli/verb.h"

static const char help[] =
    "usage: kt check [OPTION...] SCRIPT [ARG...]\n"
    "\n"
    "Check a script without opening anything: run its main chunk and look at the calls in its tasks.\n"
    "Prints one mistake per line, as FILE:LINE:COLUMN: PATH: MESSAGE; SUGGESTION, or without the column.\n"
    "Exits with 0 if there is no mistake, otherwise with 1; hints do not count.\n"
    "\n"
    "      --json              print a JSON array of {file, line, column, severity, path, message,\n"
    "                          suggestion} for editors; line 0 is the whole file, severity is mistake\n"
    "                          or hint\n"
    "      --unsafe            give the script Lua's os and io, as kt run --unsafe does\n"
    "      --path DIR          look in DIR for modules not beside the script, as kt run --path does\n"
    "      --allow-read DIR    let kt.file read in DIR, as kt run --allow-read does\n"
    "      --allow-write DIR   let kt.append write in DIR, as kt run --allow-write does\n"
    "      --env NAME          let the script read kt.env.NAME, as kt run --env does\n"
    "      --memory SIZE       memory limit of the script, as for kt run --memory (default 256MiB)\n"
    "  -h, --help              show this help\n";

int kt_verb_check(int argc, char **argv, const struct kt_verb *verbs)
{
    (void)verbs;
    char text[] = "text", as_json[] = "json";
    bool json = false;
    struct kt_start start = {
        .name = "check", .module = "kt.cli.check", .level = KT_LOG_WARN, .memory = KT_START_MEMORY};
    const struct kt_flag flags[] = {{"--json", KT_FLAG_ON, &json}, {"--unsafe", KT_FLAG_ON, &start.unsafe},
        {"--path", KT_FLAG_TEXT, &start.path}, {"--allow-read", KT_FLAG_LIST, &start.allow_read},
        {"--allow-write", KT_FLAG_LIST, &start.allow_write}, {"--env", KT_FLAG_LIST, &start.env},
        {"--memory", KT_FLAG_MEMORY, &start.memory}, {NULL, KT_FLAG_ON, NULL}};
    int code;
    const int script = kt_flags_read(help, flags, argc, argv, &code);
    if (script < 0) return code;
    argv[script - 1] =
        json ? as_json
             : text; /* the module's arguments: the format, the script, and the script's own arguments */
    start.argc = argc - script + 1;
    start.argv = argv + script - 1;
    return kt_start(&start);
}
