"""DTN, deep multiple task-specific feature interactions network (arXiv 2408.11611).

T + 1 banks of feature-interaction modules read the same input x: one bank a task and one shared, no weights in common.
Task k gates two groups of module outputs F_m [N, width], o = sum_m g_m F_m with softmax g over the group:
own    its own bank;
other  the banks of the other tasks and the shared one. This is the task-sensitive network: the outputs of a task u
       upstream of k enter as p_u F_m, where p_u is the probability that u's tower gave; all else enters unchanged.
Then logit_k = tower_k(fuse(own, other)).

The paper's figure and its released code differ. Each switch of `DTNSettings` takes either; a preset sets all of them:
                     paper (figure)            released (code)
gate_input           x: g = softmax(W x)       output: g = softmax(relu(w_m . F_m + b_m))
fuse                 concat                    sum
tsn_stop_gradient    no                        yes, on p_u
The presets set this wiring only; sizes come from the recipe.

Departures: the released code maps positions wrongly for more than two tasks; here any chain works, since each task
names its upstream tasks. `mlp`, a relu layer, may stand among the modules as a plain baseline. All banks share the hash
functions of MemoNet (as in the released code), each with a code book of its own.
"""

from typing import Any, Literal

from pydantic import Field as Attribute
from pydantic import model_validator
from torch import Tensor, cat, nn

from contract.errors import ConfigError
from contract.schema import Schema
from training.models.bank import Bank, BankSettings, MemoNetSettings
from training.models.experts import Gate, OutputGate, mix
from training.models.features import Features
from training.models.memonet import CodeBooks
from training.models.ranker import Ranker

PRESETS: dict[str, dict[str, object]] = {
    "paper": {"gate_input": "x", "fuse": "concat", "tsn_stop_gradient": False},
    "released": {"gate_input": "output", "fuse": "sum", "tsn_stop_gradient": True},
}


