/* What `kt test` does (lua/kt/cli/test.lua). */
#ifndef KT_SCRIPT_SIM_TEST_H
#define KT_SCRIPT_SIM_TEST_H

/* argv[0] is the verb. Returns the process' exit code. */
int kt_test_run(int argc, char **argv);

#endif
