/* SPDX-License-Identifier: Apache-2.0 */
/* `isolate doctor`: options, the table and the JSON. Runs in isolate-ctl as the caller. What
 * the checks say may hold names from files and from the daemon: control characters are escaped.
 */
#include "client/doctor.h"

#include "base/log.h"
#include "base/text.h"
#include "client/ctl.h"

#include <libsmartcols.h>

static const char *const HELP =
    "Usage: isolate doctor [--json]\n"
    "\n"
    "Tries whether this machine can run sandboxes, and shows what is left over of earlier\n"
    "ones. Run it as root: an ordinary user cannot try everything.\n"
    "\n"
    "      --json   print the checks as JSON\n"
    "  -h, --help   show this\n"
    "\n"
    "Exit status: 0 all that is needed is there and nothing is left over, 1 not so, 125 wrong\n"
    "usage.\n";

static const struct {
    const char *json;
    const char *table;
    const char *color;
} RESULTS[] = {
    [DOCTOR_OK] = {"ok", "ok", "green"},
    [DOCTOR_MISSING] = {"missing", "MISSING", "red"},
    [DOCTOR_OPTIONAL] = {"optional", "optional", "brown"},
    [DOCTOR_LEFTOVER] = {"leftover", "LEFT", "red"},
};

static void tablep(struct libscols_table **table)
{
    scols_unref_table(*table);
}

static void jsonp(json_t **json)
{
    json_decref(*json);
}

static bool color_wanted(void)
{
    const char *terminal = getenv("TERM");
    return isatty(STDOUT_FILENO) && !getenv("NO_COLOR") && terminal && !streq(terminal, "dumb");
}

/* libsmartcols escapes what must not reach a terminal by itself */
static int table_add(struct libscols_table *table, const struct doctor_check *check)
{
    struct libscols_line *line = scols_table_new_line(table, NULL);
    if (!line || scols_line_set_data(line, 0, check->name) < 0 ||
        scols_line_set_data(line, 1, RESULTS[check->result].table) < 0 ||
        scols_line_set_data(line, 2, check->detail) < 0 ||
        scols_cell_set_color(scols_line_get_cell(line, 1), RESULTS[check->result].color) < 0)
        return -ENOMEM;
    return 0;
}

static int print_table(const struct doctor_check *checks, size_t n)
{
    _cleanup_(tablep) struct libscols_table *table = scols_new_table();
    if (!table || scols_table_enable_colors(table, color_wanted()) < 0 ||
        !scols_table_new_column(table, "CHECK", 0, SCOLS_FL_STRICTWIDTH) ||
        !scols_table_new_column(table, "RESULT", 0, SCOLS_FL_STRICTWIDTH) ||
        !scols_table_new_column(table, "DETAIL", 0, isatty(STDOUT_FILENO) ? SCOLS_FL_WRAP : 0))
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        if (table_add(table, &checks[i]) < 0)
            return -ENOMEM;
    return scols_print_table(table) < 0 ? -EIO : 0;
}

static void print_remedies(const struct doctor_check *checks, size_t n)
{
    bool first = true;
    for (size_t i = 0; i < n; i++) {
        char remedy[4 * sizeof(checks[i].remedy)];
        if (checks[i].result == DOCTOR_OK || !*checks[i].remedy)
            continue;
        text_escape(remedy, sizeof(remedy), checks[i].remedy);
        (void)printf("%s%s: %s\n", first ? "\n" : "", checks[i].name, remedy);
        first = false;
    }
}

static json_t *check_to_json(const struct doctor_check *check)
{
    char detail[4 * sizeof(check->detail)];
    char remedy[4 * sizeof(check->remedy)];
    text_escape(detail, sizeof(detail), check->detail);
    text_escape(remedy, sizeof(remedy), check->remedy);
    return json_pack("{s:s, s:s, s:b, s:s, s:s, s:s}", "name", check->name, "what", check->what,
                     "needed", (int)check->needed, "result", RESULTS[check->result].json,
                     "detail", detail, "remedy", remedy);
}

static int print_json(const struct doctor_check *checks, size_t n)
{
    _cleanup_(jsonp) json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        if (json_array_append_new(list, check_to_json(&checks[i])) < 0)
            return -ENOMEM;
    _cleanup_(jsonp) json_t *all = json_pack("{s:i, s:b, s:O}", "version", 1, "ok",
                                             (int)doctor_is_well(checks, n), "checks", list);
    if (!all)
        return -ENOMEM;
    ctl_print_json(all);
    return 0;
}

/* 1: go on; 0: help was shown; -EINVAL. */
static int parse_options(int argc, char **argv, bool *ret_json)
{
    static const char *const options[] = {"--json", "--help"};
    for (int i = 1; i < argc; i++) {
        if (streq(argv[i], "--json")) {
            *ret_json = true;
            continue;
        }
        if (streq(argv[i], "-h") || streq(argv[i], "--help")) {
            (void)fputs(HELP, stdout);
            return 0;
        }
        const char *nearest = text_nearest(argv[i], options, ELEMENTS(options));
        if (argv[i][0] != '-')
            log_error("doctor: takes no argument: \"%s\"; see isolate doctor --help", argv[i]);
        else if (nearest)
            log_error("doctor: unknown option \"%s\"; did you mean %s?", argv[i], nearest);
        else
            log_error("doctor: unknown option \"%s\"; see isolate doctor --help", argv[i]);
        return -EINVAL;
    }
    return 1;
}

static int print(bool json, const struct doctor_check *checks, size_t n)
{
    int r = json ? print_json(checks, n) : print_table(checks, n);
    if (r == 0 && !json)
        print_remedies(checks, n);
    return r;
}

int doctor_main(int argc, char **argv)
{
    struct error err = {0};
    bool json = false;
    int r = parse_options(argc, argv, &json);
    if (r <= 0)
        return r == 0 ? EXIT_SUCCESS : error_exit_status(ERROR_INVALID);

    _cleanup_free_ struct doctor_check *checks = NULL;
    size_t n = 0;
    r = doctor_run(&checks, &n, &err);
    if (r < 0) {
        log_error("doctor: %s", err.text);
        return error_exit_status(err.code);
    }
    r = print(json, checks, n);
    if (r < 0) {
        log_error("doctor: cannot print: %s", strerror(-r));
        return error_exit_status(ERROR_SYSTEM);
    }
    return doctor_is_well(checks, n) ? EXIT_SUCCESS : EXIT_FAILURE;
}
