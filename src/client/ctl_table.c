/* SPDX-License-Identifier: Apache-2.0 */
/* Tables and JSON on stdout. Runs as the caller; cells may hold hostile names. */
#include "client/ctl.h"

#include "base/text.h"

#include <inttypes.h>
#include <libsmartcols/libsmartcols.h>
#include <time.h>

struct ctl_table {
    struct libscols_table *table;
    size_t n;
};

static struct ctl_table *table_new(const struct ctl_column *columns, size_t n)
{
    struct ctl_table *table = calloc(1, sizeof(*table));
    if (!table)
        return NULL;
    table->table = scols_new_table();
    table->n = n;
    if (table->table) /* cells are escaped here already, and would be once more */
        (void)scols_table_enable_noencoding(table->table, 1);
    for (size_t i = 0; table->table && i < n; i++)
        (void)scols_table_new_column(table->table, columns[i].name, 0,
                                     columns[i].right ? SCOLS_FL_RIGHT : 0);
    return table;
}

void ctl_table_row(struct ctl_table *table, const char *const *cells)
{
    struct libscols_line *line =
        table && table->table ? scols_table_new_line(table->table, NULL) : NULL;
    for (size_t i = 0; line && i < table->n; i++) {
        char escaped[1024];
        text_escape(escaped, sizeof(escaped), cells[i]);
        (void)scols_line_set_data(line, i, escaped);
    }
}

static void table_print(struct ctl_table *take_table)
{
    if (take_table && take_table->table) {
        (void)scols_print_table(take_table->table);
        scols_unref_table(take_table->table);
    }
    free(take_table);
}

void ctl_format_size(char *out, size_t size, uint64_t bytes)
{
    static const char units[] = "BKMGTP";
    size_t unit = 0;
    double value = (double)bytes;
    for (; value >= 1024 && unit + 1 < sizeof(units) - 1; unit++)
        value /= 1024;
    (void)snprintf(out, size, unit == 0 || value >= 100 ? "%.0f%c" : "%.1f%c", value,
                   units[unit]);
}

void ctl_format_time(char *out, size_t size, int64_t seconds)
{
    time_t time = (time_t)seconds;
    struct tm local;
    if (seconds <= 0 || !localtime_r(&time, &local) ||
        strftime(out, size, "%Y-%m-%d %H:%M:%S", &local) == 0)
        (void)snprintf(out, size, "-");
}

const char *ctl_problem_of(const json_t *item)
{
    const char *problem = json_string_value(json_object_get(item, "problem"));
    return problem ? problem : "";
}

bool ctl_has_problem(const json_t *items)
{
    size_t i = 0;
    const json_t *item = NULL;
    json_array_foreach((json_t *)items, i, item) if (*ctl_problem_of(item)) return true;
    return false;
}

void ctl_print_json(const json_t *value)
{
    (void)json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII);
    (void)putchar('\n');
}

void ctl_print_list(const json_t *items, bool json, const struct ctl_column *columns, size_t n,
                    void (*row)(struct ctl_table *table, const json_t *item))
{
    size_t index = 0;
    const json_t *item = NULL;
    if (json) {
        ctl_print_json(items);
        return;
    }
    struct ctl_table *table = table_new(columns, n);
    json_array_foreach((json_t *)items, index, item) row(table, item);
    table_print(table);
}
