"""The findings as one page without scripts: it opens anywhere, light and dark, on a phone too."""

from collections.abc import Iterable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from training.describe import figures
from training.describe.days import curve
from training.describe.findings import FieldFound, Findings, Share
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
    environment.filters.update(count=figures.count, digits=figures.digits, number=figures.number, share=figures.share)
    environment.filters["breakable"] = breakable
    environment.globals.update(new_share=new_share, highest=highest, highest_by_task=highest_by_task, curve=curve)
    style = (_FOLDER / "page.css").read_text(encoding="utf-8")
    return environment.get_template("page.html").render(found=found, style=Markup(style))


def highest(answers: Iterable[Share]) -> float:
    """Upper end of the widest scale that rates need."""
    return max((each.high for each in answers if each.high is not None), default=0.0)


def highest_by_task(field: FieldFound) -> dict[str, float]:
    """The same over the frequent values of a field, by task."""
    return {leak.task: highest(value.tasks[leak.task] for value in field.top) for leak in field.leaks}


def breakable(name: str) -> Markup:
    """A name that a narrow column may break after its underscores."""
    return Markup("_<wbr>").join(escape(part) for part in name.split("_"))
