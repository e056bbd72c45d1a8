#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the units in systemd/ may set. Sandboxes are children of isolated, and are in the control group of
isolate-sandboxes.service: they have what these set. So each setting is one that somebody has looked at
for that: none makes a mount namespace, for isolated none is a system call filter, and for the sandboxes' unit none holds
for a control group. Prints one line for each that is not, and exits 1 if there is any. --self-test shows that it can
fail."""
import os
import re
import sys
import tempfile

PLAIN = """Type ExecStart ExecReload KillMode Restart RestartSec WatchdogSec UMask KeyringMode TasksMax
TimeoutStopSec Environment ExitType""".split()
ALLOWED = {
    # limits and sets that isolated gives its sandboxes in another way
    "isolated.service.in": PLAIN + ["LimitNOFILE", "CapabilityBoundingSet"],
    # filters of the keeper's, from which nothing comes
    "isolate-sandboxes.service.in": PLAIN + """Delegate OOMPolicy OOMScoreAdjust NoNewPrivileges
        CapabilityBoundingSet LimitCORE LockPersonality MemoryDenyWriteExecute RestrictAddressFamilies
        RestrictNamespaces RestrictRealtime RestrictSUIDSGID SystemCallArchitectures""".split(),
    "isolate_regenerate@.service.in": PLAIN,
}
UNITS = "systemd"
CONFINE = "src/daemon/confine.c"


def service_settings(path):
    """(line number, name, value) of its section [Service]."""
    section = ""
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if line.startswith("["):
                section = line.strip()
            elif section == "[Service]" and re.match(r"\w+=", line):
                name, _, value = line.strip().partition("=")
                yield number, name, value


def dropped_by_unit():
    found = set()
    for _, name, value in service_settings(os.path.join(UNITS, "isolated.service.in")):
        if name == "CapabilityBoundingSet" and value.startswith("~"):
            found |= set(value[1:].split())
    return found


def dropped_by_isolated():
    with open(CONFINE, encoding="utf-8") as source:
        define = re.search(r"#define NEVER(.*?)\n\n", source.read(), re.S)[1]
    return set(re.findall(r"CAP_BIT\((\w+)\)", define))


def findings():
    for name in sorted(os.listdir(UNITS)):
        path = os.path.join(UNITS, name)
        if not name.endswith(".service.in"):
            continue
        for number, setting, _ in service_settings(path):
            if setting not in ALLOWED.get(name, ()):
                yield (f"{path}:{number}: {setting}= has not been looked at: would sandboxes inherit it, does it make "
                       "a mount namespace? If it is harmless, add it to tests/gates/units.py")
    for capability in sorted(dropped_by_unit() ^ dropped_by_isolated()):
        yield f"{UNITS}/isolated.service.in: {capability} is not dropped both there and in {CONFINE}"


def self_test():
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        os.makedirs(UNITS)
        os.makedirs(os.path.dirname(CONFINE))
        texts = {f"{UNITS}/isolated.service.in": "[Unit]\nX=y\n[Service]\nType=notify\nPrivateTmp=yes\n"
                                                 "CapabilityBoundingSet=~CAP_B CAP_C\n",
                 f"{UNITS}/isolate-sandboxes.service.in": "[Service]\nRestrictRealtime=yes\nIPAddressDeny=any\n",
                 CONFINE: "#define NEVER \\\n    (CAP_BIT(CAP_A) | CAP_BIT(CAP_B))\n\n"}
        for path, text in texts.items():
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        found = [finding.split(" has ")[0].split(" is ")[0] for finding in findings()]
        wanted = [f"{UNITS}/isolate-sandboxes.service.in:3: IPAddressDeny=", f"{UNITS}/isolated.service.in:5: PrivateTmp=",
                  f"{UNITS}/isolated.service.in: CAP_A", f"{UNITS}/isolated.service.in: CAP_C"]
        return found == wanted or print(found)


def main():
    os.chdir(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    if sys.argv[1:] == ["--self-test"]:
        return 0 if self_test() else 1
    found = list(findings())
    print("\n".join(found) or "units: nothing that sandboxes would inherit")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
