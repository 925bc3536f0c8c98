"""One field: who has a value, which values, whether they changed, what they tell."""

from collections.abc import Sequence

import numpy as np

from contract.schema import Encoding, Field, Kind
from training.datasets.prepared import SPLITS, Prepared, Seen
from training.describe.bins import Bins
from training.describe.counts import Counts, Ints, counted, positive
from training.describe.findings import Drift, FieldFound, FieldSplit, Leak, Share, ValueFound
from training.describe.impressions import Impressions
from training.describe.leaks import ByMean, leak, mean_rate_bins, mean_rates
from training.describe.measures import SCORE_BINS, Rate, deciles, grouped, heads, most_frequent, psi
from training.describe.sums import Lists, Moments, Sums
from training.describe.survey import Survey
from training.describe.values import value_texts

MOVED, DRIFTED = 0.1, 0.25  # of the PSI beyond noise
STEPS = 24  # of a histogram
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def describe_field(impressions: Impressions, survey: Survey, known: Field, held: Sequence[int], top: int) -> FieldFound:
    """Count a field and say what the counts mean; `held` is the split on which each task's leaks are measured."""
    sums = _sums(impressions, survey, known)
    rows = [impressions.data.description.rows[split] for split in SPLITS]
    seen = impressions.data.description.fields.get(known.name)
    splits = {
        name: _of_split(known, sums, number, rows[number], None if seen is None else seen[name])
        for number, name in enumerate(SPLITS)
    }
    found = FieldFound(
        name=known.name, side=known.side, kind=known.kind, encoding=_encoding(known),
        size=known.size, new_is=_new_is(known, sums.counts, seen is not None), splits=splits,
        leaks=_leaks(impressions, survey, known, sums.counts, held),
    )  # fmt: skip
    more = _numbers(sums) if known.kind is Kind.NUMERIC else _top(impressions, known, sums.counts, top)
    return found.model_copy(update=more)


