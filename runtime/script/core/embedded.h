/* The Lua files that ship in the binary (lua/, scripts/examples and what cmake/Embed.cmake adds). */
#ifndef KT_SCRIPT_CORE_EMBEDDED_H
#define KT_SCRIPT_CORE_EMBEDDED_H

#include <stddef.h>

struct kt_embedded {
    const char *module; /* "kt.cli.client", "examples/socks5"; NULL ends the table */
    const char *source; /* NUL-terminated beyond len */
    size_t len;
};
extern const struct kt_embedded kt_embedded[];

#endif
