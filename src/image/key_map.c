/* SPDX-License-Identifier: Apache-2.0 */
/* A map by open addressing. Names come from hostile archives: they are hashed by SipHash-2-4
 * (Aumasson and Bernstein, 2012). */
#include "image/key_map.h"

#include "sys/fd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void key_map_clear(struct key_map *map)
{
    free(map->keys);
    free(map->values);
    *map = (struct key_map){0};
}

static uint64_t rotate(uint64_t x, unsigned by)
{
    return x << by | x >> (64 - by);
}

static void sip_round(uint64_t v[static 4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

static void sip_word(uint64_t v[static 4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    sip_round(v);
    v[0] ^= word;
}

uint64_t key_map_name(struct key_map *map, uint64_t directory, const char *name)
{
    if (map->secret[0] == 0 && map->secret[1] == 0)
        random_fill(map->secret, sizeof(map->secret));
    uint64_t v[4] = {
        map->secret[0] ^ 0x736f6d6570736575,
        map->secret[1] ^ 0x646f72616e646f6d,
        map->secret[0] ^ 0x6c7967656e657261,
        map->secret[1] ^ 0x7465646279746573,
    };
    size_t length = strlen(name);
    sip_word(v, directory);
    for (size_t at = 0; at + 8 <= length; at += 8) {
        uint64_t word = 0;
        memcpy(&word, name + at, 8);
        sip_word(v, word);
    }
    uint64_t last = (uint64_t)(length + 8) << 56;
    for (size_t i = 0; i < length % 8; i++)
        last |= (uint64_t)(unsigned char)name[length - length % 8 + i] << 8 * i;
    sip_word(v, last);
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++)
        sip_round(v);
    uint64_t key = v[0] ^ v[1] ^ v[2] ^ v[3];
    return key ? key : 1;
}

/* Where the key is, or would be. */
static size_t place_of(const struct key_map *map, uint64_t key)
{
    size_t at = (size_t)(key * 0x9e3779b97f4a7c15) & (map->capacity - 1);
    while (map->keys[at] != 0 && map->keys[at] != key)
        at = (at + 1) & (map->capacity - 1);
    return at;
}

static int grow(struct key_map *map)
{
    struct key_map larger = *map;
    larger.capacity = map->capacity ? map->capacity * 2 : 256;
    larger.keys = calloc(larger.capacity, sizeof(*larger.keys));
    larger.values = calloc(larger.capacity, sizeof(*larger.values));
    if (!larger.keys || !larger.values) {
        free(larger.keys);
        free(larger.values);
        return -ENOMEM;
    }
    for (size_t i = 0; i < map->capacity; i++) {
        if (map->keys[i] == 0)
            continue;
        size_t at = place_of(&larger, map->keys[i]);
        larger.keys[at] = map->keys[i];
        larger.values[at] = map->values[i];
    }
    struct key_map smaller = *map;
    *map = larger;
    free(smaller.keys);
    free(smaller.values);
    return 0;
}

int key_map_put(struct key_map *map, uint64_t key, uint32_t value)
{
    if (map->n + 1 > map->capacity - map->capacity / 4) {
        int r = grow(map);
        if (r < 0)
            return r;
    }
    size_t at = place_of(map, key);
    map->n += map->keys[at] == 0;
    map->keys[at] = key;
    map->values[at] = value;
    return 0;
}

bool key_map_get(const struct key_map *map, uint64_t key, uint32_t *ret)
{
    if (map->capacity == 0)
        return false;
    size_t at = place_of(map, key);
    if (map->keys[at] != key)
        return false;
    if (ret)
        *ret = map->values[at];
    return true;
}
