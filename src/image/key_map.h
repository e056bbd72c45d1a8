/* SPDX-License-Identifier: Apache-2.0 */
/* A map from 64-bit keys to numbers, of a few bytes an entry: what an image may have millions
 * of. Keys that stand for names are hashes with a secret key, so that nobody can make two names
 * one. No privilege; allocates. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct key_map {
    uint64_t *keys; /* 0: a free place */
    uint32_t *values;
    size_t n;
    size_t capacity;
    uint64_t secret[2]; /* chosen with the first name */
};

#define _cleanup_key_map_ _cleanup_(key_map_clear)
void key_map_clear(struct key_map *map);

/* The key of `name` in the directory of that inode number; never 0. */
uint64_t key_map_name(struct key_map *map, uint64_t directory, const char *name);

/* Sets a key's value; what it was before is forgotten. 0 or -ENOMEM. */
int key_map_put(struct key_map *map, uint64_t key, uint32_t value) _must_check_;

/* Whether the key is there; ret may be NULL. */
bool key_map_get(const struct key_map *map, uint64_t key, uint32_t *ret);
