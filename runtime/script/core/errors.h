/* Errors as a script has them: err objects, and sentences for what a script raises. */
#ifndef KT_SCRIPT_CORE_ERRORS_H
#define KT_SCRIPT_CORE_ERRORS_H

#include <lua.h>

/* Pushes an err object. text NULL: the code's own sentence. */
void kt_lua_err_push(lua_State *L, int code, const char *text);
/* Pushes nil and an err object; returns 2. */
int kt_lua_err_return(lua_State *L, int code, const char *text);
/* The same, inserted before the `extra` values on top of the stack; returns 2 + extra. */
int kt_lua_err_return_before(lua_State *L, int extra, int code, const char *text);
/* The code of the err object at idx, and its text. A string, nil, or an err with a code of the script's own has
 * code KT_ECANCELED; the text is NULL for nil. Raises for any other type, as the method `what`. */
int kt_lua_err_arg(lua_State *L, int idx, const char *what, const char **text);

/* Pushes a sentence that describes the raised value at idx. For a table without __tostring it lists the usual
 * fields instead of an address. May run a __tostring of the script. */
const char *kt_lua_err_raised(lua_State *L, int idx);
/* Adds its functions to kt.core, the table on top of the stack. */
void kt_lua_err_bind(lua_State *L);

#endif
