"""Stored rows and inline features → the columns of the graph."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from contract.bundle import Bundle
from contract.crossing import Crosses
from contract.encoding import encode_columns, encode_field
from contract.field import NOW, TIMED
from contract.rows import Layout, Rows, layout
from contract.schema import Field, Kind, Side, dense_columns, slot_columns
from service.errors import INVALID_FEATURE, ServiceProblem
from service.messages import Candidate, Features, ScoreRequest
from service.scoring.inputs import Inputs, one_request
from service.scoring.item_rows import Found
from service.scoring.store import Stored

_SHOWN = 12  # names in a hint
_SEEN = 10_000  # values kept
_PARTS = 100  # hours and weekdays are below it
_Number = TypeVar("_Number", np.int32, np.float32)


@dataclass(frozen=True, slots=True)
class Encoded:
    """Inputs, and what the stored rows lacked."""

    inputs: Inputs
    missing_users: int
    missing_items: int
    corrupt_users: int
    corrupt_items: int


class Encoder:
    """Encodes the requests of one bundle with its own schema and dictionaries."""

    def __init__(self, bundle: Bundle) -> None:
        self.schema, self._dictionaries = bundle.schema, bundle.dictionaries
        sides = {side: layout(self.schema, self._dictionaries, side) for side in Side}
        self._user, self._context, self.item_layout, self._cross = (sides[side] for side in Side)
        self.looks_up_users = self.schema.user_key is not None and bool(self._user.fields)
        self.looks_up_items = self.schema.item_key is not None and bool(self.item_layout.fields)
        self._seen: dict[tuple[str, str | int], Any] = {}
        self._request_place = _places(self.schema.request_fields)
        self._item_place = _places(self.schema.item_fields)
        self.crosses = Crosses(self.schema) or None
        self._clocks = [field for field in self._context.fields if field.encoding in TIMED and field.default == NOW]
        self._special = {field.name for field in self.schema.fields if field.weights or field.encoding in TIMED}

    def encode(self, ask: ScoreRequest, stored: Stored, candidates: int) -> Encoded:
        """The graph's columns; a problem names the feature that does not fit."""
        user = self._user.decode([stored.user])
        items = stored.found or self._decoded(stored.items or [None] * candidates)
        if stored.found and items.missing.any():  # its defaults are of another model's dictionaries, perhaps
            items.ids[items.missing] = self.item_layout.default_ids
        request, item = _widened(user, self._context), _widened(items, self._cross)
        for field in self._clocks:
            self._put(request, self._request_place, field, _ALL, [None])
        self._set_request(request, "user.features", Side.USER, ask.user.features)
        self._set_request(request, "context", Side.CONTEXT, ask.context)
        if ask.items:
            self._set_items(item, items.keys, ask.items)
        if self.crosses:
            self.crosses.fill(request[0], item[0])
        asked_user = self.looks_up_users and ask.user.id is not None
        return Encoded(
            one_request(*request, *item, items.keys),
            int(asked_user and user.missing[0]),
            int(np.count_nonzero(items.missing)) if self.looks_up_items else 0,
            user.corrupt,
            items.corrupt,
        )

    def _decoded(self, stored: Sequence[bytes | None]) -> Found:
        rows = self.item_layout.decode(stored)
        return Found(rows.ids, rows.dense, rows.missing, np.zeros(len(stored), np.int64), rows.corrupt)

    def _set_request(self, matrices: "Matrices", where: str, side: Side, features: Features) -> None:
        for name, value in features.items():
            field = self._field(name, where, side)
            try:
                if name in self._special:
                    _refuse_hours(field, value)
                    self._put(matrices, self._request_place, field, _ALL, [value])
                else:
                    numeric = field.kind is Kind.NUMERIC
                    matrices[numeric][0, self._request_place[numeric][name]] = self._encoded(field, value)
            except ValueError as error:
                raise ServiceProblem(INVALID_FEATURE, f"{where}.{name}: {error}") from None

    def _encoded(self, field: Field, value: Any) -> Any:
        """One value's ids or number; those seen lately are kept, since a request has few and they recur."""
        if type(value) is not str and type(value) is not int:
            return encode_field(field, self._dictionaries, [value])[0]
        key = (field.name, value)  # a string never equals an integer
        found = self._seen.get(key)
        if found is None:
            found = encode_field(field, self._dictionaries, [value])[0]
            if len(self._seen) >= _SEEN:
                self._seen.clear()
            self._seen[key] = found
        return found

    def _set_items(self, matrices: "Matrices", keys: NDArray[np.int64], items: Sequence[Candidate]) -> None:
        rows: dict[str, list[int]] = {}
        values: dict[str, list[Any]] = {}
        for i, item in enumerate(items):
            for name, value in item.get("features", {}).items():
                if name not in rows:
                    self._field(name, f"items[{i}].features", Side.ITEM, Side.CROSS)
                    rows[name], values[name] = [], []
                rows[name].append(i)
                values[name].append(value)
        for name, places in rows.items():
            field = self.schema.by_name[name]
            try:
                self._put(matrices, self._item_place, field, np.array(places), values[name])
            except ValueError as error:
                raise self._culprit(field, places, values[name], error) from None
            if field.side is Side.ITEM:  # not the stored row any more
                keys[places] = 0

    def _put(
        self,
        matrices: "Matrices",
        place: "Place",
        field: Field,
        rows: slice | NDArray[np.int64],
        values: Sequence[Any],
    ) -> None:
        name, numeric = field.name, field.kind is Kind.NUMERIC
        if name not in self._special:
            encoded = encode_field(field, self._dictionaries, values)
            matrices[numeric][rows, place[numeric][name]] = encoded[:, None] if numeric else encoded
            return
        ids, dense = encode_columns(field, self._dictionaries, values, time.time())
        matrices[0][rows, place[0][name]] = ids
        if field.weights:
            matrices[1][rows, place[1][name]] = dense

    def _culprit(self, field: Field, rows: list[int], values: list[Any], error: ValueError) -> ServiceProblem:
        for i, value in zip(rows, values, strict=True):
            try:
                encode_field(field, self._dictionaries, [value])
            except ValueError as own:
                return ServiceProblem(INVALID_FEATURE, f"items[{i}].features.{field.name}: {own}")
        return ServiceProblem(INVALID_FEATURE, f"items.features.{field.name}: {error}")

    def _field(self, name: str, where: str, *sides: Side) -> Field:
        field = self.schema.by_name.get(name)
        if field is not None and field.side in sides:
            return field
        if field is not None:
            home = {Side.USER: "user.features", Side.CONTEXT: "context"}.get(field.side, "items[].features")
            article = "an" if field.side is Side.ITEM else "a"
            raise ServiceProblem(INVALID_FEATURE, f"{where}.{name}: {article} {field.side} field; send it in {home}")
        known = [field.name for field in self.schema.on(*sides) if not field.cross]
        more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
        raise ServiceProblem(
            INVALID_FEATURE,
            f"{where}.{name[:64]}: unknown feature; known here: {', '.join(known[:_SHOWN]) or 'none'}{more}",
        )


