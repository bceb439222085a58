#!/usr/bin/env python3
"""What docs/clients/first-lines.md shows is the code of the clients beside this file, but for indentation.

After the name of a client come blocks of its code; after "Before" comes one that is not.
"""

import pathlib
import re
import sys

here = pathlib.Path(__file__).resolve().parent
page = here.parents[1] / "docs/clients/first-lines.md"


def plain(text):
    return "\n".join(line.strip() for line in text.splitlines()) + "\n"


pieces = re.compile(r"^\[`\.ci/generate/(.*?)`\]|^(Before)|^```[a-z]+\n(.*?)^```$", re.M | re.S)
shown, client, before = 0, None, False
for name, told, block in pieces.findall(page.read_text()):
    if name:
        client, before = name, False
    elif told:
        before = client is not None
    elif not before:
        shown += 1
        if plain(block) not in plain((here / client).read_text()):
            sys.exit(f"{page.name} shows what is not in {client}:\n{block}")
print(shown)
