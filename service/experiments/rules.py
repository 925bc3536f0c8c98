"""What the types of a configuration cannot say: each mistake with its place."""

from collections.abc import Iterator

from service.experiments.config import SLOTS, Experiment, Experiments, Layer
from service.experiments.document import Place


def mistakes(config: Experiments) -> Iterator[tuple[Place, str]]:
    """What is wrong, in the order of the file."""
    keys: set[str] = set()
    for place, experiment in config.placed():
        if experiment.key in keys:
            yield (*place, "key"), f"experiment '{experiment.key}' appears twice"
        keys.add(experiment.key)
        yield from _mistakes_of_arms(place, experiment)
    for i, layer in enumerate(config.layers):
        yield from _mistakes_of_slots(("layers", i), layer)


def _mistakes_of_arms(place: Place, experiment: Experiment) -> Iterator[tuple[Place, str]]:
    names = [arm.name for arm in experiment.arms]
    for i, name in enumerate(names):
        if name in names[:i]:
            yield (*place, "arms", i, "name"), f"arm '{name}' appears twice in '{experiment.key}'"
    if (total := sum(arm.weight for arm in experiment.arms)) != SLOTS:
        yield (*place, "arms"), f"the weights of '{experiment.key}' sum to {total}; they must sum to {SLOTS}"
    for user, arm_name in experiment.overrides.items():
        if arm_name not in names:
            yield (*place, "overrides", user), f"override of '{user}': no arm '{arm_name}' ({', '.join(names)})"


def _mistakes_of_slots(place: Place, layer: Layer) -> Iterator[tuple[Place, str]]:
    taken: list[tuple[int, int, str]] = []
    for j, experiment in enumerate(layer.experiments):
        here = (*place, "experiments", j)
        if experiment.draw_salt == layer.salt:
            yield (
                (*here, "salt"),
                f"the salt of '{experiment.key}' is the layer's: arms would follow slots; choose another",
            )
        for k, (start, stop) in enumerate(experiment.slots):
            if not 0 <= start < stop <= SLOTS:
                yield (
                    (*here, "slots", k),
                    f"slots [{start}, {stop}] of '{experiment.key}' are empty or outside 0..{SLOTS}",
                )
            for first, last, other in taken:
                if start < last and first < stop:
                    yield (*here, "slots", k), f"slots [{start}, {stop}] of '{experiment.key}' overlap '{other}'"
            taken.append((start, stop, experiment.key))
