"""`python -m service experiments …` as a person runs it: what it prints, and one line for each mistake."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from contract.command import run
from service.experiments.commands import main
from tests.service.conftest import Bundles

Run = Callable[..., tuple[int, str, str]]
GOOD = """\
version: 3
default_model: ple
holdout: {salt: out, slots: [[0, 500]]}
layers:
  - name: ranking
    salt: ranking
    experiments:
      - key: one
        salt: one.1
        slots: [[0, 1000], [2000, 3000]]
        arms:
          - {name: a, weight: 5000}
          - {name: b, model: dtn, weight: 5000}
        control: b
        overrides: {u1: b}
        when: scene in ["home"]
      - key: two
        slots: [[3000, 9000]]
        arms:
          - {name: c, weight: 3000}
          - {name: d, weight: 7000}
        start: 2999-01-01T00:00:00Z
        guardrails: {p99_ms: 40.0}
"""


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command beside good.yaml: status, output, errors."""
    monkeypatch.chdir(tmp_path)
    Path("good.yaml").write_text(GOOD, encoding="utf-8")

    def call(*arguments: str) -> tuple[int, str, str]:
        status = run(lambda: main(list(arguments)))
        return status, *capsys.readouterr()

    return call


def write(name: str, *changes: tuple[str, str]) -> str:
    text = GOOD.replace("version: 3", "version: 4")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    Path(name).write_text(text, encoding="utf-8")
    return name


def test_validate_shows_what_runs_for_whom(command: Run) -> None:
    status, out, _ = command("validate", "good.yaml")
    assert status == 0
    assert out.splitlines() == [
        "good.yaml: good; version 3, default model ple",
        "  layer    experiment  phase  state                                    users  arm  weight  model",
        "  ranking  one             1  running                                 19.0 %  a    50.0 %  ple (default)",
        "  ranking  one             1  running                                 19.0 %  b *  50.0 %  dtn",
        "  ranking  two             1  not started, from 2999-01-01 00:00 UTC  57.0 %  c *  30.0 %  ple (default)",
        "  ranking  two             1  not started, from 2999-01-01 00:00 UTC  57.0 %  d    70.0 %  ple (default)",
        "  5.0 % of all users are held out of all experiments",
        "  layer ranking: 2,000 of 10,000 slots are free",
        "warning: 'one': no guardrails, so that nothing ends it when an arm fails or is slow",
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("start: 2999", "start: 2001", " running "),
        ("start: 2999-01-01T00:00:00Z", "end: 2999-01-02T03:04:00+01:00", "running until 2999-01-02 03:04 UTC+01:00"),
        ("start: 2999", "end: 2001", "ended 2001-01-01 00:00 UTC"),
        ("start: 2999-01-01T00:00:00Z", "killed: true", " killed "),
        ("layers:", "killed: true\nlayers:", "warning: killed is on: everybody meets the default model"),
        ("[3000, 9000]", "[1000, 2000], [3000, 10000]", "warning: layer 'ranking' has no free slot"),
        ("{name: c, weight: 3000}", "{name: c, weight: 0}\n          - {name: x, weight: 3000}", "'c' has weight 0"),
        ("weight: 3000}\n          - {name: d, weight: 7000}", "weight: 10000}", "nothing to compare"),
        ("guardrails: {p99_ms: 40.0}", "thompson: {hours: 24.0}", "weights that adapt find differences"),
    ],
)
def test_validate_tells_states_and_warns(command: Run, old: str, new: str, said: str) -> None:
    status, out, _ = command("validate", write("other.yaml", (old, new)))
    assert status == 0
    assert said in out


def test_validate_names_line_and_rule_on_one_line(command: Run) -> None:
    status, out, error = command("validate", write("bad.yaml", ("weight: 7000", "weight: 6000")))
    assert (status, out) == (2, "")
    assert error == "error: bad.yaml:19: the weights of 'two' sum to 9000; they must sum to 10000\n"
    status, _, error = command("validate", "none.yaml")
    assert status == 2
    assert error.count("\n") == 1
    assert "none.yaml: no such file" in error


