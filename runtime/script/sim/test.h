/* `kt test`: runs lua/kt/cli/test.lua in a plain Lua state. */
#ifndef KT_SCRIPT_SIM_TEST_H
#define KT_SCRIPT_SIM_TEST_H

/* argv[0] is the verb. Returns the process's exit code. */
int kt_test_run(int argc, char **argv);

#endif
