"""A report as one HTML page that needs nothing else: its style stands in it, its drawings are SVG, it has no script.

The page's own policy forbids every request; its one style sheet is named by its hash.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from html import escape

from .blocks import Block, Code, Figure, Section, Table, Text, visible
from .style import STYLE

_DEEPEST = 6
_LONG = 24  # letters: a cell that is not to become a tower
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; img-src data:; base-uri 'none'; form-action 'none'"


def html(report: Section) -> str:
    """The page."""
    return "".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n',
            f'<link rel="icon" href="data:,">\n<title>{_plain(report.title)}</title>\n<style>{STYLE}</style>\n',
            "</head>\n<body>\n<main>\n",
            *_section(report, 1, []),
            "</main>\n</body>\n</html>\n",
        ]
    )


def _plain(text: str) -> str:
    return escape(visible(text), quote=True)


def _section(section: Section, level: int, number: list[int]) -> Iterator[str]:
    heading = f"h{min(level, _DEEPEST)}"
    place = "-".join(map(str, number))
    if section.folded:
        yield f'<details><summary><{heading} id="s{place}">{_plain(section.title)}</{heading}></summary>\n'
    else:
        yield f'<section aria-labelledby="s{place}">\n<{heading} id="s{place}">{_plain(section.title)}</{heading}>\n'
    if level == 1:
        yield from _contents(section, number)
    figures: list[str] = []
    for count, block in enumerate(section.blocks):
        if isinstance(block, Figure):
            figures.extend(_figure(block))
            continue
        yield from _gathered(figures)
        if isinstance(block, Section):
            yield from _section(block, level + 1, [*number, count])
        else:
            yield from _block(block)
    yield from _gathered(figures)
    yield "</details>\n" if section.folded else "</section>\n"


def _contents(section: Section, number: list[int]) -> Iterator[str]:
    yield '<nav aria-label="Contents"><ul>\n'
    for count, block in enumerate(section.blocks):
        if isinstance(block, Section):
            place = "-".join(map(str, [*number, count]))
            yield f'<li><a href="#s{place}">{_plain(block.title)}</a></li>\n'
    yield "</ul></nav>\n"


def _gathered(figures: list[str]) -> Iterator[str]:
    """Figures that follow each other stand side by side where there is room."""
    if figures:
        yield '<div class="figures">\n'
        yield from figures
        yield "</div>\n"
        figures.clear()


def _figure(figure: Figure) -> Iterator[str]:
    yield f"<figure>\n<figcaption>{_plain(figure.title)}</figcaption>\n"
    if figure.legend:
        yield '<ul class="legend">'
        for kind, name in figure.legend:
            yield f"<li>{_swatch(kind)}{_plain(name)}</li>"
        yield "</ul>\n"
    yield f"{figure.drawing}\n<details><summary>The numbers</summary>\n"
    yield from _block(figure.table)
    yield "</details>\n</figure>\n"


def _swatch(kind: str) -> str:
    """A sample of a colour or mark of a drawing."""
    if "stroke" in kind:
        shape = f'<path d="M0 6H18" class="{kind.removesuffix(" stroke")} line"/>'
    elif kind == "base":
        shape = '<rect x="5.5" y="2.5" width="7" height="7" transform="rotate(45 9 6)" class="base"/>'
    elif "dot" in kind:
        shape = f'<circle cx="9" cy="6" r="5" class="{kind}"/>'
    else:
        shape = f'<rect x="3" width="12" height="12" class="{kind}"/>'
    return f'<svg viewBox="0 0 18 12" class="swatch" aria-hidden="true">{shape}</svg>'


def _block(block: Block) -> Iterator[str]:
    if isinstance(block, Text):
        yield f"<p>{_plain(block.text)}</p>\n"
    elif isinstance(block, Code):
        yield f'<pre tabindex="0"><code>{_plain(block.text)}</code></pre>\n'
    elif isinstance(block, Table):
        yield from _table(block)


def _table(table: Table) -> Iterator[str]:
    # Scrolled by itself where it is wide; the keyboard must reach it for that.
    yield f'<div class="wide" role="region" aria-label="{_plain(table.caption)}" tabindex="0">'
    kind = "" if table.has_head else ' class="pairs"'
    yield f"<table{kind}>\n"
    yield f"<caption>{_plain(table.caption)}</caption>\n"
    if table.has_head:
        yield "<thead><tr>"
        for column, cell in enumerate(table.header):
            tag = 'th scope="col"' if cell else "td"
            yield f"<{tag}{_align(table, column)}>{_plain(cell)}</{tag[:2]}>"
        yield "</tr></thead>\n"
    yield "<tbody>\n"
    for row in table.rows:
        yield "<tr>"
        for column, cell in enumerate(row):
            shown = f"<code>{_plain(cell)}</code>" if column in table.code and cell else _plain(cell)
            tag = 'th scope="row"' if column == 0 else "td"
            long = ' class="t"' if len(cell) > _LONG and column < table.numbers and table.has_head else ""
            yield f"<{tag}{_align(table, column) or long}>{shown}</{tag[:2]}>"
        yield "</tr>\n"
    yield "</tbody>\n</table></div>\n"


def _align(table: Table, column: int) -> str:
    return ' class="n"' if column >= table.numbers else ""
