"""The files of a raw table: one, or all those of a folder, with the values that its subfolders say (key=value)."""

from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from contract.errors import DataError

TEXT_SUFFIXES = tuple(f".{kind}{packed}" for kind in ("csv", "jsonl", "ndjson") for packed in ("", ".gz", ".zst"))
SUFFIXES = (*TEXT_SUFFIXES, ".parquet")
_NULL = "__HIVE_DEFAULT_PARTITION__"

Keys = tuple[tuple[str, str | None], ...]


class RawFile(NamedTuple):
    """A file, its name inside the table, and the values that its folders give to all of its rows."""

    path: Path
    name: str
    keys: Keys


def files_of(path: Path) -> list[RawFile]:
    """The file itself, or the files of a folder in the order of their paths; DataError where there is none."""
    if path.is_file():
        return [RawFile(path, path.name, _require_known(path))]
    if not path.is_dir():
        raise DataError(f"{path}: no such file or folder")
    names = sorted(file.relative_to(path).as_posix() for file in _visible(path))
    if not names:
        raise DataError(f"{path}: holds no files; {', '.join(SUFFIXES)} can be read")
    files = [RawFile(path / name, name, _require_known(path / name) or _keys(name)) for name in names]
    stems: dict[str, str] = {}
    for name in names:
        stem = name.removesuffix(next(suffix for suffix in SUFFIXES if name.endswith(suffix)))
        if (other := stems.setdefault(stem, name)) != name:
            raise DataError(f"{path}: both {other} and {name}; they seem to be one file twice: remove or rename one")
    return files


def _visible(folder: Path) -> list[Path]:
    """Files below a folder, but for hidden ones and what writers leave beside them (_SUCCESS, _metadata)."""
    found = []
    for path in folder.iterdir():
        if path.name == "_delta_log":
            raise DataError(f"{folder}: a Delta Lake table, whose files may be outdated; export it to Parquet first")
        if path.name.startswith(".") or (path.name.startswith("_") and "=" not in path.name):
            continue
        found += _visible(path) if path.is_dir() else [path]
    return found


def _require_known(path: Path) -> Keys:
    if not path.name.endswith(SUFFIXES):
        raise DataError(f"{path}: unknown kind of file; {', '.join(SUFFIXES)} can be read")
    return ()


def _keys(name: str) -> Keys:
    pairs = (folder.partition("=") for folder in name.split("/")[:-1] if "=" in folder)
    return tuple((unquote(key), None if value == _NULL else unquote(value)) for key, _, value in pairs)
