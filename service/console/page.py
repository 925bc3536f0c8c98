"""Pages from templates; loaded when somebody looks for the first time."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from service.console import charts, figures

if TYPE_CHECKING:
    from jinja2 import Environment

_FOLDER = Path(__file__).parent
_MEDIA = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
HEADERS = {
    # `default-src` alone forbids inline scripts and styles, and every other host
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def render(template: str, **values: object) -> str:
    """A page of these values; every one is escaped."""
    return _environment().get_template(template).render(**values)


@cache
def static_file(name: str) -> tuple[bytes, str] | None:
    """Content and media type of one of our files, None where there is none."""
    files = {path.name: path for path in (_FOLDER / "static").iterdir()}
    path = files.get(name)  # a name that is no path, whatever it holds
    return None if path is None or path.suffix not in _MEDIA else (path.read_bytes(), _MEDIA[path.suffix])


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # for most processes nobody ever looks

    environment = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    named = (
        figures.count, figures.rate, figures.share, figures.lift, figures.plain, figures.small, figures.probability,
        figures.milliseconds, figures.clock, figures.duration, figures.age, figures.moment,
    )  # fmt: skip
    environment.filters.update({function.__name__: function for function in named})
    environment.globals.update(charts=charts)
    return environment
