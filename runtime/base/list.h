/* Intrusive doubly linked list. A node that is in no list points to itself, so it may be removed at any time. */
#ifndef KT_BASE_LIST_H
#define KT_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct kt_list {
    struct kt_list *next, *prev;
};

#define KT_CONTAINER(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void kt_list_init(struct kt_list *l)
{
    l->next = l->prev = l;
}

static inline bool kt_list_empty(const struct kt_list *l)
{
    return l->next == l;
}

static inline void kt_list_push(struct kt_list *head, struct kt_list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

static inline void kt_list_remove(struct kt_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    kt_list_init(node);
}

/* Removes and returns the first node; NULL if the list is empty. */
static inline struct kt_list *kt_list_pop(struct kt_list *head)
{
    struct kt_list *node = head->next;
    if (node == head) return NULL;
    kt_list_remove(node);
    return node;
}

/* Moves all nodes of `from` to `to`, which need not be initialized. */
static inline void kt_list_take(struct kt_list *to, struct kt_list *from)
{
    kt_list_init(to);
    if (kt_list_empty(from)) return;
    *to = *from;
    to->next->prev = to->prev->next = to;
    kt_list_init(from);
}

#endif
