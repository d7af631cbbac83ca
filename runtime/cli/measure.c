/* The verbs that measure the path to a server: ping, speed, doctor. A script in the binary (lua/kt/cli/measure.lua),
 * which gets the command line with its verb. */
#include "cli/start.h"
#include "cli/verb.h"

int kt_verb_measure(int argc, char **argv, const struct kt_verb *verbs)
{
    (void)verbs;
    return kt_start(&(struct kt_start){
        .name = argv[0], .module = "kt.cli.measure", .argc = argc, .argv = argv, .level = KT_LOG_ERROR});
}
