/* The verbs that talk to a running kt: status, top, list, drain, log, events, close, trace, repl. Finds the control
 * sockets; the rest is a script (lua/kt/cli/control.lua), which gets their paths, "--", and the command line with its
 * verb. */
#include "cli/attach.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "cli/start.h"
#include "cli/verb.h"
#include "control/folder.h"

int kt_attach(int argc, char **argv)
{
    static char separator[] = "--";
    char(*paths)[KT_CONTROL_PATH] = malloc(KT_CONTROL_LIST_MAX * sizeof *paths);
    char **args = malloc((KT_CONTROL_LIST_MAX + 1 + (size_t)argc) * sizeof *args);
    int code = 1;
    umask(077); /* what kt trace writes is for its user only */
    if (paths && args) {
        size_t n = kt_control_list(paths, KT_CONTROL_LIST_MAX);
        for (size_t i = 0; i < n; i++) args[i] = paths[i];
        args[n++] = separator;
        for (int i = 0; i < argc; i++) args[n++] = argv[i];
        code = kt_start(&(struct kt_start){.name = argv[0],
            .module = "kt.cli.control",
            .argc = (int)n,
            .argv = args,
            .level = KT_LOG_ERROR,
            .unsafe = true /* kt trace writes a file */});
    } else {
        fprintf(stderr, "kt %s: out of memory\n", argv[0]);
    }
    free(paths);
    free(args);
    return code;
}

int kt_verb_attach(int argc, char **argv, const struct kt_verb *verbs)
{
    (void)verbs;
    return kt_attach(argc, argv);
}
