/* Fuzz target: a request on the control socket. What is accepted has a command, an id that is JSON again, and arguments
 * that can be printed; what is refused comes with a sentence and keeps nothing. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/json.h"
#include "check.h"
#include "control/request.h"

struct cJSON;
void cJSON_Delete(struct cJSON *tree);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_json(const char *text)
{
    struct cJSON *tree;
    struct kt_err err = {0};
    CHECK(kt_json_parse(text, strlen(text), &tree, &err) == 0);
    cJSON_Delete(tree);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const known[] = {"level", "conn", NULL};
    struct kt_control_request r;
    struct kt_err err = {0};
    char *line = malloc(size + 1);
    if (!line) return 0;
    if (size) memcpy(line, data, size);
    line[size] = '\0';
    const int rc = kt_control_request_parse(&r, line, size, &err);
    CHECK(strlen(r.id) < sizeof r.id);
    if (r.id[0]) check_json(r.id);
    if (rc == 0) {
        int64_t n;
        CHECK(r.cmd[0] && strlen(r.cmd) <= KT_CONTROL_COMMAND_MAX);
        CHECK(kt_control_args_known(&r, known, &err) || err.text[0]);
        (void)kt_control_arg_text(&r, "level");
        if (kt_control_arg_integer(&r, "conn", 1, 100, &n)) CHECK(n >= 1 && n <= 100);
        char *args = kt_control_args_json(&r);
        CHECK(args);
        check_json(args);
        free(args);
    } else {
        CHECK(!r.tree && !r.args && err.code && err.text[0]);
    }
    kt_control_request_free(&r);
    free(line);
    return 0;
}