def test_validate_takes_the_services_own_file_by_default(command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINSCORE_EXPERIMENTS", "good.yaml")
    assert command("validate")[1].startswith("good.yaml: good")


def test_validate_looks_for_every_model(command: Run, bundles: Bundles) -> None:
    status, out, _ = command("validate", "good.yaml", "--bundles", str(bundles.root))
    assert status == 0
    assert re.search(r"model dtn: .*/dtn/v1", out)
    other = write("other.yaml", ("model: dtn", "model: dtn@v9"))
    status, out, error = command("validate", other, "--bundles", str(bundles.root))
    assert (status, out) == (2, "")
    assert error.startswith("error: other.yaml:13: model 'dtn@v9': ")


def test_diff_refuses_what_moves_users_and_says_how_many(command: Run) -> None:
    new = write("new.yaml", ("weight: 3000}", "weight: 3100}"), ("weight: 7000}", "weight: 6900}"))
    status, out, error = command("diff", "good.yaml", new)
    assert status == 2
    assert error == (
        "error: new.yaml:17: experiment 'two': 1.0 % of its enrolled users would change arm or fall out; "
        "raise its phase, and with it the salt (phase: 2)\n"
    )
    lines = out.splitlines()
    assert lines[:4] == [
        "version: 3 → 4", "experiment 'two'", "  arm 'c': weight: 3000 → 3100", "  arm 'd': weight: 7000 → 6900",
    ]  # fmt: skip
    moved = re.fullmatch(
        r"  1\.0 % of its enrolled users change arm or fall out \(([\d,]+) of ([\d,]+) drawn\)", lines[4]
    )
    assert moved
    gone, enrolled = (int(number.replace(",", "")) for number in moved.groups())
    assert 56_000 < enrolled < 58_000
    assert 0.008 < gone / enrolled < 0.013


def test_diff_passes_the_same_change_in_a_new_phase(command: Run) -> None:
    changes = (
        ("weight: 3000}", "weight: 3100}"),
        ("weight: 7000}", "weight: 6900}"),
        ("- key: two", "- key: two\n        phase: 2"),
    )
    status, out, error = command("diff", "good.yaml", write("new.yaml", *changes))
    assert (status, error) == (0, "")
    assert "drawn), in a new phase" in out


def test_diff_passes_what_moves_nobody(command: Run) -> None:
    new = write("new.yaml", ("[2000, 3000]]", "[2000, 3000], [9000, 10000]]"), ("{u1: b}", "{u1: a}"))
    status, out, _ = command("diff", "good.yaml", new)
    assert status == 0
    assert "  override of 'u1': b → a\n" in out
    assert re.search(r"nobody moves \(0 of 1\d,\d{3} drawn\)", out)
    assert command("diff", "good.yaml", "good.yaml") == (0, "no difference\n", "")


def test_diff_tells_of_removed_and_new_experiments_and_of_a_version_that_stays(command: Run) -> None:
    new = write("new.yaml", ("key: two", "key: three"), ("version: 4", "version: 3"))
    status, out, _ = command("diff", "good.yaml", new)
    assert status == 0
    assert re.search(
        r"experiment 'two': removed; 5\d,\d{3} of the users drawn were in it\nexperiment 'three': new\n", out
    )
    assert "warning: version 3 must be above 3" in out


def test_diff_counts_a_files_users(command: Run) -> None:
    Path("users.csv").write_text("user\n" + "".join(f"u{i}\n" for i in range(1_000)))
    new = write("new.yaml", ("slots: [[0, 1000], [2000, 3000]]", "slots: [[0, 1000]]"))
    status, out, _ = command("diff", "good.yaml", new, "--users", "users.csv", "--column", "user")
    assert status == 2
    moved = re.search(r"50\.0 % of its enrolled users change arm or fall out \((\d+) of (\d+) drawn\)", out)
    assert moved
    assert int(moved[1]) < int(moved[2]) < 300


def test_explain_prints_each_step(command: Run) -> None:
    status, out, _ = command("explain", "u1", "--config", "good.yaml")
    assert status == 0
    assert out.startswith("user u1, version 3\n")
    assert "override: an override of 'one' gives this user arm 'b'" in out
    assert out.rstrip().endswith("model dtn, arm b of one: override")


def test_explain_takes_the_context_of_a_request(command: Run) -> None:
    inside = next(f"u{i}" for i in range(999) if "condition" in command("explain", f"u{i}", "--config", "good.yaml")[1])
    assert "not-targeted" in command("explain", inside, "--config", "good.yaml")[1]
    seen = command("explain", inside, "--config", "good.yaml", "--context", '{"scene": "home"}')[1]
    assert "assigned" in seen
    for context in ("{", "[]"):
        status, _, error = command("explain", "u1", "--config", "good.yaml", "--context", context)
        assert status == 2
        assert error.startswith("error: --context: ")
        assert error.count("\n") == 1


def test_simulate_reports_balance_and_power(command: Run) -> None:
    Path("users.txt").write_text("".join(f"u{i}\n" for i in range(20_000)))
    status, out, _ = command(
        "simulate", "--users", "users.txt", "--config", "good.yaml", "--baseline", "0.1", "--exposures-per-user", "5",
        "--spread", "0", "--effect", "0.1", "--days", "2",
    )  # fmt: skip
    assert status == 0
    assert "20,000 users, drawn as if all ran for everybody" in out
    assert re.search(r"'two': 11,\d{3} users, 5\d\.\d % of all; its slots say 57\.0 %", out)
    assert out.count("as chance has it") == 2
    assert "baseline 10.0 %, 5 exposures a user, spread 0: each counts as 1/1.00 of an independent one" in out
    # V = 0.9 / 0.1 / 5 = 1.8; (1.959964 + 0.841621)² · 1.8 · 4 / 0.1² = 5,652 users in equal halves
    found = re.search(r"  a +one look +[\d.]+ % +([\d.]+) % +([\d,]+) +([\d.]+)\n", out)
    assert found
    assert int(found[2].replace(",", "")) in range(5_651, 5_656)
    assert float(found[3]) == pytest.approx(5_652 / 3_800 * 2, abs=0.2)
    assert float(found[1]) == pytest.approx(64, abs=3)


@pytest.mark.parametrize("option", [("--baseline", "1"), ("--baseline", "x"), ("--days", "0"), ("--spread", "-1")])
def test_simulate_refuses_what_makes_no_sense(
    command: Run, capsys: pytest.CaptureFixture[str], option: tuple[str, str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command("simulate", "--users", "users.txt", *option)
    assert ended.value.code == 2
    assert f"argument {option[0]}: {option[1]}: must be" in capsys.readouterr().err
