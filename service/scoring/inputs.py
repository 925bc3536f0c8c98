"""What the engine reads: columns of R requests and of their N candidates."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contract.bundle import Arrays


@dataclass(frozen=True, slots=True)
class Inputs:
    """One request, or several that share a run.

    `item_keys` names the content of a candidate's columns: equal keys, equal columns, for as long as the process
    lives, so that what was computed of them may be kept. 0 names nothing: columns that came with the request.
    """

    request_ids: NDArray[np.int32]  # [R, request slots]
    request_dense: NDArray[np.float32]  # [R, request numerics]
    item_ids: NDArray[np.int32]  # [N, item slots]
    item_dense: NDArray[np.float32]  # [N, item numerics]
    request_of_item: NDArray[np.int32]  # [N], in [0, R)
    item_keys: NDArray[np.int64]  # [N]

    def __len__(self) -> int:
        return len(self.item_ids)

    def part(self, start: int, stop: int) -> "Inputs":
        """Candidates [start, stop), of the same requests."""
        of_item = slice(start, stop)
        return Inputs(
            self.request_ids,
            self.request_dense,
            self.item_ids[of_item],
            self.item_dense[of_item],
            self.request_of_item[of_item],
            self.item_keys[of_item],
        )


def from_arrays(arrays: Arrays) -> Inputs:
    """Arrays by the names of contract.bundle.INPUTS; nothing of them is kept."""
    return Inputs(**arrays, item_keys=np.zeros(len(arrays["item_ids"]), np.int64))


def one_request(
    request_ids: NDArray[np.int32],
    request_dense: NDArray[np.float32],
    item_ids: NDArray[np.int32],
    item_dense: NDArray[np.float32],
    item_keys: NDArray[np.int64] | None = None,
) -> Inputs:
    """Inputs of one request, whose columns are [1, …]."""
    keys = np.zeros(len(item_ids), np.int64) if item_keys is None else item_keys
    return Inputs(request_ids, request_dense, item_ids, item_dense, np.zeros(len(item_ids), np.int32), keys)


def merge(requests: Sequence[Inputs]) -> Inputs:
    """All candidates of all requests, in order."""
    if len(requests) == 1:
        return requests[0]
    counts = [len(request.request_ids) for request in requests]
    first = np.cumsum([0, *counts[:-1]], dtype=np.int32)
    owners = [request.request_of_item + start for request, start in zip(requests, first, strict=True)]
    return Inputs(
        np.concatenate([request.request_ids for request in requests]),
        np.concatenate([request.request_dense for request in requests]),
        np.concatenate([request.item_ids for request in requests]),
        np.concatenate([request.item_dense for request in requests]),
        np.concatenate(owners, dtype=np.int32),
        np.concatenate([request.item_keys for request in requests]),
    )
