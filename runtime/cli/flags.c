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
        return kt_memory_parse(value, flag->out) ? NULL : "expected a size such as 64MiB, or none";
    case KT_FLAG_LEVEL:
        return kt_log_level_parse(value, flag->out) ? NULL : "expected debug, info, warn, error or quiet";
    case KT_FLAG_FORMAT:
        return kt_log_format_parse(value, flag->out) ? NULL : "expected text, json or journald";
    }
    return NULL;
}

int kt_flags_read(const char *help, const struct kt_flag *flags, int argc, char **argv, int *code)
{
    int i = 1;
    *code = 1;
    for (; i < argc && argv[i][0] == '-' && argv[i][1]; i++) {
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
            fputs(help, stdout);
            *code = 0;
            return -1;
        }
        if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        }
        const struct kt_flag *flag = find(flags, argv[i]);
        if (!flag) {
            fprintf(stderr, "kt %s: %s: unknown flag\n%s", argv[0], argv[i], help);
            return -1;
        }
        if (flag->type != KT_FLAG_ON && ++i >= argc) {
            fprintf(stderr, "kt %s: %s: expected a value\n%s", argv[0], flag->name, help);
            return -1;
        }
        const char *wrong = store(flag, argv[i]);
        if (wrong) {
            fprintf(stderr, "kt %s: %s: %s, got %s\n%s", argv[0], flag->name, wrong, argv[i], help);
            return -1;
        }
    }
    if (i < argc) return i;
    fprintf(stderr, "kt %s: no script given\n%s", argv[0], help);
    return -1;
}
