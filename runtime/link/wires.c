/* The wires that kt speaks, found by name. The table: wires.def. */
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
