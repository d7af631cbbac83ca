/* Reads flags according to a table (flags.h). */
#include "cli/flags.h"
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include "cli/start.h"

static const char *add(struct kt_flag_list *list, const char *value)
{
    size_t n = 0;
    while (list->items[n]) n++;
    if (n == KT_FLAG_LIST_MAX) return "at most 32 times";
    list->items[n] = value;
    return NULL;
}

static const struct kt_flag *find(const struct kt_flag *flags, const char *name)
{
    for (; flags->name; flags++)
        if (strcmp(flags->name, name) == 0) return flags;
    return NULL;
}

/* NULL, or what is wrong with the value. */
static const char *store(const struct kt_flag *flag, const char *value)
{
    switch (flag->type) {
    case KT_FLAG_ON:
        *(bool *)flag->out = true;
        return NULL;
    case KT_FLAG_TEXT:
        *(const char **)flag->out = value;
        return NULL;
    case KT_FLAG_LIST:
        return add(flag->out, value);
    case KT_FLAG_MEMORY:
        return kt_start_parse_memory(value, flag->out) ? NULL : "expected a size such as 64MiB, or none";
    case KT_FLAG_LEVEL:
        return kt_log_level_parse(value, flag->out) ? NULL : "expected debug, info, warn, error or quiet";
    case KT_FLAG_FORMAT:
        return kt_log_format_parse(value, flag->out) ? NULL : "expected text, json or journald";
    }
    return NULL;
}

static int refuse(const char *verb, const char *arg, const char *wrong, const char *help)
{
    fprintf(stderr, "kt %s: %s: %s\n%s", verb, arg, wrong, help);
    return -1;
}

static bool is_flag(const char *arg)
{
    return arg[0] == '-' && arg[1];
}

bool kt_flags_help(const char *help, const char *arg)
{
    if (strcmp(arg, "-h") != 0 && strcmp(arg, "--help") != 0) return false;
    fputs(help, stdout);
    return true;
}

/* Reads the flag argv[*at] and moves *at to its value, if it has one. Returns 0, or -1 as kt_flags_read does. */
static int read_flag(const char *help, const struct kt_flag *flags, int *at, int argc, char **argv, int *code)
{
    if (kt_flags_help(help, argv[*at])) {
        *code = 0;
        return -1;
    }
    const struct kt_flag *flag = find(flags, argv[*at]);
    if (!flag) return refuse(argv[0], argv[*at], "unknown flag", help);
    if (flag->type != KT_FLAG_ON && ++*at >= argc)
        return refuse(argv[0], flag->name, "expected a value", help);
    const char *wrong = store(flag, argv[*at]);
    if (!wrong) return 0;
    fprintf(stderr, "kt %s: %s: %s, got %s\n%s", argv[0], flag->name, wrong, argv[*at], help);
    return -1;
}

int kt_flags_read(const char *help, const struct kt_flag *flags, int argc, char **argv, int *code)
{
    int i = 1;
    *code = 1;
    for (; i < argc && is_flag(argv[i]); i++) {
        if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        }
        if (read_flag(help, flags, &i, argc, argv, code)) return -1;
    }
    if (i < argc) return i;
    fprintf(stderr, "kt %s: no script given\n%s", argv[0], help);
    return -1;
}

int kt_flags_read_all(
    const char *help, const struct kt_flag *flags, int most, int argc, char **argv, int *code)
{
    int n = 0;
    *code = 1;
    for (int i = 1; i < argc; i++) {
        if (is_flag(argv[i])) {
            if (read_flag(help, flags, &i, argc, argv, code)) return -1;
        } else if (n == most) {
            return refuse(argv[0], argv[i], "unexpected argument", help);
        } else {
            argv[++n] = argv[i];
        }
    }
    return n;
}
