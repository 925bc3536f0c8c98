"""Which configuration a process starts with: the file, the one in Redis, or the last good one that was kept."""

import socket
from dataclasses import dataclass
from pathlib import Path

from contract.errors import ConfigError, TwinscoreError
from contract.files import write_text
from service.experiments.change.difference import compare
from service.experiments.change.versions import Head
from service.experiments.source import Source, parse_experiments, read_experiments

_KEPT = "experiments.yaml"


@dataclass(frozen=True)
class Choice:
    """What to begin with. `refused` says why the file, or what stands for another origin, is not it."""

    source: Source
    author: str
    said: str | None = None
    refused: TwinscoreError | None = None  # of the file


def choose(file: Path, state: Path, head: Head | None) -> Choice:
    """The highest version; `head` is what Redis holds, None where it does not answer. ConfigError where there is none.

    The file replaces what was in force as any edit of it does: by a higher version, that moves nobody.
    """
    base = _base(state, head)
    try:
        source = read_experiments(file)
        if base is not None:
            replaces(base, source)
    except ConfigError as error:
        if base is None or not file.exists():  # a setting that is wrong, and not an edit
            raise
        return Choice(base, f"state:{socket.gethostname()}", f"{base.origin} is in force: {error}", error)
    if base is None or source.text == base.text or source.config.version > base.config.version:
        return Choice(source, by_file(file))
    said = f"{base.origin} is in force; {file} has version {source.config.version}, which is lower"
    return Choice(base, f"state:{socket.gethostname()}", said)


def otherwise(file: Path, state: Path, head: Head | None, first: Choice, error: TwinscoreError) -> Choice | None:
    """What to begin with where the models of the first choice do not load; None where there is nothing else."""
    others = [_live(head) if head else None, _kept(state), _read(file)]
    sources = [source for source in others if source and source.text != first.source.text]
    if not sources:
        return None
    best = max(sources, key=lambda source: source.config.version)
    refused = error if first.source.origin == str(file) else None
    said = f"{best.origin} is in force: {error}"
    return Choice(best, f"state:{socket.gethostname()}", said, refused)


def replaces(old: Source, new: Source) -> None:
    """ConfigError where an edit must not take the place of what is in force; a lower version is no edit."""
    if new.text == old.text or new.config.version < old.config.version:
        return
    if new.config.version == old.config.version:
        raise ConfigError(
            f"{new.where(('version',))}: version {old.config.version} is in force with another content; "
            f"raise `version` to {old.config.version + 1}"
        )
    stays(old, new)


def stays(old: Source, new: Source) -> None:
    """ConfigError, with the line of the experiment, where users would be moved within a phase."""
    places = {experiment.key: place for place, experiment in new.config.placed()}
    for change in compare(old.config, new.config).changes:
        if change.refusal:
            raise ConfigError(f"{new.where(places.get(change.key, ()))}: {change.refusal}")


def by_file(file: Path) -> str:
    """The author of an edit of a file."""
    return f"file:{socket.gethostname()}:{file}"


def keep(state: Path, text: str) -> None:
    """Keep the last good text; OSError where there is no place."""
    write_text(state / _KEPT, text)


def _base(state: Path, head: Head | None) -> Source | None:
    """The newest of what was in force before."""
    kept = _kept(state)
    live = None if head is None else _live(head)
    if live is None or (kept is not None and kept.config.version > live.config.version):
        return kept
    return live


def _kept(state: Path) -> Source | None:
    path = state / _KEPT
    source = _read(path)  # none, or damaged: nothing was half-written by us
    return source and Source(
        f"version {source.config.version}, kept in {path},", source.text, source.config, source.lines
    )


def _read(path: Path) -> Source | None:
    try:
        return read_experiments(path)
    except ConfigError:
        return None


def _live(head: Head) -> Source | None:
    """The newest of the history; a text that was set by hand where there is no history."""
    for text in (head.last.text if head.last else None, head.text):
        try:
            source = parse_experiments(text or "", "")
        except ConfigError:
            continue
        return Source(f"version {source.config.version} of Redis", source.text, source.config, source.lines)
    return None
