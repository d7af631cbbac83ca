/* Settings of a wire, as a table: a row has a setting's name, type, range, defaults, and whether an open link
 * can change it. Everything else walks this table: reading a script's table, checks, link:set, and, through
 * lua/kt/api/, the flags, `kt check`, the types and the reference. */
#ifndef KT_LINK_SETTINGS_H
#define KT_LINK_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/addr.h"
#include "base/err.h"

/* The types of kt.schema. FLAG: a boolean that may be written as 0 or 1. DURATION: ranges and defaults are in
 * seconds, the value in microseconds. NAME: a string. */
enum kt_setting_type {
    KT_SETTING_BOOLEAN,
    KT_SETTING_FLAG,
    KT_SETTING_INTEGER,
    KT_SETTING_SIZE,
    KT_SETTING_RATE,
    KT_SETTING_DURATION,
    KT_SETTING_NAME
};

struct kt_setting {
    const char *path;   /* in the table of kt.link or kt.accept: "kcp.mtu" */
    const char *member; /* in the wire's struct */
    enum kt_setting_type type;
    size_t offset, size; /* of the member: a bool, an unsigned integer of 4 or 8 bytes, or a const char * */
    uint64_t min, max;   /* BOOLEAN and FLAG: 0 and 1; NAME: none */
    uint64_t link, acceptor; /* defaults */
    const char *name;        /* NAME: default */
    bool live;               /* kt_link_set can change it */
};

/* A peer that may come in, by its public key. */
struct kt_authorized {
    const char *name;
    const char *key; /* as `kt keygen --pair` writes it */
};

#define KT_DEVICE 16u /* bytes of an interface's name, with its NUL */

/* The near end of a path: an address of this machine, or else an interface. */
struct kt_local {
    struct kt_addr address; /* AF_UNSPEC: the interface */
    char device[KT_DEVICE];
};

/* The most elements of lists: KT_REMOTES_MAX, KT_LOCALS_MAX. */
enum {
#define KT_LIST(path, name, most) KT_##name##_MAX = most,
#include "link/settings.def"
#undef KT_LIST
};

/* The settings of every wire begin with these; the wire's own follow. The keys are as typed, and are read only during
 * the call that makes a link or an acceptor. */
struct kt_settings {
    struct kt_endpoint at; /* the peer (link), or where to listen (acceptor) */
    /* Link: further addresses of the peer; borrowed, as the keys are; NULL: none. */
    const struct kt_endpoint *others;
    size_t others_count; /* at most KT_REMOTES_MAX - 1 */
    /* Link: this machine's addresses and interfaces to use; borrowed; NULL: the system chooses. */
    const struct kt_local *locals;
    size_t locals_count; /* at most KT_LOCALS_MAX */
    const void *key;     /* the shared one; NULL: none */
    size_t key_len;
    const void *private_key; /* this end's, of a pair; NULL: none */
    size_t private_key_len;
    const char *server_key; /* link: the acceptor's public key; NULL: none */
    /* Acceptor: the clients that may come in; NULL: see `asks`, or anyone with the key. */
    const struct kt_authorized *authorized;
    size_t authorized_count;
    bool asks;      /* acceptor: kt_acceptor_events.authorize says who may come in, not `authorized` */
    char mode[16];  /* the preset that was chosen by name */
    uint64_t given; /* bit i: the user gave a value for row i; the others may be chosen to suit the mode */
    bool stay;      /* link: dials at once and keeps dialling (kt_link_stay) */
};

/* The rows of a wire and the size of its struct. */
struct kt_settings_table {
    const struct kt_setting *rows;
    size_t count;
    size_t size;
};

/* Zeroes all of it, padding included, and sets the defaults of a link or an acceptor. */
void kt_settings_init(const struct kt_settings_table *t, struct kt_settings *s, bool client);
/* 0, or KT_ECONFIG with a sentence that names the setting, its range and its value. */
int kt_settings_check(const struct kt_settings_table *t, const struct kt_settings *s, struct kt_err *err);
/* Copies the mode and the values that can change while a link is open. */
void kt_settings_follow(
    const struct kt_settings_table *t, struct kt_settings *s, const struct kt_settings *to);

/* The row of a path, which must be in the table, as a bit of kt_settings.given. */
uint64_t kt_setting_bit(const struct kt_settings_table *t, const char *path);
/* A value that is too large for the member becomes the largest that fits. Not a NAME. */
void kt_setting_set(const struct kt_setting *row, struct kt_settings *s, uint64_t value);
void kt_setting_set_name(
    const struct kt_setting *row, struct kt_settings *s, const char *name); /* borrowed */

#endif