def _sums(impressions: Impressions, survey: Survey, known: Field) -> Sums:
    if known.kind is not Kind.NUMERIC:
        most = sum(impressions.data.description.rows.values()) * known.slots
        counts = Counts(len(SPLITS), impressions.width, known.size, most)
        for split, ids, weights in impressions.values(known, survey.tables):
            counts.add(split, ids, weights)
        return Sums(counts, lists=_lists(impressions, survey, known))
    values, many = impressions.sample(known, survey.tables)
    bins = Bins.of(values, many)
    centre = float(bins.edges[len(bins.edges) // 2]) if len(bins.edges) else 0.0
    counts = Counts(len(SPLITS), impressions.width, bins.size, sum(impressions.data.description.rows.values()))
    moments = [Moments(centre) for _ in SPLITS]
    for split, numbers, weights in impressions.values(known, survey.tables):
        counts.add(split, bins.place(numbers), weights)
        moments[split].add(numbers[:, 0], weights[0])
    return Sums(counts, bins, moments)


def _lists(impressions: Impressions, survey: Survey, known: Field) -> list[Lists]:
    found = [Lists() for _ in SPLITS] if known.weights is not None else []
    for split, ids, weights, often in impressions.weighted(known, survey.tables) if found else ():
        found[split].add(ids, weights, often)
    return found


def _of_split(known: Field, sums: Sums, split: int, rows: int, seen: Seen | None) -> FieldSplit:
    train, own = sums.counts.of(0, 0), sums.counts.of(split, 0)
    drift = _drift(known, train, own) if split else None
    missing = seen.missing / rows if seen is not None and rows else None
    if known.kind is Kind.NUMERIC:
        moments = sums.moments[split].found()
        return FieldSplit(coverage=None, distinct=int(np.count_nonzero(own)), missing=missing, drift=drift, **moments)
    more = sums.lists[split].found(rows) if sums.lists else {}
    return FieldSplit(
        coverage=1 - int(own[0]) / rows if rows else None,
        distinct=int(np.count_nonzero(own[1:])),
        length=int(own[1:].sum()) / rows if rows and known.kind is Kind.MULTI else None,
        missing=missing,
        unseen=_unseen(known, seen),
        new=_new(known, train, own, seen) if split else None,
        drift=drift,
        **more,
    )


def _unseen(known: Field, seen: Seen | None) -> float | None:
    return seen.unseen / seen.values if seen is not None and seen.values and known.needs_dictionary else None


def _new(known: Field, train: Ints, own: Ints, seen: Seen | None) -> float | None:
    """Share of values that training did not know: ids without training rows, and those without an id.

    A dictionary has no id for them. Where `prepare` could not count them they are what id 0 has beyond its share of
    training, where it means missing.
    """
    if not own.sum():
        return None
    if (unseen := _unseen(known, seen)) is not None:
        late = own[1:][train[1:] == 0].sum() / max(1, own[1:].sum())
        return unseen + (1 - unseen) * float(late)
    excess = float(own[0] / own.sum() - train[0] / max(1, train.sum())) if known.needs_dictionary else 0.0
    return max(0.0, excess) + float(own[1:][train[1:] == 0].sum() / own.sum())


def _new_is(known: Field, counts: Counts, seen: bool) -> str:
    """Id 0 of a dictionary is missing or unknown: surely unknown only where a default stands in for what is missing."""
    if known.encoding is Encoding.HASH:
        return "at least"
    if seen:
        return "exact"
    never_missing = known.default is not None and not counts.sums[0, 0, 0]
    return "exact" if never_missing or not known.needs_dictionary else "estimate"


def _drift(known: Field, train: Ints, own: Ints) -> Drift | None:
    groups = deciles(train) if known.kind is Kind.NUMERIC else heads(train)
    found = psi(grouped(train, groups), grouped(own, groups))
    if found is None:
        return None
    index, noise = found
    word = "drifted" if index - noise > DRIFTED else "moved" if index - noise > MOVED else "steady"
    return Drift(psi=index, noise=noise, word=word)


def _leaks(
    impressions: Impressions, survey: Survey, known: Field, counts: Counts, held: Sequence[int]
) -> tuple[Leak, ...]:
    means = [_by_mean(impressions, survey, known, counts, k, split) for k, split in enumerate(held)]
    every = zip(impressions.targets, held, means, strict=True)
    return tuple(leak(known.kind, counts, k, target, split, mean) for k, (target, split, mean) in enumerate(every))


def _by_mean(
    impressions: Impressions, survey: Survey, known: Field, counts: Counts, k: int, split: int
) -> ByMean | None:
    """Rows of a split by their values' mean rate; only a multi-valued field has one."""
    if known.kind is not Kind.MULTI:
        return None
    by_id = mean_rates(counts, k)
    means = Counts(1, 2, SCORE_BINS, sum(impressions.data.description.rows.values()))
    for _, ids, weights in impressions.values(known, survey.tables, [split]):
        means.add(0, mean_rate_bins(ids, by_id), weights[[counted(k), positive(k)]])
    trained = survey.labels[0][k]
    return ByMean((means.of(0, 0), means.of(0, 1)), (trained.rows, trained.positives))


def _top(impressions: Impressions, known: Field, counts: Counts, top: int) -> dict[str, object]:
    train = counts.of(0, 0)
    chosen = most_frequent(train, top)
    texts = value_texts(impressions.data, known, chosen)
    values = [_value(impressions, counts, i, text) for i, text in zip(chosen, texts, strict=True)]
    absent = _value(impressions, counts, 0, _absent(impressions.data, known)) if train[0] else None
    return {"top": tuple(values), "absent": absent}


def _absent(data: Prepared, known: Field) -> str:
    """What id 0 is in training."""
    if (seen := data.description.fields.get(known.name)) is not None and not (
        seen["train"].missing and seen["train"].unseen
    ):
        return "missing" if seen["train"].missing else "too rare for an id"
    return "missing, or too rare for an id"


def _value(impressions: Impressions, counts: Counts, i: int, text: str) -> ValueFound:
    rows = int(counts.sums[0, 0, i])
    tasks = {
        target.task.name: share_of(int(counts.sums[0, counted(k), i]), int(counts.sums[0, positive(k), i]))
        for k, target in enumerate(impressions.targets)
    }
    every = impressions.data.description.rows["train"]
    return ValueFound(id=i, text=text, rows=rows, share=rows / max(1, every), tasks=tasks)


def share_of(rows: int, positives: int) -> Share:
    """A share and its interval."""
    rate = Rate(rows, positives)
    low, high = rate.interval or (None, None)
    return Share(rows=rows, positives=positives, rate=rate.value, low=low, high=high)


def _numbers(sums: Sums) -> dict[str, object]:
    """Quantiles of training, and a histogram of what lies between the outermost of them."""
    train, bins = sums.counts.of(0, 0), sums.bins
    if bins is None or not train.sum():
        return {}
    quantiles = {f"{share:g}": value for share in QUANTILES if (value := bins.quantile(train, share)) is not None}
    return {"quantiles": quantiles, "histogram": _histogram(bins, train, quantiles["0.01"], quantiles["0.99"])}


def _histogram(bins: Bins, train: Ints, low: float, high: float) -> tuple[tuple[float, float], ...]:
    """Equal steps from low to high; what lies beyond them is in the outermost."""
    if high <= low:
        return ((low, 1.0),)
    starts = np.concatenate([bins.edges[:1], bins.edges]).astype(np.float64)
    steps = np.clip(((starts - low) / (high - low) * STEPS).astype(np.int64), 0, STEPS - 1)
    shares = np.bincount(steps, train, STEPS) / train.sum()
    return tuple((low + (high - low) * step / STEPS, float(share)) for step, share in enumerate(shares))


def _encoding(known: Field) -> str:
    return "number" if known.kind is Kind.NUMERIC else known.encoding.value
