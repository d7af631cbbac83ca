/* Fuzz target: JSON. What is accepted is within the bounds, holds no invalid string or number, and can be printed and
 * read again; what is refused comes with a sentence. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/json.h"
#include "check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_string(const char *s)
{
    for (size_t left = strlen(s); left > 0;) {
        const size_t n = kt_utf8_length(s, left);
        CHECK(n > 0);
        s += n;
        left -= n;
    }
}

static size_t check_tree(const cJSON *node, size_t depth)
{
    size_t values = 1;
    CHECK(depth <= KT_JSON_DEPTH_MAX + 1);
    if (cJSON_IsNumber(node)) CHECK(isfinite(node->valuedouble));
    if (cJSON_IsString(node)) check_string(node->valuestring);
    for (const cJSON *child = node->child; child; child = child->next) {
        if (cJSON_IsObject(node)) check_string(child->string);
        values += check_tree(child, depth + 1);
    }
    return values;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    if (!text) return 0;
    if (size) memcpy(text, data, size);
    text[size] = '\0';
    cJSON *tree, *again;
    struct kt_err err = {0};
    if (kt_json_parse(text, size, &tree, &err) == 0) {
        CHECK(check_tree(tree, 1) <= 2 * KT_JSON_VALUES_MAX + 1);
        char *printed = cJSON_PrintUnformatted(tree);
        CHECK(printed && kt_json_parse(printed, strlen(printed), &again, &err) == 0);
        cJSON_Delete(again);
        cJSON_free(printed);
        cJSON_Delete(tree);
    } else {
        CHECK(!tree && err.code && err.text[0]);
    }
    free(text);
    return 0;
}
