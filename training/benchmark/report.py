"""The report of a benchmark: report.html, report.md and the plots as SVG files beside them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from contract.files import write_text
from training.benchmark import search
from training.benchmark.comparison import Difference
from training.benchmark.cost import COUNTED_ROWS, machine
from training.benchmark.document import Block, Document, Figure, Grid, Heading, Text, number
from training.benchmark.plan import Entry
from training.benchmark.plots import cost_plot, difference_plot, metric_plot
from training.benchmark.results import Results, first_metric, verdict
from training.benchmark.runs import read_scores
from training.benchmark.study import Study
from training.benchmark.targets import Target

BINARY = {"log_loss": "log loss", "ece": "ECE", "calibration": "pred. / obs.", "gauc": "GAUC"}
CONTINUOUS = {"mae": "MAE", "spearman": "Spearman", "gini": "Gini", "calibration": "pred. / obs."}
VERDICTS = ("better", "within noise", "worse")
NOISE = (
    "Each model meets the same seeds and the same test rows, so differences are taken within a seed. `seeds` is half "
    "the 95 % t-interval over those pairs (another start and order of the same training rows); `rows` is that of other "
    "test rows (DeLong's variance of the difference between the seeds' mean AUCs, the delta method for RMSE{users}); "
    "`both` is the root of the sum of their squares, and a difference is noise where that holds 0. Intervals are 95 % "
    "each, not corrected for how many are shown. All models saw one choice of training rows."
)


def write_report(study: Study, entries: Sequence[Entry], baseline: str, seeds: int) -> None:
    """Of whatever has ended so far."""
    outcomes = {
        entry.name: [o for seed in range(seeds) if (o := study.outcome(entry, seed)) is not None] for entry in entries
    }
    results = Results(outcomes, study.arena.targets, baseline, lambda outcome: read_scores(study.runs, outcome))
    document = Document(f"Benchmark on {study.arena.data.description.source}", _blocks(study, entries, results, seeds))
    write_document(study.out, document)


def write_document(out: Path, document: Document) -> None:
    """Both forms, and the figures that the Markdown links to."""
    for figure in document.figures:
        write_text(out / f"{figure.name}.svg", figure.svg)
    write_text(out / "report.md", document.markdown())
    write_text(out / "report.html", document.html())


def _blocks(study: Study, entries: Sequence[Entry], results: Results, seeds: int) -> list[Block]:
    blocks: list[Block] = [Text(_lead(study, entries, results, seeds), lead=True)]
    if results.names:
        blocks += [Text(line) for line in _headlines(results)]
        blocks += _figures(results, {entry.name: entry.model for entry in entries})
        for target in results.targets:
            blocks += _target(results, target)
        blocks += [Heading("Cost"), _costs(results), Text(_costs_told(study))]
    blocks += _settings(study, entries)
    blocks += _failures(study, entries, results)
    clustered = ", rows of one user as one draw" if any(t.users is not None for t in results.targets) else ""
    blocks += [Heading("How to read the intervals"), Text(NOISE.format(users=clustered))]
    return blocks


def _lead(study: Study, entries: Sequence[Entry], results: Results, seeds: int) -> str:
    rows = study.arena.data.description.rows
    sizes = ", ".join(f"{count:,} {split}" for split, count in rows.items())
    ended = sum(map(len, results.done.values())) + len(results.failed)
    runs = f"{ended} of {len(entries) * seeds} runs have ended" if ended < len(entries) * seeds else f"{ended} runs"
    trials = max(len(study.trials(entry.model)) for entry in entries)
    tuned = f"each model tuned in {trials} trials" if trials else "recipes as they are"
    return f"{sizes} rows; {runs}, {seeds} seed{'s' * (seeds > 1)} each; {tuned}; on {machine(study.arena.device)}."


def _headlines(results: Results) -> Iterator[str]:
    """A sentence a target: who is better than the baseline, who worse, who cannot be told apart."""
    if results.baseline not in results.names:
        yield f"No run of {results.baseline}, the baseline, ended well: there is nothing to compare with."
        return
    for target in results.targets:
        found = {name: d for name in results.names if (d := results.difference(name, target)) is not None}
        parts = []
        for kind in VERDICTS:
            told = [
                name if kind == "within noise" else f"{name} ({number(d.mean, signed=True)} ± {d.both:.4f})"
                for name, d in found.items()
                if verdict(target, d) == kind
            ]
            parts += [f"{kind}: {', '.join(told)}"] if told else []
        if parts:
            yield f"**{target.name}** against {results.baseline}: {'; '.join(parts)}."


def _figures(results: Results, models: dict[str, str]) -> list[Block]:
    blocks: list[Block] = []
    if any(results.values(name, t, "share") for name in results.names for t in results.targets):
        blocks += [
            Heading("Share of the oracle's lift"),
            Text("Soft AUC against the true probabilities: (model − 0.5) / (oracle − 0.5)."),
        ]
        blocks.append(Figure("share", metric_plot(results, models, "share"), "Share of the oracle's lift by model"))
    for metric, title in (("auc", "Test AUC"), ("rmse", "Test RMSE")):
        if any(first_metric(target) == metric for target in results.targets):
            caption = f"{title} by model: each seed, the mean, and its 95 % interval over seeds"
            blocks += [Heading(title), Figure(metric, metric_plot(results, models, metric), caption)]
    if len(results.names) > 1 and results.baseline in results.names:
        caption = f"Paired difference to {results.baseline}: thick over seeds, thin over seeds and test rows"
        blocks += [Heading(f"Difference to {results.baseline}"), Text(f"{caption}; hollow where within noise.")]
        blocks.append(Figure("difference", difference_plot(results, models), caption))
    if any(target.binary for target in results.targets):
        blocks += [Heading("AUC against cost"), Figure("cost", cost_plot(results, models), "AUC against MACs a row")]
    return blocks


def _target(results: Results, target: Target) -> list[Block]:
    """Heading, sizes and table of one target."""
    metrics = BINARY if target.binary else CONTINUOUS
    kept = [m for m in metrics if any(results.values(name, target, m) for name in results.names)]
    share = any(results.values(name, target, "share") for name in results.names)
    title = "AUC" if target.binary else "RMSE"
    columns = [
        "model",
        title,
        f"− {results.baseline}",
        "seeds",
        "rows",
        "both",
        "",
        *(["oracle's lift", f"− {results.baseline}"] if share else []),
    ]
    rows = [
        [
            name,
            results.shown(name, target, first_metric(target)),
            *_difference_cells(target, results.difference(name, target)),
            *([results.shown(name, target, "share", digits=3), _gain(results.gain(name, target))] if share else []),
            *(results.shown(name, target, metric) for metric in kept),
        ]
        for name in results.names
    ]
    grid = Grid([*columns, *(metrics[m] for m in kept)], rows, texts=(0, 6), marked=results.baseline)
    return [Heading(f"{target.name} over {target.over}"), Text(_sizes(target)), grid]


def _difference_cells(target: Target, found: Difference | None) -> list[str]:
    if found is None:
        return [""] * 5
    seeds = "–" if found.seeds is None else f"± {found.seeds:.4f}"
    return [
        number(found.mean, signed=True),
        seeds,
        f"± {found.rows:.4f}",
        f"± {found.both:.4f}",
        verdict(target, found),
    ]


def _gain(found: tuple[float, float] | None) -> str:
    """In share of the oracle's lift, with its interval over seeds."""
    return (
        ""
        if found is None
        else number(found[0], 3, signed=True) + (f" ± {found[1]:.3f}" if found[1] == found[1] else "")
    )


