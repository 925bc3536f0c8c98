"""What the types of a configuration cannot say: each mistake with its place."""

from collections.abc import Iterator
from dataclasses import dataclass

from service.experiments.config import SLOTS, Arm, Experiment, Experiments, Layer
from service.experiments.document import Place
from service.experiments.targeting import condition

Mistakes = Iterator[tuple[Place, str]]
PERCENT = SLOTS // 100


def mistakes(config: Experiments) -> Mistakes:
    """What is wrong; names first, then each experiment, then what layers are to each other."""
    yield from _mistakes_of_names(config)
    for place, experiment in config.placed():
        yield from _mistakes_of_arms(place, experiment)
        yield from _mistakes_of_conduct(place, experiment)
    for i, layer in enumerate(config.layers):
        yield from _mistakes_of_slots(("layers", i), layer)
        yield from _mistakes_of_overrides(("layers", i), layer)
    yield from _mistakes_of_holdout(config)
    yield from _mistakes_of_salts(config)
    yield from _mistakes_of_layers(config)


def _mistakes_of_names(config: Experiments) -> Mistakes:
    layers: set[str] = set()
    for i, layer in enumerate(config.layers):
        if layer.name in layers:
            yield ("layers", i, "name"), f"layer '{layer.name}' appears twice"
        layers.add(layer.name)
    keys: set[str] = set()
    for place, experiment in config.placed():
        if experiment.key in keys:
            yield (*place, "key"), f"experiment '{experiment.key}' appears twice"
        keys.add(experiment.key)


def _mistakes_of_arms(place: Place, experiment: Experiment) -> Mistakes:
    key, names = experiment.key, [arm.name for arm in experiment.arms]
    for i, name in enumerate(names):
        if name in names[:i]:
            yield (*place, "arms", i, "name"), f"arm '{name}' appears twice in '{key}'"
    total = sum(arm.weight for arm in experiment.arms)
    if experiment.hash != "unleash" and total != SLOTS:
        yield (*place, "arms"), f"the weights of '{key}' sum to {total}; they must sum to {SLOTS}"
    if total == 0:
        yield (*place, "arms"), f"the weights of '{key}' are all 0"
    if experiment.control is not None and experiment.control not in names:
        yield (*place, "control"), f"control of '{key}': no arm '{experiment.control}' ({', '.join(names)})"
    for user, name in experiment.overrides.items():
        if name not in names:
            yield (*place, "overrides", user), f"override of '{user}': no arm '{name}' ({', '.join(names)})"


def _mistakes_of_conduct(place: Place, experiment: Experiment) -> Mistakes:
    key = experiment.key
    if experiment.when is not None:
        try:
            condition(experiment.when)
        except ValueError as error:
            yield (*place, "when"), f"condition of '{key}': {error}"
    if experiment.start and experiment.end and experiment.end <= experiment.start:
        yield (*place, "end"), f"the end of '{key}' is not after its start"
    if experiment.coverage != SLOTS and experiment.hash != "growthbook_v2":
        yield (*place, "coverage"), f"coverage of '{key}' needs hash growthbook_v2; others enrol by their slots"
    if experiment.guardrails and experiment.guardrails.calibration:
        low, high = experiment.guardrails.calibration
        if not 0 <= low < high:
            yield (*place, "guardrails", "calibration"), f"calibration of '{key}': [{low}, {high}] must be low < high"
    yield from _mistakes_of_thompson(place, experiment)


def _mistakes_of_thompson(place: Place, experiment: Experiment) -> Mistakes:
    key, thompson, arms = experiment.key, experiment.thompson, len(experiment.arms)
    if thompson is None:
        return
    if experiment.measure.primary == "value":
        yield (*place, "thompson"), f"thompson of '{key}' follows a rate; primary must be ctr, cvr or ctcvr"
    if arms < 2:
        yield (*place, "thompson"), f"thompson of '{key}' needs at least two arms"
    if thompson.floor * arms > SLOTS:
        most = SLOTS // arms
        yield (*place, "thompson", "floor"), f"{arms} arms of '{key}' cannot each have {thompson.floor}; at most {most}"


