"""All trials and runs of a benchmark, one after another, each kept as it ends: what is there is not done again."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from training.benchmark import search
from training.benchmark.cost import Tick
from training.benchmark.plan import Entry
from training.benchmark.runs import Arena, Outcome, Scores, read_outcome, told, write_outcome
from training.benchmark.search import Trial
from training.config import Recipe


class Study:
    """Trials first, then seed by seed, so that what is there is paired whenever it stops."""

    def __init__(self, arena: Arena, out: Path, console: Console, seconds: float | None, retry: bool) -> None:
        self.arena, self.out, self.retry = arena, out, retry
        self.deadline = None if seconds is None else perf_counter() + seconds
        self.progress = runs_progress(console)

    def go(self, entries: Sequence[Entry], trials: int, seeds: int) -> bool:
        """Do what is missing; False where time ran out first."""
        tuned = list({entry.model: entry.plain for entry in entries}.values()) if trials else []
        with self.progress:
            self.bar = self.progress.add_task("all", total=len(tuned) * trials + len(entries) * seeds)
            for entry in tuned:
                for done in range(trials):
                    if not self._trial(entry, done, trials):
                        return False
            for seed in range(seeds):
                for entry in entries:
                    if not self._run(entry, seed):
                        return False
        return True

    def recipe(self, entry: Entry) -> Recipe:
        """With the best settings that the model's trials found, if it has any."""
        best = search.best(self.trials(entry.model))
        return entry.recipe(search.assignments(best.settings) if best else ())

    def trials(self, model: str) -> list[Trial]:
        """Finished ones."""
        return search.read_trials(self._trials_of(model))

    def outcome(self, entry: Entry, seed: int) -> Outcome | None:
        """Of a run that has ended, with the recipe that it would be run with now."""
        found = read_outcome(self.runs, entry.name, seed)
        return found if found and found.recipe == self.recipe(entry).model_dump(mode="json") else None

    @property
    def runs(self) -> Path:
        """The folder of outcomes and predictions."""
        return self.out / "runs"

    def _trials_of(self, model: str) -> Path:
        return self.out / "trials" / model

    def _trial(self, entry: Entry, number: int, of: int) -> bool:
        """False where there is no time left for it."""
        done = self.trials(entry.model)
        if number < len(done) and not (self.retry and done[number].error):
            self.progress.advance(self.bar)
            return True
        if self._late():
            return False
        earlier = done[:number]
        settings = search.propose(search.space(entry.model, entry.fixed), earlier, entry.recipe())
        started = perf_counter()
        try:
            recipe = entry.recipe(search.assignments(settings))
            with steps_bar(self.progress, f"{entry.name}, trial {number + 1} of {of}", self.arena, recipe) as tick:
                _, fitted = self.arena.fitted(entry.model, recipe, search.SEED, tick)
            trial = Trial(number=number, settings=settings, score=fitted.score, seconds=perf_counter() - started)
        except Exception as error:  # whatever breaks one trial must not end the others
            trial = Trial(number=number, settings=settings, seconds=perf_counter() - started, error=told(error))
        search.write_trial(self._trials_of(entry.model), trial)
        self._say(f"{entry.name}, trial {number + 1}: {_scored(trial.score, trial.error, trial.seconds)}")
        return True

    def _run(self, entry: Entry, seed: int) -> bool:
        """False where there is no time left for it."""
        there = self.outcome(entry, seed)
        if there is not None and not (self.retry and there.error):
            self.progress.advance(self.bar)
            return True
        if self._late():
            return False
        recipe = self.recipe(entry)
        with steps_bar(self.progress, f"{entry.name}, seed {seed}", self.arena, recipe) as tick:
            outcome, found = attempt(self.arena, entry, recipe, seed, tick)
        write_outcome(self.runs, outcome, found)
        self._say(outcome_line(outcome))
        return True

    def _late(self) -> bool:
        return self.deadline is not None and perf_counter() >= self.deadline

    def _say(self, line: str) -> None:
        self.progress.advance(self.bar)
        self.progress.console.print(escape(line), soft_wrap=True, highlight=False)


def attempt(arena: Arena, entry: Entry, recipe: Recipe, seed: int, tick: Tick) -> tuple[Outcome, Scores | None]:
    """A run, or how it failed: whatever breaks one must not end the others."""
    started = perf_counter()
    try:
        return arena.run(entry.name, entry.model, recipe, seed, tick)
    except Exception as error:
        content, seconds = recipe.model_dump(mode="json"), perf_counter() - started
        return Outcome(entry=entry.name, recipe=content, seed=seed, error=told(error), seconds=seconds), None


def outcome_line(outcome: Outcome) -> str:
    """A run in one line, as it ends."""
    return f"{outcome.entry}, seed {outcome.seed}: {_scored(outcome.score, outcome.error, outcome.seconds)}"


def runs_progress(console: Console) -> Progress:
    """A bar of all runs, and one of the steps of the run that goes on."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console)


@contextmanager
def steps_bar(progress: Progress, name: str, arena: Arena, recipe: Recipe) -> Iterator[Tick]:
    """Yields what is to be called at each step."""
    steps = -(-len(arena.splits["train"]) // recipe.batch_size) * recipe.epochs
    task = progress.add_task(escape(name), total=steps)
    try:
        yield lambda: progress.advance(task)
    finally:
        progress.remove_task(task)


def _scored(score: float | None, error: str | None, seconds: float) -> str:
    return f"FAILED: {error}" if error or score is None else f"validation {score:.4f} ({seconds:.0f} s)"
