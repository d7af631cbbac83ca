/* kt test: busted with kt.sim. Specs are the user's own programs, so they get a plain state with Lua's whole
 * library; scripts on simulated hosts have their own states. */
#include "script/sim/test.h"
#include "cli/verb.h"

int kt_verb_test(int argc, char **argv, const struct kt_verb *verbs)
{
    (void)verbs;
    return kt_test_run(argc, argv);
}