def _mistakes_of_slots(place: Place, layer: Layer) -> Mistakes:
    taken: list[tuple[int, int, str]] = []
    for j, experiment in enumerate(layer.experiments):
        for k, (start, stop) in enumerate(experiment.slots):
            here, named = (*place, "experiments", j, "slots", k), f"slots [{start}, {stop}] of '{experiment.key}'"
            if not 0 <= start < stop <= SLOTS:
                yield here, f"{named} are empty or outside 0..{SLOTS}"
            if layer.hash == "unleash" and (start % PERCENT or stop % PERCENT):
                yield here, f"{named}: under hash unleash a layer has whole percents, multiples of {PERCENT}"
            for first, last, other in taken:
                if start < last and first < stop:
                    yield here, f"{named} overlap '{other}'"
            taken.append((start, stop, experiment.key))


def _mistakes_of_overrides(place: Place, layer: Layer) -> Mistakes:
    taken: dict[str, str] = {}
    for j, experiment in enumerate(layer.experiments):
        for user in experiment.overrides:
            if (other := taken.setdefault(user, experiment.key)) != experiment.key:
                where = (*place, "experiments", j, "overrides", user)
                yield where, f"override of '{user}' stands in '{other}' too; experiments of a layer exclude each other"


def _mistakes_of_holdout(config: Experiments) -> Mistakes:
    for k, (start, stop) in enumerate(config.holdout.slots if config.holdout else ()):
        if not 0 <= start < stop <= SLOTS:
            yield ("holdout", "slots", k), f"slots [{start}, {stop}] of the holdout are empty or outside 0..{SLOTS}"


@dataclass(frozen=True)
class _Use:
    """A salt where it stands. Draws of one salt follow each other; Unleash's two differ in their seed."""

    salt: str
    place: Place
    what: str
    layer: int | None = None
    arms: bool = False
    seeded: bool = False

    def follows(self, other: "_Use") -> bool:
        """Whether this draw would not be independent of the other; arms of one layer exclude each other."""
        exclusive = self.arms and other.arms and self.layer == other.layer
        return self.salt == other.salt and self.seeded == other.seeded and not exclusive


def _mistakes_of_salts(config: Experiments) -> Mistakes:
    seen: list[_Use] = []
    for use in _uses(config):
        other = next((each for each in seen if use.follows(each)), None)
        if other is not None and use.arms and not other.arms and use.layer == other.layer:
            yield use.place, f"the salt of {use.what} is the layer's: arms would follow slots; choose another"
        elif other is not None:
            yield use.place, f"{use.what} has the salt '{use.salt}' of {other.what}: one would follow the other"
        seen.append(use)


def _uses(config: Experiments) -> Iterator[_Use]:
    if config.holdout is not None:
        yield _Use(config.holdout.salt, ("holdout", "salt"), "the holdout")
    for i, layer in enumerate(config.layers):
        yield _Use(layer.salt, ("layers", i, "salt"), f"layer '{layer.name}'", i)
    for place, experiment in config.placed():
        seeded = experiment.hash == "unleash"
        yield _Use(experiment.draw_salt, (*place, "salt"), f"'{experiment.key}'", int(place[1]), True, seeded)


def _mistakes_of_layers(config: Experiments) -> Mistakes:
    """What one layer decides, no other may: its arms would be mixed with the other's."""
    owners: dict[str, int] = {}
    for place, experiment in config.placed():
        layer = int(place[1])
        for i, arm in enumerate(experiment.arms):
            for part, what in _decided(arm):
                owner = owners.setdefault(what, layer)
                if owner != layer:
                    names = f"layer '{config.layers[layer].name}' decides {what}"
                    first = config.layers[owner].name
                    yield (*place, "arms", i, *part), f"{names}, which layer '{first}' decides already"


def _decided(arm: Arm) -> Iterator[tuple[Place, str]]:
    if arm.model is not None:
        yield ("model",), "the model"
    if arm.ranking:
        yield ("ranking",), "the ranking"
    for name in arm.parameters:
        yield ("parameters", name), f"the parameter '{name}'"