class DTNSettings(BankSettings):
    """Settings of DTN; `upstream`: task → binary tasks whose predictions it sees, default all before it in the schema.

    Without `tsn` no prediction passes down; without `shared_bank` there is none (both for ablation).
    """

    preset: Literal["paper", "released"] = "paper"
    gate_input: Literal["x", "output"] = "x"
    fuse: Literal["concat", "sum"] = "concat"
    tsn: bool = True
    tsn_stop_gradient: bool = False
    shared_bank: bool = True
    upstream: dict[str, tuple[str, ...]] = Attribute(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _take_preset(cls, given: Any) -> Any:
        preset = PRESETS.get(given.get("preset", "paper"), {}) if isinstance(given, dict) else {}
        return {**preset, **given} if preset else given


class DTN(Ranker):
    """Banks of interactions, one a task and one shared; predictions pass down the chain of tasks."""

    def __init__(self, schema: Schema, settings: DTNSettings) -> None:
        super().__init__(schema, settings)
        self.upstream = _upstream(schema, settings)
        self.fuse, self.stop_gradient = settings.fuse, settings.tsn_stop_gradient
        tasks, fields = len(self.tasks), len(self.field_names)
        pairing = self._pairing(settings.memonet) if "memonet" in settings.modules else []
        columns = [self.categorical.index(name) for name in pairing]
        memonet = settings.memonet
        books = (tasks + settings.shared_bank) * settings.modules.count("memonet") * settings.repeats
        self.codes = (
            CodeBooks(columns, memonet.hashes, memonet.code_book, memonet.code_width, books) if pairing else None
        )
        chosen = [self.field_names.index(name) for name in pairing]
        banks = tasks + settings.shared_bank  # the last one is shared
        if banks == 1:
            raise ConfigError("DTN without shared_bank needs two tasks or more: a task gates the banks of others")
        self.banks = nn.ModuleList(Bank(fields, chosen, settings) for _ in range(banks))
        modules, inputs = len(settings.modules) * settings.repeats, fields * settings.embedding
        self.own_gates = nn.ModuleList(_gate(inputs, modules, settings) for _ in range(tasks))
        self.other_gates = nn.ModuleList(_gate(inputs, modules * (banks - 1), settings) for _ in range(tasks))
        fused = settings.width * (2 if self.fuse == "concat" else 1)
        self.towers = self.task_towers(fused, settings)

    def score(self, features: Features) -> Tensor:
        outputs, own_scores, other_scores = self._banks(features)
        banks, shared = outputs[: len(self.tasks)], outputs[len(self.tasks) :]
        raw: list[Tensor] = []
        for k, tower in enumerate(self.towers):
            others = [self._seen(k, u, bank, raw) for u, bank in enumerate(banks) if u != k]
            own = self._gated(self.own_gates[k], own_scores, k, banks[k])
            other = self._gated(self.other_gates[k], other_scores, k, cat([*others, *shared], dim=1))
            raw.append(tower(own + other if self.fuse == "sum" else cat([own, other], dim=1)))
        return cat(raw, dim=1)

    def _banks(self, features: Features) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Outputs of all banks [N, modules, width], and the scores of gates that read x; one product serves all."""
        gates = [
            [gate.scores for gate in group if isinstance(gate, Gate)] for group in (self.own_gates, self.other_gates)
        ]
        firsts = [layer for bank in self.each_bank for member in bank.each_member for layer in member.first]
        found = features.linear([*gates[0], *gates[1], *firsts])
        own, other, rest = found[: len(gates[0])], found[len(gates[0]) :], iter(found[len(gates[0]) + len(gates[1]) :])
        words = iter([] if self.codes is None else self.codes(features.ids))
        return [bank(features.vectors, rest, words) for bank in self.each_bank], own, other

    @property
    def each_bank(self) -> list[Bank]:
        """The banks, tasks first."""
        return [bank for bank in self.banks if isinstance(bank, Bank)]

    @staticmethod
    def _gated(gate: nn.Module, scores: list[Tensor], task: int, outputs: Tensor) -> Tensor:
        mixed: Tensor = mix(scores[task], outputs) if isinstance(gate, Gate) else gate(outputs)
        return mixed

    def _seen(self, task: int, other: int, bank: Tensor, raw: list[Tensor]) -> Tensor:
        """Another task's bank as this task sees it: times its prediction if that task is upstream."""
        if other not in self.upstream[task]:
            return bank
        prediction = raw[other].sigmoid()[:, :, None]
        return bank * (prediction.detach() if self.stop_gradient else prediction)

    def _pairing(self, settings: MemoNetSettings) -> list[str]:
        """Names of the fields whose pairs MemoNet remembers, in the order of `categorical`."""
        sizes = self.request.sizes_of | self.item.sizes_of
        chosen = settings.fields
        if isinstance(chosen, tuple) and (unknown := [name for name in chosen if name not in self.categorical]):
            raise ConfigError(f"memonet.fields: '{unknown[0]}' is not one of {', '.join(self.categorical) or 'none'}")
        if isinstance(chosen, int):
            chosen = tuple(sorted(self.categorical, key=lambda name: -sizes[name])[:chosen])
        names = [name for name in self.categorical if chosen == "all" or name in chosen]
        if len(names) < 2:
            raise ConfigError(
                f"memonet pairs categorical fields and finds {len(names)}; "
                "leave it out: --set 'model.modules=[gated_cross, masknet]'"
            )
        return names


def _gate(inputs: int, choices: int, settings: DTNSettings) -> nn.Module:
    return Gate(inputs, choices) if settings.gate_input == "x" else OutputGate(settings.width, choices)


def _upstream(schema: Schema, settings: DTNSettings) -> list[set[int]]:
    """For each task the positions of its upstream tasks; ConfigError unless those are binary and stand before it."""
    tasks, named = tuple(task.name for task in schema.tasks), settings.upstream
    binary = [task.name for task in schema.tasks if task.kind == "binary"]
    for task, sources in named.items():
        if task not in tasks:
            raise ConfigError(f"upstream: '{task}' is not one of the tasks {', '.join(tasks)}")
        for name in sources:
            if name not in binary:
                raise ConfigError(f"upstream of '{task}': '{name}' is not one of the binary tasks {', '.join(binary)}")
            if tasks.index(name) >= tasks.index(task):
                raise ConfigError(f"upstream of '{task}': '{name}' must stand before it in the schema's tasks")
    before = [[name for name in tasks[:k] if name in binary and settings.tsn] for k in range(len(tasks))]
    return [{tasks.index(name) for name in named.get(task, before[k])} for k, task in enumerate(tasks)]
