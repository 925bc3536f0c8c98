"""Banks of feature-interaction modules: what a bank is made of, and its one product for all first layers."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Literal

from pydantic import Field as Attribute
from torch import Tensor, nn, stack

from contract.schema import Strict
from training.models.interactions import GatedCross, Interaction, MaskNet
from training.models.memonet import MemoNet
from training.models.parts import Parts
from training.models.ranker import ModelSettings, Width


class GatedCrossSettings(Strict):
    """`rank` null: full matrices."""

    layers: Width = 2
    rank: Width | None = 32


class MaskNetSettings(Strict):
    """`reduction`: hidden units of a mask for each of its outputs."""

    form: Literal["parallel", "serial"] = "parallel"
    blocks: Width = 2
    width: Width = 64
    reduction: float = Attribute(default=0.125, gt=0)
    normalise: bool = True


class MemoNetSettings(Strict):
    """`fields`: "all" categorical ones, these, or the so many that have the most ids."""

    fields: Literal["all"] | int | tuple[str, ...] = 10
    hashes: Width = 2
    code_book: int = Attribute(default=20_000, ge=1, le=1 << 24)  # split graphs hand addresses on as float32, exactly
    code_width: Width = 16
    shrink: bool = True


class BankSettings(ModelSettings):
    """`modules` in a bank, each `repeats` times with weights of its own, each ending in `width`."""

    modules: tuple[Literal["gated_cross", "masknet", "memonet", "mlp"], ...] = Attribute(
        default=("gated_cross", "masknet", "memonet"), min_length=1
    )
    repeats: Width = 1
    width: Width = 64
    gated_cross: GatedCrossSettings = GatedCrossSettings()
    masknet: MaskNetSettings = MaskNetSettings()
    memonet: MemoNetSettings = MemoNetSettings()


class Bank(nn.Module):
    """Feature-interaction modules over one input: vectors [N, F, d] → [N, modules, width]."""

    def __init__(self, fields: int, chosen: list[int], settings: BankSettings) -> None:
        super().__init__()
        names = [name for name in settings.modules for _ in range(settings.repeats)]
        self.members = nn.ModuleList(_module(name, fields, chosen, settings) for name in names)
        self.dropout = nn.Dropout(settings.dropout)

    @property
    def each_member(self) -> list[Interaction]:
        """The modules, in order."""
        return [member for member in self.members if isinstance(member, Interaction)]

    def forward(self, vectors: Parts, products: Iterator[Tensor], words: Iterator[Parts]) -> Tensor:
        """Takes the products of its modules' first layers from `products`, and MemoNet's code words from `words`."""
        outputs = []
        for member in self.each_member:
            own = list(islice(products, len(member.first)))
            outputs.append(member(vectors, next(words), own) if isinstance(member, MemoNet) else member(vectors, own))
        result: Tensor = self.dropout(stack(outputs, dim=1))
        return result


class Mlp(Interaction):
    """A relu layer on x: no interaction, for comparison."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(inputs, width)

    @property
    def first(self) -> list[nn.Linear]:
        return [self.layer]

    def forward(self, vectors: Parts, products: Sequence[Tensor] | None = None) -> Tensor:
        (product,) = products or self.products(vectors)
        return product.relu()


def _module(name: str, fields: int, chosen: list[int], settings: BankSettings) -> Interaction:
    embedding, width = settings.embedding, settings.width
    cross, mask, memo = settings.gated_cross, settings.masknet, settings.memonet
    if name == "gated_cross":
        return GatedCross(fields, embedding, cross.layers, cross.rank, width)
    if name == "masknet":
        return MaskNet(fields, embedding, mask.form, mask.blocks, mask.width, mask.reduction, mask.normalise, width)
    if name == "memonet":
        return MemoNet(fields, embedding, chosen, memo.hashes, memo.code_width, memo.shrink, width)
    return Mlp(fields * embedding, width)