def _sizes(target: Target) -> str:
    positives = f", {int((target.labels == 1).sum()):,} positive" if target.binary else ""
    oracle = target.oracle()
    known = "" if oracle is None else f"; the oracle's soft AUC is {oracle:.4f}"
    return f"{len(target.labels):,} test rows{positives}{known}. Mean ± standard deviation over seeds."


def _costs(results: Results) -> Grid:
    columns = [
        "model",
        "parameters",
        "of them in tables",
        "MACs a row",
        "training rows/s",
        "steps to the best",
        "seconds a run",
    ]
    fields = ("parameters", "table_parameters", "macs", "rows_per_second", "steps", "seconds")
    rows = [
        [name, *("–" if (v := results.typical(name, f)) is None else f"{v:,.0f}" for f in fields)]
        for name in results.names
    ]
    return Grid(columns, rows, marked=results.baseline)


def _costs_told(study: Study) -> str:
    return (
        "MACs: multiply-accumulates of matrix products, counted by torch's FlopCounterMode in an evaluation pass of "
        f"{COUNTED_ROWS:,} test rows, a request each; look-ups and elementwise work do not count. Training rows/s: "
        f"loading included, validations left out, on {machine(study.arena.device)}. Medians over seeds."
    )


def _settings(study: Study, entries: Sequence[Entry]) -> list[Block]:
    """What tuning found, by model."""
    rows = []
    for model in dict.fromkeys(entry.model for entry in entries):
        trials = study.trials(model)
        found = search.best(trials)
        if found is None or not trials:
            continue
        first = "–" if trials[0].score is None else f"{trials[0].score:.4f}"
        settings = (
            ", ".join(f"`{text}`" for text in search.assignments(_rounded(found.settings))) or "the recipe as it is"
        )
        rows.append([model, str(len(trials)), first, f"{found.score:.4f}", settings])
    if not rows:
        return []
    told = "By the selection score on validation rows; the first trial is the recipe as it is. Test rows play no part."
    grid = Grid(["model", "trials", "recipe", "best", "settings found"], rows, texts=(0, 4))
    return [Heading("Settings"), Text(told), grid, *_variants(entries)]


def _variants(entries: Sequence[Entry]) -> list[Block]:
    told = [
        f"{entry.name}: {entry.model} with {', '.join(f'`{text}`' for text in entry.own)}"
        for entry in entries
        if entry.own
    ]
    return [Text(f"Variants, each with its model's settings: {'; '.join(told)}.")] if told else []


def _rounded(settings: dict[str, object]) -> dict[str, object]:
    return {key: float(f"{value:.3g}") if isinstance(value, float) else value for key, value in settings.items()}


def _failures(study: Study, entries: Sequence[Entry], results: Results) -> list[Block]:
    rows = [[outcome.entry, f"seed {outcome.seed}", outcome.error or ""] for outcome in results.failed]
    for model in dict.fromkeys(entry.model for entry in entries):
        rows += [[model, f"trial {trial.number + 1}", trial.error] for trial in study.trials(model) if trial.error]
    return [Heading("Failed"), Grid(["model", "run", "error"], rows, texts=(0, 1, 2))] if rows else []
