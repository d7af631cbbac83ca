/* Reading, writing and checking settings through their table. Values are in the wire's own struct, at the
 * offset in the row. */
#include "link/settings.h"
#include <assert.h>
#include <string.h>

#define SECOND_US 1000000u

static uint64_t unit(const struct kt_setting *row)
{
    return row->type == KT_SETTING_DURATION ? SECOND_US : 1;
}

/* Not of a NAME. */
static uint64_t get(const struct kt_setting *row, const struct kt_settings *s)
{
    const char *at = (const char *)s + row->offset;
    bool flag;
    uint32_t u32;
    uint64_t u64;
    switch (row->size) {
    case sizeof flag:
        memcpy(&flag, at, sizeof flag);
        return flag;
    case sizeof u32:
        memcpy(&u32, at, sizeof u32);
        return u32;
    default:
        assert(row->size == sizeof u64 && row->type != KT_SETTING_NAME);
        memcpy(&u64, at, sizeof u64);
        return u64;
    }
}

void kt_setting_set(const struct kt_setting *row, struct kt_settings *s, uint64_t value)
{
    char *at = (char *)s + row->offset;
    const bool flag = value != 0;
    const uint32_t u32 = value < UINT32_MAX ? (uint32_t)value : UINT32_MAX;
    switch (row->size) {
    case sizeof flag:
        memcpy(at, &flag, sizeof flag);
        break;
    case sizeof u32:
        memcpy(at, &u32, sizeof u32);
        break;
    default:
        assert(row->size == sizeof value && row->type != KT_SETTING_NAME);
        memcpy(at, &value, sizeof value);
        break;
    }
}

void kt_setting_set_name(const struct kt_setting *row, struct kt_settings *s, const char *name)
{
    assert(row->type == KT_SETTING_NAME);
    memcpy((char *)s + row->offset, &name, sizeof name);
}

uint64_t kt_setting_bit(const struct kt_settings_table *t, const char *path)
{
    size_t i = 0;
    while (i < t->count && strcmp(t->rows[i].path, path) != 0) i++;
    assert(i < t->count && i < 64);
    return UINT64_C(1) << i;
}

void kt_settings_init(const struct kt_settings_table *t, struct kt_settings *s, bool client)
{
    memset(s, 0, t->size); /* padding too: settings are compared as bytes */
    for (size_t i = 0; i < t->count; i++) {
        const struct kt_setting *row = &t->rows[i];
        if (row->type == KT_SETTING_NAME)
            kt_setting_set_name(row, s, row->name);
        else
            kt_setting_set(row, s, (client ? row->link : row->acceptor) * unit(row));
    }
}

int kt_settings_check(const struct kt_settings_table *t, const struct kt_settings *s, struct kt_err *err)
{
    for (size_t i = 0; i < t->count; i++) {
        const struct kt_setting *row = &t->rows[i];
        if (row->type == KT_SETTING_NAME) continue;
        const uint64_t value = get(row, s), min = row->min * unit(row), max = row->max * unit(row);
        if (value >= min && value <= max) continue;
        if (row->type == KT_SETTING_DURATION)
            return kt_err_set(err, KT_ECONFIG, "%s: expected %llu s to %llu s, got %.6g s", row->path,
                (unsigned long long)row->min, (unsigned long long)row->max, (double)value / SECOND_US);
        return kt_err_set(err, KT_ECONFIG, "%s: expected %llu to %llu, got %llu", row->path,
            (unsigned long long)min, (unsigned long long)max, (unsigned long long)value);
    }
    return 0;
}

void kt_settings_follow(
    const struct kt_settings_table *t, struct kt_settings *s, const struct kt_settings *to)
{
    memcpy(s->mode, to->mode, sizeof s->mode);
    s->given = to->given;
    for (size_t i = 0; i < t->count; i++) {
        const struct kt_setting *row = &t->rows[i];
        if (row->live) kt_setting_set(row, s, get(row, to));
    }
}
