#!/usr/bin/env python3
"""Holds the documents to the truth: says what they get wrong, and exits with 1 if there is anything.

- A code block that follows `<!-- path -->` is that file, word for word.
- README's table of settings has real names and real defaults.
- Links to files lead somewhere.
- Every invariant in ARCHITECTURE.md names tests that exist.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]


def copied_blocks(text):
    for path, block in re.findall(r"<!-- ([\w./-]+) -->\n```\w*\n(.*?)```", text, re.DOTALL):
        if block != (ROOT / path).read_text():
            yield f"the block is not {path} as it stands"


def settings(text):
    defaults = tomllib.loads((ROOT / "config.default.toml").read_text())
    rows = re.findall(r"^\| `AUDIO_EXTRACT_(\w+)` \| (?:`(.*?)`)? *\|", text, re.MULTILINE)
    for name, shown in rows:
        if name.lower() not in defaults:
            yield f"AUDIO_EXTRACT_{name} is no setting"
            continue
        default = defaults[name.lower()]
        if shown != (",".join(default) if isinstance(default, list) else str(default)):
            yield f"AUDIO_EXTRACT_{name} has the default {default!r}, not {shown!r}"


def links(path, text):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        if not (path.parent / target).exists():
            yield f"the link to {target} leads nowhere"


def invariants(text):
    code = "\n".join(file.read_text() for file in ROOT.glob("crates/**/*.rs"))
    known = set(re.findall(r"fn (\w+)", code))
    section = text.split("## Invariants", 1)[1].split("\n## ", 1)[0]
    for number, claim in re.findall(r"^(\d+)\. (.*)$", section, re.MULTILINE):
        tests = re.findall(r"`([a-z0-9]+(?:_[a-z0-9]+){2,})`", claim)
        if not tests:
            yield f"invariant {number} names no test"
        yield from (
            f"invariant {number} names {test}, which does not exist" for test in tests if test not in known
        )


def main():
    wrong = []
    for path in DOCUMENTS:
        text = path.read_text()
        found = [*copied_blocks(text), *links(path, text)]
        if path.name == "README.md" and path.parent == ROOT:
            found += settings(text)
        if path.name == "ARCHITECTURE.md":
            found += invariants(text)
        wrong += [f"{path.relative_to(ROOT)}: {what}" for what in found]
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
