/* The wires that kt speaks, found by name (the table: wires.def), and where their settings are. */
#include <stdalign.h>
#include <string.h>
#include "link/wire.h"

#define KT_WIRE(name, folder) extern const struct kt_wire kt_##folder##_wire;
#include "link/wires.def"
#undef KT_WIRE

const struct kt_wire *kt_wire_find(const char *name)
{
    static const struct kt_wire *const wires[] = {
#define KT_WIRE(name, folder) &kt_##folder##_wire,
#include "link/wires.def"
#undef KT_WIRE
    };
    for (size_t i = 0; i < sizeof wires / sizeof wires[0]; i++)
        if (strcmp(wires[i]->name, name) == 0) return wires[i];
    return NULL;
}

/* The settings of parts lie behind the common ones, each aligned for anything. */
static size_t aligned(size_t size)
{
    const size_t to = alignof(max_align_t);
    return (size + to - 1) / to * to;
}

size_t kt_wire_size(const struct kt_wire *w)
{
    if (!w->parts) return w->settings->size;
    size_t size = aligned(sizeof(struct kt_settings));
    for (size_t i = 0; w->parts[i]; i++) size += aligned(w->parts[i]->settings->size);
    return size;
}

struct kt_settings *kt_wire_part(
    const struct kt_wire *w, struct kt_settings *s, size_t i, const struct kt_wire **of)
{
    const struct kt_wire *part = w->parts ? w->parts[i] : i == 0 ? w : NULL;
    if (of) *of = part;
    if (!part || part == w) return part ? s : NULL;
    size_t offset = aligned(sizeof(struct kt_settings));
    for (size_t k = 0; k < i; k++) offset += aligned(w->parts[k]->settings->size);
    return (struct kt_settings *)(void *)((char *)s + offset);
}
