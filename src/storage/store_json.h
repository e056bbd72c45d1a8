/* SPDX-License-Identifier: Apache-2.0 */
/* Small JSON files of stores, and layer stacks in them. */
#pragma once

#include "storage/store.h"

json_t *store_json_read(int dir_fd, const char *name);
int store_json_write(int dir_fd, const char *name, json_t *take_value) _must_check_;
/* Whole or not at all, but for a power cut. */
int store_json_write_unsynced(int dir_fd, const char *name, json_t *take_value) _must_check_;
/* template.json of a template's directory. */
int store_template_write(int template_fd, const struct template_info *info) _must_check_;
json_t *layer_stack_to_json(const struct layer_stack *stack);
int layer_stack_from_json(const json_t *value, struct layer_stack *ret) _must_check_;
