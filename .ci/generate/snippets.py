#!/usr/bin/env python3
"""What pages in docs/clients show is the code of the clients beside this file and in .ci/e2e/story, but for indentation.

After the name of a file come blocks of its code; after "Before" or another heading comes one that is not.
"""

import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parents[2]


def plain(text):
    return "\n".join(line.strip() for line in text.splitlines()) + "\n"


pieces = re.compile(r"^\[`(\.ci/[^`]*\.[^`]*)`\]|^(Before|## )|^```[a-z]+\n(.*?)^```$", re.M | re.S)
shown = 0
for page in ("first-lines.md", "tokens.md"):
    client = None
    for name, told, block in pieces.findall((root / "docs/clients" / page).read_text()):
        if name:
            client = name
        elif told:
            client = None
        elif client:
            shown += 1
            if plain(block) not in plain((root / client).read_text()):
                sys.exit(f"{page} shows what is not in {client}:\n{block}")
print(shown)
