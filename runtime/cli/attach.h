/* Verbs that talk to a running kt on its control socket (lua/kt/cli/control.lua). */
#ifndef KT_CLI_ATTACH_H
#define KT_CLI_ATTACH_H

/* Runs the verb argv[0] with its command line. Returns the process's exit code; KT_ATTACH_NONE: there is no such
 * instance, or there are several and none was named. */
int kt_attach(int argc, char **argv);
#define KT_ATTACH_NONE 2

#endif
