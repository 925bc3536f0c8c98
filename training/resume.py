"""The state of an unfinished run: all that `--resume` needs to go on bit for bit.

    RUN.unfinished/state.safetensors   weights, best weights so far, optimiser, random states; in its header, as JSON,
                                       the position and whose state it is
    RUN.unfinished/events/             TensorBoard events so far

One file, written under a temporary name and renamed: a kill in the middle of a save leaves the last good one. Nothing
in it can run code. It goes when the run is complete.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from contract.errors import ConfigError, first_error
from contract.files import whole_file
from training.distributed import place, stacked

Identity = dict[str, object]  # what must be the same for a run to go on


class Position(BaseModel):
    """How far a run is. `validated`: the step of the last validation; `stale`: validations since the best."""

    model_config = ConfigDict(extra="forbid")

    steps: int = 0
    validated: int = 0
    stale: int = 0
    best_steps: int | None = None
    best_score: float | None = None
    seconds: float = 0.0  # of training, without validations


class State(NamedTuple):
    """A position, and tensors by `<part>/<name>`."""

    position: Position
    tensors: dict[str, Tensor]

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors of one part, without its name."""
        return {key.removeprefix(f"{name}/"): t for key, t in self.tensors.items() if key.startswith(f"{name}/")}


class Saver:
    """Where the state of a run lies; `every`: steps between two saves, besides those at validations."""

    def __init__(self, out: Path, identity: Identity, every: int) -> None:
        self.folder, self.identity, self.every = out.with_name(f"{out.name}.unfinished"), identity, every
        self.file = self.folder / "state.safetensors"

    def save(self, position: Position, parts: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Write the state whole; every process calls it, the first one writes."""
        tensors = {f"{part}/{name}": t.cpu().contiguous() for part, named in parts.items() for name, t in named.items()}
        tensors |= {f"random/{name}": state for name, state in _random_states().items()}
        if place().rank == 0:
            header = {"identity": json.dumps(self.identity), "position": position.model_dump_json()}
            with whole_file(self.file) as temporary:
                save_file(tensors, temporary, metadata=header)

    def load(self) -> State:
        """The last state saved; ConfigError where there is none, or where it is another run's."""
        for abandoned in self.folder.glob(".*.part"):  # of a save that was killed
            abandoned.unlink(missing_ok=True)
        try:
            with safe_open(self.file, framework="pt") as content:
                header = content.metadata()
                self._refuse_strangers(json.loads(header["identity"]))
                position = Position.model_validate_json(header["position"])
                return State(position, {name: content.get_tensor(name) for name in content.keys()})  # noqa: SIM118
        except FileNotFoundError:
            raise ConfigError(f"{self.file}: nothing to resume; train without --resume") from None
        except ValidationError as error:
            raise ConfigError(f"{self.file}: {first_error(error)}; train without --resume") from None
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"{self.file}: cannot be read ({error}); train without --resume") from None

    def remove(self) -> None:
        """The run is complete, or starts anew."""
        if place().rank == 0:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _refuse_strangers(self, found: Identity) -> None:
        was, now = flat(found), flat(self.identity)
        for key in [*now, *was]:
            if was.get(key) != now.get(key):
                raise ConfigError(
                    f"{self.file}: belongs to a run with {key} = {was.get(key)}, not {now.get(key)}; give the same, "
                    "or train without --resume"
                )


def restore_random_states(named: Mapping[str, Tensor]) -> None:
    """What `Saver.save` kept of this process's generators."""
    rank = place().rank
    torch.set_rng_state(named["cpu"][rank].clone())  # a view may lie unaligned
    if "cuda" in named:
        torch.cuda.set_rng_state(named["cuda"][rank].clone())


def _random_states() -> dict[str, Tensor]:
    """States of torch's global generators, [processes, bytes]."""
    states = {"cpu": stacked(torch.get_rng_state())}
    if torch.cuda.is_available():
        states["cuda"] = stacked(torch.cuda.get_rng_state())
    return states


def flat(content: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """{"recipe": {"epochs": 3}} → {"recipe.epochs": 3}."""
    found: dict[str, object] = {}
    for key, value in content.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found
