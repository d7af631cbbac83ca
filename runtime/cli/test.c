/* kt test: busted, with kt.sim at hand. The state is a plain one with all of Lua's library, as specs are the
 * user's own programs; the scripts that they run on simulated hosts have states of their own. */
#include "script/sim/test.h"
#include "cli/verb.h"

int kt_verb_test(int argc, char **argv, const struct kt_verb *verbs)
{
    (void)verbs;
    return kt_test_run(argc, argv);
}
