# SPDX-License-Identifier: Apache-2.0
"""Calls of io.isolate, valid or nearly so, by chance: from the interface's own description, so that a
new method is called as soon as it is there."""

import json
import pathlib
import re

IDL = pathlib.Path(__file__).resolve().parents[2] / "src/varlink/io.isolate.varlink"
# what root asks for must stay within the instance that is fuzzed: these do not come mutated byte by byte
FAR_REACHING = re.compile(r"Template|Storage|Pool|Prune|Commit")
# what goes on with what runs, or is held
OF_SANDBOXES = ["Exec", "Attach", "Kill", "Wait", "Logs", "Inspect", "Continue", "Release", "Diff"]
NUMBERS = [0, 1, 2, 3, 9, 15, 64, 255, 4096, 65536, 300000000, -1, 1 << 31, (1 << 32) - 1, 1 << 53, (1 << 63) - 1]
STRINGS = ["", "x", "sh", "é", "a" * 300, "../..", "/", "/proc/self", "a\nb", "%s%n", "A=b", "=", "none", "host",
           "NET_RAW", "ALL", "native", "chroot", "overlay", "dir", "0.1.0", "1000", "65536", "root", "user:root",
           "4294967296", "20260101T000000Z", "box.example", "/tmp", "/mnt/a", "/run/user/me", "x11", "audio",
           "8080:80", "L3c=", "@host", "deadbeef"]


def split(text):
    """Members between commas that are in no bracket."""
    depth, member = 0, ""
    for letter in text:
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth == 0:
            yield member.strip()
            member = ""
        else:
            member += letter
    if member.strip():
        yield member.strip()


def members(text):
    """{name: type} of what stands between the brackets."""
    return {name.strip(): kind.strip() for name, kind in (member.split(":", 1) for member in split(text))}


class Interface:
    def __init__(self, text=None):
        text = re.sub(r"#.*", "", text or IDL.read_text())
        brackets = r"\(((?:[^()]|\([^()]*\))*)\)"
        self.types = {name: members(body) for name, body in re.findall(r"^type (\w+) " + brackets, text, re.M)}
        self.methods = {name: members(body) for name, body in re.findall(r"^method (\w+)" + brackets, text, re.M)}
        assert "Run" in self.methods and "fd" in self.types["Bind"]


class Author:
    """Writes calls. known: texts that mean something to this daemon."""

    def __init__(self, dice, known, interface=None):
        self.dice = dice
        self.interface = interface or Interface()
        self.known = known

    def string(self):
        return self.dice.choice(self.known if self.dice.random() < 0.7 else STRINGS)

    def wrong(self):
        return self.dice.choice([None, True, 7, -1, 1.5, "x", [], {}, [[]], {"a": {"a": {}}}, "\u202e", [None]])

    def value(self, kind, depth=0):
        dice = self.dice
        kind = kind.lstrip("?")
        if dice.random() < 0.04:
            return self.wrong()
        if kind.startswith("[]"):
            return [self.value(kind[2:], depth + 1) for _ in range(dice.choice([0, 1, 1, 2, 3, 130]))]
        if kind == "bool":
            return dice.random() < 0.5
        if kind == "int":
            return dice.choice(NUMBERS[:4] if dice.random() < 0.7 else NUMBERS)
        if kind in self.interface.types and depth < 4:
            return self.object(self.interface.types[kind], depth + 1)
        if kind == "object":
            return self.object(self.interface.methods["Run"], depth + 1)
        return self.string()

    def member(self, name, kind, depth):
        """What runs is called fuzz, mostly."""
        if name in ("name", "sandbox", "id") and self.dice.random() < 0.5:
            return "fuzz"
        return self.value(kind, depth)

    def object(self, known, depth=0):
        """All members that must be there, mostly, and some of the others."""
        made = {name: self.member(name, kind, depth) for name, kind in known.items()
                if self.dice.random() < (0.12 if kind.startswith("?") else 0.95)}
        if self.dice.random() < 0.03:
            made[self.string()] = self.wrong()
        return made

    def run(self):
        """One that starts something, most of the time."""
        dice = self.dice
        made = {"client": "0.1.0", "template": "u" if dice.random() < 0.9 else self.string(), "control": 0,
                "argv": dice.choice([["/attack/look", "/etc/passwd"], ["/attack/ids", "1000"]])}
        for name, kind in self.interface.methods["Run"].items():
            if dice.random() < 0.03:
                made[name] = self.member(name, kind, 0)
        if dice.random() < 0.3:
            made["name"] = "fuzz"
        if dice.random() < 0.2:
            made["detach"] = True
            del made["control"]
        return made

    def call(self):
        """(method, bytes) of one message, its NUL included."""
        dice = self.dice
        method = dice.choice([*self.interface.methods, *["Run"] * 12, *OF_SANDBOXES * 2])
        parameters = self.run() if method == "Run" and dice.random() < 0.7 else self.object(
            self.interface.methods[method])
        message = {"method": f"io.isolate.{method}", "parameters": parameters}
        if method in ("Run", "Continue", "Diff") or dice.random() < 0.1:
            message["more"] = dice.random() < 0.95
        if method.startswith("Pool"):  # nobody needs a thousand of them
            for name in ("wanted", "count"):
                if isinstance(parameters.get(name), int) and parameters[name] > 2:
                    parameters[name] = 2
        text = json.dumps(message, ensure_ascii=dice.random() < 0.5).encode()
        if not FAR_REACHING.match(method) and dice.random() < 0.3:
            text = self.mutate(text)
        return method, text + b"\0"

    def mutate(self, text):
        dice = self.dice
        data = bytearray(text)
        for _ in range(dice.randint(1, 6)):
            at = dice.randrange(len(data) + 1)
            kind = dice.randrange(5)
            if kind == 0 and at < len(data):
                data[at] ^= 1 << dice.randrange(8)
            elif kind == 1:
                data[at:at] = dice.randbytes(dice.randint(1, 16))
            elif kind == 2:
                del data[at:at + dice.randint(1, 20)]
            elif kind == 3:
                data[at:at] = data[at:at + dice.randint(1, 60)]
            else:
                data[at:at] = dice.choice([b"{", b"[" * 50, b'"', b"\\u0000", b"\\ud800", b"1e999", b"-", b"\0", b"\xff",
                                           b'"control":0,', b"null", b"9" * 30])
        return bytes(data)
