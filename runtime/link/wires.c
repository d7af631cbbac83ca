/* The wires that kt speaks: adding one is a line in this table. */
#include <string.h>
#include "link/wire.h"

extern const struct kt_wire kt_kcptun_wire; /* link/kcptun/wire.c */

const struct kt_wire *kt_wire_find(const char *name)
{
    static const struct kt_wire *const wires[] = {&kt_kcptun_wire};
    for (size_t i = 0; i < sizeof wires / sizeof wires[0]; i++)
        if (strcmp(wires[i]->name, name) == 0) return wires[i];
    return NULL;
}
