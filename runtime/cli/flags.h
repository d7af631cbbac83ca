/* Reads the flags of verbs that read them before Lua runs. */
#ifndef KT_CLI_FLAGS_H
#define KT_CLI_FLAGS_H

#include <stdbool.h>

enum kt_flag_type {
    KT_FLAG_ON,     /* bool *: true when given */
    KT_FLAG_TEXT,   /* const char **: the next argument */
    KT_FLAG_LIST,   /* struct kt_flag_list *: the next argument; may be given several times */
    KT_FLAG_MEMORY, /* size_t *: bytes ("64MiB"), 0 for "none" */
    KT_FLAG_LEVEL,  /* enum kt_log_level * */
    KT_FLAG_FORMAT, /* enum kt_log_format * */
};
#define KT_FLAG_LIST_MAX 32u
struct kt_flag_list {
    const char *items[KT_FLAG_LIST_MAX + 1]; /* ends with NULL */
};
struct kt_flag {
    const char *name; /* "--unsafe"; NULL ends a table */
    enum kt_flag_type type;
    void *out;
};

/* Reads the flags of argv[0], the verb, up to the first operand or `--`; -h and --help print `help`. Returns the
 * index of the script, which must follow, or -1 with the exit code in *code and the reason on standard error. */
int kt_flags_read(const char *help, const struct kt_flag *flags, int argc, char **argv, int *code);

/* Likewise, but operands, at most `most`, and flags may come in any order. Moves the operands to argv[1] and on, and
 * returns their number. */
int kt_flags_read_all(
    const char *help, const struct kt_flag *flags, int most, int argc, char **argv, int *code);
/* If arg is -h or --help, prints `help` and returns true. */
bool kt_flags_help(const char *help, const char *arg);

#endif
