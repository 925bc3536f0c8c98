"""A report as blocks, written as Markdown and as one HTML file that needs no network."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

STYLE = """
:root { color-scheme: light }
body { font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "Liberation Sans", sans-serif; color: #1b1f24;
       background: #fff; max-width: 74rem; margin: 2.5rem auto 4rem; padding: 0 1.5rem }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; letter-spacing: -.01em }
h2 { font-size: 1.15rem; margin: 2.6rem 0 .5rem }
p { max-width: 46rem; margin: .5rem 0 }
.lead { color: #59636e; margin-bottom: 1.4rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; margin: .6rem 0 }
th { font-weight: 600; color: #59636e; text-align: right; vertical-align: bottom; border-bottom: 1px solid #59636e }
th, td { padding: .28rem .6rem; white-space: nowrap }
td { text-align: right; border-bottom: 1px solid #e6e8eb }
th.text, td.text { text-align: left }
th:first-child, td:first-child { padding-left: 0 }
td.long { white-space: normal; min-width: 24rem }
td.better { color: #00694c; font-weight: 600 } td.worse { color: #a8410a; font-weight: 600 } td.noise { color: #59636e }
tr.baseline td { background: #f4f6f8 }
figure { margin: 1rem 0 } figure svg { max-width: 100%; height: auto }
code { font: .875em ui-monospace, "DejaVu Sans Mono", monospace }
"""
VERDICTS = {"better": "better", "worse": "worse", "within noise": "noise"}


@dataclass(frozen=True)
class Heading:
    """Of a section."""

    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    lead: bool = False


@dataclass(frozen=True)
class Grid:
    """A table; `texts` are the columns that are no numbers, `marked` the first cell of a row to set apart."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: Sequence[int] = (0,)
    marked: str = ""


@dataclass(frozen=True)
class Figure:
    """An SVG under the name of its file."""

    name: str
    svg: str
    alt: str


def number(value: float, digits: int = 4, signed: bool = False) -> str:
    """With a minus sign of its own, and none before a zero."""
    text = f"{value:{'+' * signed}.{digits}f}"
    return text.lstrip("-") if not float(text) else text.replace("-", "−")


Block = Heading | Text | Grid | Figure


@dataclass(frozen=True)
class Document:
    """A title and what follows it."""

    title: str
    blocks: list[Block] = field(default_factory=list)

    @property
    def figures(self) -> list[Figure]:
        """All of them."""
        return [block for block in self.blocks if isinstance(block, Figure)]

    def markdown(self) -> str:
        """Figures are linked as files beside it."""
        return "\n\n".join([f"# {self.title}", *map(_markdown, self.blocks)]) + "\n"

    def html(self) -> str:
        """Figures are inside."""
        body = "\n".join(map(_html, self.blocks))
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{escape(self.title)}</title><style>{STYLE}</style></head>\n"
            f"<body><h1>{escape(self.title)}</h1>\n{body}\n</body></html>\n"
        )


def _markdown(block: Block) -> str:
    if isinstance(block, Heading):
        return f"## {block.text}"
    if isinstance(block, Text):
        return block.text
    if isinstance(block, Figure):
        return f"![{block.alt}]({block.name}.svg)"
    rules = ["---" if column in block.texts else "---:" for column in range(len(block.columns))]
    rows = [block.columns, rules, *([cell.replace("|", "\\|") for cell in row] for row in block.rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _html(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h2>{escape(block.text)}</h2>"
    if isinstance(block, Text):
        return f"<p{' class=lead' * block.lead}>{_inline(block.text)}</p>"
    if isinstance(block, Figure):
        svg = block.svg[block.svg.index("<svg") :]  # without the XML declaration
        return f'<figure role="img" aria-label="{escape(block.alt)}">{svg}</figure>'
    head = "".join(f"<th{_kind(block, k, '')}>{escape(column)}</th>" for k, column in enumerate(block.columns))
    rows = "".join(f"<tr{_marked(block, row)}>{_cells(block, row)}</tr>\n" for row in block.rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table></div>'


def _cells(block: Grid, row: Sequence[str]) -> str:
    return "".join(f"<td{_kind(block, k, cell)}>{_inline(cell)}</td>" for k, cell in enumerate(row))


def _kind(block: Grid, column: int, cell: str) -> str:
    kinds = ["text"] * (column in block.texts) + ["long"] * (len(cell) > 60)
    kinds += [VERDICTS[cell]] if cell in VERDICTS else []
    return f' class="{" ".join(kinds)}"' if kinds else ""


def _marked(block: Grid, row: Sequence[str]) -> str:
    return ' class="baseline"' if block.marked and row[0] == block.marked else ""


def _inline(text: str) -> str:
    """Escaped, with `code` and **strong** set as such."""
    marked = escape(text)
    for mark, tag in (("`", "code"), ("**", "strong")):
        parts = marked.split(mark)
        marked = "".join(f"<{tag}>{part}</{tag}>" if k % 2 else part for k, part in enumerate(parts))
    return marked
