"""Whether a text may become the configuration, and what it would change; nothing is kept."""

from pydantic import BaseModel

from contract.errors import BundleError, ConfigError
from service.experiments.change.difference import Change, compare, percent
from service.experiments.change.versions import difference_lines
from service.experiments.source import Source, parse_experiments
from service.scoring.registry import find
from service.settings import Settings

ORIGIN = "text"  # errors read `text:LINE: what`


class Checked(BaseModel):
    """A text that is valid; it may be applied where `refusals` is empty."""

    version: int
    moved: dict[str, float]  # experiment: share of its enrolled users who would change arm or fall out
    changes: list[str]
    warnings: list[str]
    refusals: list[str]
    lines: list[str]


def check(live: Source, text: str, settings: Settings) -> Checked:
    """Compare a text with the live one. ConfigError names the line of what is wrong."""
    new = parse_experiments(text, ORIGIN)
    for reference, place in new.config.models().items():
        try:
            find(settings.bundles, reference)
        except BundleError as error:
            raise ConfigError(f"{new.where(place)}: model '{reference}': {error}") from None
    difference, changed = compare(live.config, new.config), difference_lines(live.text, text)
    refusals = list(difference.refusals)
    if changed and new.config.version <= live.config.version:
        refusals.append(
            f"version: {new.config.version} is not above the live {live.config.version}; "
            f"write {live.config.version + 1}, so that replies and exposures tell the two apart"
        )
    words = [line for each in difference.changes for line in _words(each)]
    return Checked(
        version=new.config.version,
        moved={each.key: each.share for each in difference.changes},
        changes=[*difference.general, *words],
        warnings=[f"{each.key}: {warning}" for each in difference.changes for warning in each.warnings],
        refusals=refusals,
        lines=changed,
    )


def _words(change: Change) -> list[str]:
    share = change.share
    moved = (
        []
        if change.words == ["new"]
        else ["no enrolled user is moved" if share == 0 else f"{percent(share)} of enrolled users are moved"]
    )
    return [f"{change.key}: {words}" for words in (*change.words, *moved)]
