"""The log's files: half lines wait, parts of a producer follow each other, producers are merged by time."""

from pathlib import Path

import orjson

from service.experiments.outcomes.sources.file import FileSource
from tests.service.experiments.outcomes.reference import Record


def exposure(producer: str, number: int, time: int) -> Record:
    return {
        "producer": producer, "number": number, "kind": "exposure", "time": time, "user": "u", "key": "k", "phase": 1,
        "arm": "a", "served": "a", "model": "m", "reason": "assigned", "config": 1,
    }  # fmt: skip


def lines(*records: Record) -> bytes:
    return b"".join(orjson.dumps(record) + b"\n" for record in records)


def numbers(source: FileSource, most: int = 100) -> list[tuple[str, int]]:
    return [(each.record["producer"], each.record["number"]) for each in source.read(most) if each.record]


def test_half_a_line_waits_for_its_rest(tmp_path: Path) -> None:
    text, file = lines(exposure("p", 1, 1), exposure("p", 2, 2)), tmp_path / "p.jsonl"
    source = FileSource(tmp_path)
    source.seek({})
    file.write_bytes(text[:-9])
    assert numbers(source) == [("p", 1)]
    assert numbers(source) == []
    file.write_bytes(text)
    assert numbers(source) == [("p", 2)]
    assert source.lag() == "0 bytes"


def test_producers_are_merged_by_time(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_bytes(lines(*(exposure("p", n, 10 * n) for n in range(1, 4))))
    (tmp_path / "q.jsonl").write_bytes(lines(*(exposure("q", n, 10 * n + 5) for n in range(1, 4))))
    source = FileSource(tmp_path)
    source.seek({})
    assert numbers(source) == [("p", 1), ("q", 1), ("p", 2), ("q", 2), ("p", 3), ("q", 3)]


def test_a_producers_files_are_read_one_after_the_other(tmp_path: Path) -> None:
    event: Record = {"producer": "p", "number": 3, "kind": "click", "time": 0, "user": "u", "id": "e"}
    (tmp_path / "p_0002.jsonl").write_bytes(lines(event))
    (tmp_path / "p.jsonl").write_bytes(lines(exposure("p", 1, 10), exposure("p", 2, 20)))
    source = FileSource(tmp_path)
    source.seek({})
    assert numbers(source) == [("p", 1), ("p", 2), ("p", 3)]


def test_it_goes_on_at_its_position(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_bytes(lines(*(exposure("p", n, n) for n in range(1, 6))))
    source = FileSource(tmp_path)
    source.seek({})
    taken = source.read(2)
    source.seek({taken[-1].part: taken[-1].offset})
    assert numbers(source) == [("p", 3), ("p", 4), ("p", 5)]
    assert numbers(FileSource(tmp_path / "nowhere")) == []
