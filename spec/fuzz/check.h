/* A check that ends the fuzzer with the place of the failure. */
#ifndef SPEC_FUZZ_CHECK_H
#define SPEC_FUZZ_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(x)                                                                                             \
    do {                                                                                                     \
        if (!(x)) {                                                                                          \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #x);                                  \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

#endif
