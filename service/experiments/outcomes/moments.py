"""Sufficient statistics of an arm: sums and sums of products over its users, in whole numbers."""

from collections.abc import Iterable
from itertools import combinations_with_replacement

from pydantic import BaseModel

COLUMNS = (
    "users",  # 1 for each
    "exposures",
    "clicks",
    "conversions",
    "value",  # in millionths, capped
    "predicted",  # sum over exposures, in millionths
    "prior_exposures",  # before the day of the first exposure
    "prior_clicks",
    "prior_conversions",
    "prior_value",
)
_PLACE = {
    pair: i for i, pair in enumerate(combinations_with_replacement(range(len(COLUMNS)), 2))
}  # upper triangle of the Gram matrix
_COLUMN = {name: i for i, name in enumerate(COLUMNS)}


class Moments(BaseModel):
    """Sums of x·y over users for each pair of columns; `users` being 1, its products are the plain sums."""

    products: list[int] = [0] * len(_PLACE)

    def add(self, user: Iterable[int], times: int = 1) -> None:
        """Add a user's columns, or with -1 take them away."""
        filled = [(i, value) for i, value in enumerate(user) if value]  # most users never clicked
        products = self.products
        for (i, one), (j, other) in combinations_with_replacement(filled, 2):
            products[_PLACE[i, j]] += times * one * other

    def total(self, column: str) -> int:
        """The sum of a column."""
        return self.product("users", column)

    def product(self, one: str, other: str) -> int:
        """The sum of the product of two columns."""
        i, j = sorted((_COLUMN[one], _COLUMN[other]))
        return self.products[_PLACE[i, j]]
