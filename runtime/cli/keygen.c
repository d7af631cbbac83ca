/* kt keygen: new keys for kt's own wire (crypto/keyfile.h). Never overwrites a file, and leaves no incomplete
 * one behind. Only the owner can read files that hold a secret. */
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli/flags.h"
#include "cli/verb.h"
#include "crypto/crypto.h"
#include "crypto/hash.h"
#include "crypto/keyfile.h"
#include "crypto/noise.h"
#include "io/system.h"
#include "io/uv/uv.h"

static const char help[] =
    "usage: kt keygen [--out FILE]\n"
    "       kt keygen --pair NAME\n"
    "\n"
    "Make a shared key of 32 random bytes, the same for both ends, and print it in base64. Or make\n"
    "a key pair: a private key that stays where it is, and a public key for the other end.\n"
    "An existing file is not overwritten.\n"
    "\n"
    "      --out FILE    write the shared key to FILE (mode 0600) instead of standard output\n"
    "      --pair NAME   write a key pair to NAME.key (mode 0600) and NAME.pub\n"
    "  -h, --help        show this help\n";

#define FILE_TEXT (32u + KT_KEY_TEXT) /* a comment, and the key */

static int complain(const char *text)
{
    fprintf(stderr, "kt keygen: %s\n", text);
    return 1;
}

static int misused(const char *arg, const char *what)
{
    fprintf(stderr, "kt keygen: %s: %s\n%s", arg, what, help);
    return 1;
}

static int random_key(uint8_t key[KT_KEY])
{
    struct kt_io *io;
    struct kt_err err;
    if (kt_crypto_init(&err)) return complain(err.text);
    if (kt_uv_new(&io, NULL, 0, &err)) return complain(err.text);
    kt_io_random(io, key, KT_KEY);
    kt_io_free(io);
    return 0;
}

/* Creates a file with a comment (may be empty) and a key in it. */
static int write_key(const char *path, const char *comment, const uint8_t key[KT_KEY], bool secret)
{
    char text[FILE_TEXT], encoded[KT_KEY_TEXT];
    struct kt_err err;
    kt_key_encode(key, encoded);
    const int len = snprintf(text, sizeof text, "%s%s\n", comment, encoded);
    const mode_t old = secret ? umask(077) : 0;
    const int rc = kt_system_file_create(NULL, path, text, (size_t)len, &err);
    if (secret) umask(old);
    kt_wipe(text, sizeof text);
    kt_wipe(encoded, sizeof encoded);
    if (rc == 0) return 0;
    return complain(err.text);
}

static int print_shared(void)
{
    uint8_t key[KT_KEY];
    char text[KT_KEY_TEXT];
    if (random_key(key)) return 1;
    kt_key_encode(key, text);
    const bool ok = puts(text) >= 0 && fflush(stdout) == 0;
    kt_wipe(key, sizeof key);
    kt_wipe(text, sizeof text);
    return ok ? 0 : complain("cannot write to standard output");
}

static int write_shared(const char *path)
{
    uint8_t key[KT_KEY];
    if (random_key(key)) return 1;
    const int code = write_key(path, "", key, true);
    kt_wipe(key, sizeof key);
    if (code == 0) printf("wrote %s, which only you can read; copy it to the other end\n", path);
    return code;
}

static int write_pair(const char *name)
{
    char private_path[PATH_MAX], public_path[PATH_MAX];
    uint8_t private_key[KT_KEY], public_key[KT_KEY];
    struct stat st;
    if ((size_t)snprintf(private_path, sizeof private_path, "%s.key", name) >= sizeof private_path)
        return complain("the name is too long");
    snprintf(public_path, sizeof public_path, "%s.pub", name);
    if (lstat(public_path, &st) == 0) { /* check both before writing half of the pair */
        fprintf(stderr, "kt keygen: %s already exists; not overwritten\n", public_path);
        return 1;
    }
    if (random_key(private_key)) return 1;
    kt_noise_public(private_key, public_key);
    int code = write_key(private_path, "# kt private key\n", private_key, true);
    kt_wipe(private_key, sizeof private_key);
    if (code) return code;
    code = write_key(public_path, "# kt public key\n", public_key, false);
    if (code)
        unlink(private_path); /* useless without the public key */
    else
        printf("wrote %s, which stays here, and %s for the other end\n", private_path, public_path);
    return code;
}

int kt_verb_keygen(int argc, char **argv, const struct kt_verb *verbs)
{
    (void)verbs;
    const char *out = NULL, *pair = NULL;
    const struct kt_flag flags[] = {
        {"--out", KT_FLAG_TEXT, &out}, {"--pair", KT_FLAG_TEXT, &pair}, {NULL, KT_FLAG_ON, NULL}};
    int code;
    if (kt_flags_read_all(help, flags, 0, argc, argv, &code) < 0) return code;
    if (out && pair) return misused("--pair", "give one of --out and --pair");
    if (out && !*out) return misused("--out", "expected a value");
    if (pair && !*pair) return misused("--pair", "expected a value");
    return pair ? write_pair(pair) : out ? write_shared(out) : print_shared();
}
