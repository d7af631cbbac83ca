/* Translates between KT_E codes and the numbers that stand for them on kt's wire, by the table in code.h. */
#include "link/native/code.h"

#include "base/err.h"

uint64_t kt_native_code_of(int error)
{
#define FIND(name, num, code)                                                                                \
    if (error == (code)) return num;
    KT_NATIVE_CODES(FIND)
#undef FIND
    return KT_NATIVE_CODE_INTERNAL;
}

int kt_native_code_error(uint64_t code)
{
    switch (code) {
#define CASE(name, num, error)                                                                               \
    case num:                                                                                                \
        return error;
        KT_NATIVE_CODES(CASE)
#undef CASE
    }
    return KT_ECLOSED;
}