def _refuse_hours(field: Field, value: Any) -> None:
    """5 is an hour; as a moment it would be one of the first seconds of 1970, which nobody means."""
    if field.encoding in TIMED and isinstance(value, int | float) and abs(value) < _PARTS:
        raise ValueError(f"field '{field.name}' takes the time itself (ISO 8601 or an epoch number), not {value}")


Matrices = tuple[NDArray[np.int32], NDArray[np.float32]]  # ids [n, slots], numbers and weights [n, numbers]
Place = tuple[dict[str, slice], dict[str, slice]]  # columns of the fields in each of them
_ALL = slice(None)


def _places(fields: tuple[Field, ...]) -> Place:
    return slot_columns(fields), dense_columns(fields)


def _widened(rows: Rows | Found, moment: Layout) -> Matrices:
    """Stored rows, and beside them the defaults of the fields that arrive with the request."""
    if not moment.fields:
        return rows.ids, rows.dense
    return _beside(rows.ids, moment.default_ids), _beside(rows.dense, moment.default_dense)


def _beside(stored: NDArray[Any], defaults: NDArray[Any]) -> NDArray[Any]:
    rows, width = stored.shape
    if not len(defaults):
        return stored
    joined = np.empty((rows, width + len(defaults)), stored.dtype)
    joined[:, :width], joined[:, width:] = stored, defaults
    return joined
