# SPDX-License-Identifier: Apache-2.0
"""Attack programs that need nothing but to be run: the same in a sandbox with the default rights,
in one with every capability that engine native gives, where there is a daemon also as a later
command of a sandbox, and as the control outside."""

from instance import capability_options


def both_variants(instance, program, *arguments, **more):
    more_options = more.pop("options", ())
    variants = {
        "default": instance.attack(program, *arguments, options=more_options, **more),
        "all capabilities": instance.attack(
            program, *arguments, options=(*more_options, *capability_options()), **more),
    }
    if instance.mode == "resident":
        variants["exec"] = instance.attack_by_exec(program, *arguments, options=more_options, **more)
    return variants


def of(variants, what):
    return {variant: results[what] for variant, results in variants.items()}


def assert_all_judged(results, expected):
    """No attempt goes unseen because a test forgot it."""
    assert set(results) - {"done"} == set(expected)
