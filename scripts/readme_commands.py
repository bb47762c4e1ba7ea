"""Print the commands of README.md's "Install and run" section, one a line, as they are written there."""

from __future__ import annotations

import argparse
import re
from pathlib import Path


def readme_commands(text: str) -> list[str]:
    """Commands in the ``sh`` blocks of the section "Install and run"."""
    section = re.search(r"^## Install and run$(.*?)(?=^## )", text, re.MULTILINE | re.DOTALL)
    if section is None:
        return []
    blocks = re.findall(r"^```sh\n(.*?)^```$", section.group(1), re.MULTILINE | re.DOTALL)
    return [line.strip() for block in blocks for line in block.splitlines() if line.strip()]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("readme", type=Path, metavar="README.md")
    print("\n".join(readme_commands(parser.parse_args().readme.read_text(encoding="utf-8"))))
