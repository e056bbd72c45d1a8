/* SPDX-License-Identifier: Apache-2.0 */
/* From policies to the rights of one caller. Pure. */
#include "spec/policy.h"

#include "base/text.h"
#include "sys/caps.h"

#include <string.h>

void policy_rights_clear(struct policy_rights *rights)
{
    for (size_t i = 0; i < ELEMENTS(rights->items); i++)
        freep(&rights->items[i]);
    *rights = (struct policy_rights){0};
}

const struct policy_item *policy_find(const struct policy_rights *rights, enum policy_key key,
                                      const char *word)
{
    for (size_t i = 0; i < rights->n_items[key]; i++)
        if (streq(rights->items[key][i].word, word))
            return &rights->items[key][i];
    return NULL;
}

bool policy_allows(const struct policy_rights *rights, enum policy_key key, const char *word)
{
    const struct policy_item *item = policy_find(rights, key, word);
    return item && item->open;
}

static bool has_word(const struct policy_value *value, const char *word)
{
    for (size_t i = 0; i < value->n_words; i++)
        if (streq(value->words[i].text, word))
            return true;
    return false;
}

/* What one policy adds. A template says which of it are open; a sandbox without a network is
 * always. */
static void add_items(struct policy_rights *rights, enum policy_key key,
                      const struct policy_value *value)
{
    const struct policy_value *limit =
        rights->of_template ? &rights->of_template->values[key] : NULL;
    for (size_t i = 0; i < value->n_words; i++) {
        const struct policy_word *word = &value->words[i];
        if (policy_find(rights, key, word->text))
            continue;
        bool always = key == POLICY_NETWORKS && streq(word->text, "none");
        rights->items[key][rights->n_items[key]++] = (struct policy_item){
            .word = word->text,
            .from = word->from,
            .open = always || !limit || !limit->said || has_word(limit, word->text),
        };
    }
}

static int combine_list(const struct policy *all, const struct policy *const *groups,
                        size_t n_groups, enum policy_key key, struct policy_rights *rights)
{
    size_t n = all->values[key].n_words + 1;
    for (size_t i = 0; i < n_groups; i++)
        n += groups[i]->values[key].n_words;
    rights->items[key] = calloc(n, sizeof(*rights->items[key]));
    if (!rights->items[key])
        return -ENOMEM;
    add_items(rights, key, &all->values[key]);
    for (size_t i = 0; i < n_groups; i++)
        add_items(rights, key, &groups[i]->values[key]);
    return 0;
}

static void combine_ceiling(const struct policy *all, const struct policy *const *groups,
                            size_t n_groups, enum policy_key key, struct policy_rights *rights)
{
    struct policy_ceiling *ceiling = &rights->ceilings[key];
    *ceiling = (struct policy_ceiling){all->values[key].ceiling, all->values[key].from};
    for (size_t i = 0; i < n_groups; i++) {
        const struct policy_value *value = &groups[i]->values[key];
        if (value->said && value->ceiling > ceiling->value)
            *ceiling = (struct policy_ceiling){value->ceiling, value->from};
    }
    const struct policy_value *limit =
        rights->of_template ? &rights->of_template->values[key] : NULL;
    if (!limit || !limit->said)
        return;
    const struct policy_ceiling of_template = {limit->ceiling, limit->from};
    if (key == POLICY_SANDBOXES)
        rights->of_this_template = of_template;
    else if (of_template.value < ceiling->value)
        *ceiling = of_template;
}

/* Whether members have been told anything, "infinity" included. */
static bool is_said(const struct policy *all, const struct policy *const *groups,
                    size_t n_groups, enum policy_key key)
{
    bool said = all->values[key].said;
    for (size_t i = 0; i < n_groups; i++)
        said = said || groups[i]->values[key].said;
    return said;
}

int policy_combine(const struct policy *all, const struct policy *const *groups,
                   size_t n_groups, const struct policy *of_template, struct policy_rights *ret,
                   struct error *err)
{
    _cleanup_policy_rights_ struct policy_rights rights = {
        .of_template = of_template,
        .of_this_template = {POLICY_NO_CEILING, NULL},
    };
    for (size_t i = 0; i < _POLICY_LISTS; i++)
        if (combine_list(all, groups, n_groups, (enum policy_key)i, &rights) < 0)
            return fail(err, ERROR_SYSTEM, ENOMEM, "policy: ");
    for (size_t i = _POLICY_LISTS; i < _POLICY_KEYS; i++)
        combine_ceiling(all, groups, n_groups, (enum policy_key)i, &rights);
    rights.swap_is_memory = !is_said(all, groups, n_groups, POLICY_SWAP);
    *ret = TAKE_STRUCT(rights);
    return 0;
}

int policy_check_adds(const struct policy *group, const struct policy *all, struct error *err)
{
    for (size_t i = _POLICY_LISTS; i < _POLICY_KEYS; i++) {
        const struct policy_value *mine = &group->values[i];
        const struct policy_value *theirs = &all->values[i];
        char has[32];
        if (!mine->said || mine->ceiling >= theirs->ceiling)
            continue;
        policy_print_ceiling((enum policy_key)i, theirs->ceiling, has, sizeof(has));
        return fail(err, ERROR_INVALID, EINVAL,
                    "%s: %s= is less than what all members have (%s, %s): a group's file only "
                    "adds to it. Set the lower one for all, in isolated.conf, and higher ones "
                    "for groups",
                    mine->from, policy_keys[i].name, has,
                    theirs->from ? theirs->from : "nothing is said");
    }
    return 0;
}

int policy_refuse(const struct policy_rights *rights, enum policy_key key, const char *word,
                  const char *what, struct error *err)
{
    const char *name = policy_keys[key].name;
    if (policy_find(rights, key, word))
        return fail(err, ERROR_DENIED, EPERM,
                    "%s: not with this template: %s= of its policy (%s) does not have \"%s\"; "
                    "see `isolate policy`",
                    what, name, rights->of_template->values[key].from, word);
    return fail(
        err, ERROR_DENIED, EPERM,
        "%s: for root only, unless %s= in [Policy] of the configuration has \"%s\"; see "
        "`isolate policy`",
        what, name, word);
}

uint64_t policy_capabilities(const struct policy_rights *rights)
{
    uint64_t mask = 0;
    for (size_t i = 0; i < rights->n_items[POLICY_CAPABILITIES]; i++)
        if (rights->items[POLICY_CAPABILITIES][i].open)
            mask |= caps_from_name(rights->items[POLICY_CAPABILITIES][i].word);
    return mask;
}
