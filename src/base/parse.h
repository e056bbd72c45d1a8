/* SPDX-License-Identifier: Apache-2.0 */
/* The one place where numbers are read from text: with a range, a unit and a clear error. Pure.
 * Callers may pass hostile text. All return 0, or -EINVAL with err set; `what` names the thing
 * in the error ("--timeout"). */
#pragma once

#include "base/error.h"

#include <stdint.h>

/* Decimal digits only: no sign, no space, no 0x. */
int parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *ret, const char *what,
              struct error *err) _must_check_;
int parse_u32(const char *text, uint32_t min, uint32_t max, uint32_t *ret, const char *what,
              struct error *err) _must_check_;

/* Bytes: a number with an optional suffix K, M, G or T (powers of 1024; "KiB" and "kb" too). */
int parse_size_bytes(const char *text, uint64_t *ret, const char *what,
                     struct error *err) _must_check_;

/* The same within a range, which the error names. */
int parse_size_range(const char *text, uint64_t min, uint64_t max, uint64_t *ret,
                     const char *what, struct error *err) _must_check_;

/* Thousandths, from a decimal number with at most three digits behind the point: "2", "0.5".
 * The range is in thousandths, too. */
int parse_milli(const char *text, uint64_t min, uint64_t max, uint64_t *ret, const char *what,
                struct error *err) _must_check_;

/* Milliseconds: "90", "90s" (seconds), "1500ms", "5m", "2h", "1d" and sums such as "1h30m".
 * More than zero and at most 10 years. */
int parse_duration_ms(const char *text, uint64_t *ret, const char *what,
                      struct error *err) _must_check_;
