/* Verbs: the first argument of `kt`. main.c has the table. Verbs that are alike share a file: attach.c, measure.c. */
#ifndef KT_CLI_VERB_H
#define KT_CLI_VERB_H

#include <stdbool.h>
#include <stdio.h>

struct kt_verb {
    const char *name;
    const char *summary; /* one line, for the list */
    /* argv[0] is the verb's name. verbs: the whole table, for help. Returns the process' exit code. */
    int (*run)(int argc, char **argv, const struct kt_verb *verbs);
};

int kt_verb_run(int argc, char **argv, const struct kt_verb *verbs);
int kt_verb_check(int argc, char **argv, const struct kt_verb *verbs);
int kt_verb_new(int argc, char **argv, const struct kt_verb *verbs);
int kt_verb_test(int argc, char **argv, const struct kt_verb *verbs);
int kt_verb_client(int argc, char **argv, const struct kt_verb *verbs);
int kt_verb_server(int argc, char **argv, const struct kt_verb *verbs);
int kt_verb_sip003(int argc, char **argv, const struct kt_verb *verbs);
int kt_verb_attach(int argc, char **argv, const struct kt_verb *verbs);  /* those that talk to a running kt */
int kt_verb_measure(int argc, char **argv, const struct kt_verb *verbs); /* those that measure a path */
int kt_verb_reload(int argc, char **argv, const struct kt_verb *verbs);
int kt_verb_keygen(int argc, char **argv, const struct kt_verb *verbs);
int kt_verb_version(int argc, char **argv, const struct kt_verb *verbs);
int kt_verb_help(int argc, char **argv, const struct kt_verb *verbs);

/* Whether shadowsocks has started kt as its plugin: the variables of SIP003 are set. */
bool kt_sip003_asked(void);

/* Prints the table, one line per verb. */
void kt_verbs_list(FILE *to, const struct kt_verb *verbs);

#endif
