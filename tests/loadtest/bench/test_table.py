"""The benchmark's table."""

from loadtest.bench.cells import Measured, Sample
from loadtest.bench.table import raw, table
from loadtest.floors import MODEL, WHOLE
from loadtest.http_load import Figures


def _sample(rate: int, p50: float, hits: float | None) -> Sample:
    return Sample(Figures(2 * rate, 2.0, p50, 9.0, 11.0), cpu=1.5, redis_cpu=0.25, rss=100.0, hits=hits, idle=0.0)


def _measured() -> Measured:
    rates = {(MODEL, 0): (1_000, 900, 1_100), (WHOLE, 0): (500, 500, 500), ("service", 8): (250, 10, 300)}
    times, hits = (1.0, 3.0, 2.0), {8: (0.5, None, 0.75), 0: (None, None, None)}
    cells = {
        (200, name, connections): [
            _sample(rate, p50, share) for rate, p50, share in zip(rounds, times, hits[connections], strict=True)
        ]
        for (name, connections), rounds in rates.items()
    }
    return Measured(cells)


def test_table_shows_medians_and_shares_of_the_floors() -> None:
    service = table(_measured()).splitlines()[-1]
    cells = [cell.strip() for cell in service.strip("|").split("|")]
    assert cells[:6] == ["200", "service", "8", "250", "50,000", "2.00"]
    assert cells[6:12] == ["9.00", "11.00", "1.500", "0.250", "100", "62.5%"]
    assert cells[12:] == ["0.25", "0.50", "116%"]


def test_rows_of_one_load_stand_together_whenever_they_were_measured() -> None:
    measured = _measured()
    measured.cells = {(50, "peer", 1): measured.cells[200, "service", 8], **measured.cells}
    measured.cells |= {(50, floor, 0): measured.cells[200, floor, 0] for floor in (MODEL, WHOLE)}
    measured.cells[200, "peer", 8] = measured.cells[200, "service", 8]
    rows = [line.strip("| ").split(" | ")[:3] for line in table(measured).splitlines()[2:]]
    names = [(size, name) for size, name, _ in rows]
    fifty = [("50", MODEL), ("50", WHOLE), ("50", "peer")]
    assert names == [*fifty, ("200", MODEL), ("200", WHOLE), ("200", "service"), ("200", "peer")]


def test_who_failed_is_named_with_the_reason() -> None:
    measured = _measured()
    measured.failed["peer"] = "did not start"
    assert table(measured).endswith("peer is left out: did not start")
    assert raw(measured)["failed"] == {"peer": "did not start"}


def test_raw_figures_hold_every_round() -> None:
    service = next(cell for cell in raw(_measured())["cells"] if cell["server"] == "service")
    assert (service["candidates"], service["connections"]) == (200, 8)
    assert [one["figures"]["requests"] for one in service["rounds"]] == [500, 20, 600]
