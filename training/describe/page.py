"""The findings as one page without scripts: it opens anywhere, light and dark, on a phone too."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from training.describe import figures
from training.describe.findings import Findings
from training.describe.text import new_share

_FOLDER = Path(__file__).parent


def page(found: Findings) -> str:
    """The page; every value in it is escaped."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(count=figures.count, number=figures.number, share=figures.share)
    environment.globals.update(new_share=new_share)
    style = (_FOLDER / "page.css").read_text(encoding="utf-8")
    return environment.get_template("page.html").render(found=found, style=style)
