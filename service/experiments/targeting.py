"""Conditions on the context of a request: `scene in ["home", "search"] and hour >= 8`.

    condition   and, or, not, parentheses over comparisons
    comparison  field == != < <= > >= literal;  field in [literal, …];  field not in [literal, …];  literal in field
    literal     "text" or 'text', a number, true, false

A field that is missing, or of another type than the literal, makes its comparison false, never an error; so `!=` and
`not in` ask for a field that is there. A field with several values is `in` where any of them is. Text has the order of
its characters. Nothing is evaluated by Python.
"""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

LONGEST = 1_000  # characters
DEEPEST = 20  # parentheses and nots within each other
ALLOWED = "field == != < <= > >= literal, field in [literal, ...], field not in [...], and, or, not, parentheses"

Test = Callable[[Mapping[str, Any]], bool]
Literal = str | int | float | bool

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<text>"(?:[^"\\]|\\["'\\])*" | '(?:[^'\\]|\\["'\\])*')
      | (?P<number>-?(?:\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![\w.]))
      | (?P<name>[A-Za-z_](?:[\w.]|-(?=\w))*)
      | (?P<sign>==|!=|<=|>=|<|>|\(|\)|\[|\]|,)
    )""",
    re.VERBOSE | re.ASCII,
)
_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_WORDS = frozenset(("and", "or", "not", "in", "true", "false"))


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled condition, called with a context; `fields` are those that it looks at."""

    text: str
    fields: tuple[str, ...]
    holds: Test

    def __call__(self, context: Mapping[str, Any]) -> bool:
        return self.holds(context)


def condition(text: str) -> Condition:
    """Compile a condition; ValueError says what is wrong with it, and where."""
    if len(text) > LONGEST:
        raise ValueError(f"column {LONGEST + 1}: longer than {LONGEST} characters")
    parser = _Parser(_tokens(text))
    holds = parser.either(0)
    parser.end()
    return Condition(text, tuple(dict.fromkeys(parser.fields)), holds)


class _Token(NamedTuple):
    kind: str  # text, number, name, sign, word or end
    text: str
    column: int  # from 1


def _tokens(text: str) -> list[_Token]:
    found, at = [], 0
    end = len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            what = "text without its closing quote, or an escape" if text[at] in "\"'" else repr(text[at])
            raise ValueError(f"column {at + 1}: {what} is not understood; allowed: {ALLOWED}")
        kind = match.lastgroup or ""
        token = match[kind]
        found.append(_Token("word" if token in _WORDS else kind, token, match.start(kind) + 1))
        at = match.end()
    return [*found, _Token("end", "the end", end + 1)]


class _Parser:
    """Recursive descent: one method a rule, each returns what it compiled."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens, self._at = tokens, 0
        self.fields: list[str] = []

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _took(self, text: str) -> bool:
        if self._next.kind not in ("sign", "word") or self._next.text != text:
            return False
        self._at += 1
        return True

    def _wrong(self, wanted: str, token: _Token | None = None) -> ValueError:
        token = token or self._next
        return ValueError(f"column {token.column}: {wanted}, not {_quoted(token)}")

    def end(self) -> None:
        """Nothing may follow."""
        if self._next.kind != "end":
            raise self._wrong("'and', 'or' or the end must follow")

    def either(self, depth: int) -> Test:
        """Terms with `or` between them."""
        terms = [self._both(depth)]
        while self._took("or"):
            terms.append(self._both(depth))
        return terms[0] if len(terms) == 1 else _joined(terms, True)

    def _both(self, depth: int) -> Test:
        terms = [self._negated(depth)]
        while self._took("and"):
            terms.append(self._negated(depth))
        return terms[0] if len(terms) == 1 else _joined(terms, False)

    def _negated(self, depth: int) -> Test:
        if depth > DEEPEST:
            raise ValueError(f"column {self._next.column}: more than {DEEPEST} parentheses or nots within each other")
        if self._took("not"):
            inner = self._negated(depth + 1)
            return lambda context: not inner(context)
        if not self._took("("):
            return self._comparison()
        inner = self.either(depth + 1)
        if not self._took(")"):
            raise self._wrong("')' must follow")
        return inner

    def _comparison(self) -> Test:
        if self._next.kind != "name":
            return self._membership()
        name = self._field()
        sign = self._sign(name)
        if sign in ("in", "not in"):
            members = self._list()
            return _among(name, members, sign == "in")
        token = self._next
        literal = self._literal()
        if sign not in _ORDERS:
            return _equal(name, literal, sign == "==")
        if isinstance(literal, bool):
            raise self._wrong(f"'{sign}' compares numbers or texts", token)
        return _ordered(name, literal, _ORDERS[sign])

    def _membership(self) -> Test:
        """`literal in field`."""
        literal = self._literal("a field, or a literal")
        wanted = not self._took("not")
        if not self._took("in"):
            raise self._wrong("'in' or 'not in' must follow a literal that stands before a field")
        if self._next.kind != "name":
            raise self._wrong("a field must follow")
        return _among(self._field(), [literal], wanted)

    def _field(self) -> str:
        name = self._next.text
        self._at += 1
        self.fields.append(name)
        return name

    def _sign(self, name: str) -> str:
        if self._took("not"):
            if not self._took("in"):
                raise self._wrong("'in' must follow 'not'")
            return "not in"
        for sign in ("==", "!=", *_ORDERS, "in"):
            if self._took(sign):
                return sign
        raise self._wrong(f"one of == != < <= > >= in, not in must follow '{name}'")

    def _list(self) -> list[Literal]:
        if not self._took("["):
            raise self._wrong("a list such as [1, 2] must follow 'in'")
        members = [self._literal()]
        while self._took(","):
            members.append(self._literal())
        if not self._took("]"):
            raise self._wrong("',' or ']' must follow")
        return members

    def _literal(self, wanted: str = "a literal") -> Literal:
        token = self._next
        if token.kind not in ("text", "number") and token.text not in ("true", "false"):
            raise self._wrong(f'{wanted} ("text" in quotes, a number, true, false) must stand here')
        self._at += 1
        if token.kind == "text":
            return re.sub(r"\\(.)", r"\1", token.text[1:-1])
        if token.kind == "number":
            return float(token.text) if re.search("[.eE]", token.text) else int(token.text)
        return token.text == "true"


def _quoted(token: _Token) -> str:
    return token.text if token.kind == "end" else f"'{token.text[:40]}'"


# values of one kind can be compared; true is no 1
_KINDS: dict[type, str] = {bool: "bool", int: "number", float: "number", str: "text"}


def _joined(terms: list[Test], settles: bool) -> Test:
    """`or` where True settles it, `and` where False does."""

    def holds(context: Mapping[str, Any]) -> bool:
        for term in terms:  # a loop takes half the time of any() and all()
            if term(context) is settles:
                return settles
        return not settles

    return holds


def _equal(name: str, literal: Literal, wanted: bool) -> Test:
    kind = _KINDS[type(literal)]

    def holds(context: Mapping[str, Any]) -> bool:
        value = context.get(name)
        return _KINDS.get(type(value)) == kind and (value == literal) is wanted

    return holds


def _ordered(name: str, literal: Literal, order: Callable[[Any, Any], bool]) -> Test:
    kind = _KINDS[type(literal)]

    def holds(context: Mapping[str, Any]) -> bool:
        value = context.get(name)
        return _KINDS.get(type(value)) == kind and order(value, literal)

    return holds


def _among(name: str, members: list[Literal], wanted: bool) -> Test:
    known: dict[str, set[Literal]] = {}
    for member in members:
        known.setdefault(_KINDS[type(member)], set()).add(member)

    def holds(context: Mapping[str, Any]) -> bool:
        value = context.get(name)
        if not isinstance(value, list):
            alike = known.get(_KINDS.get(type(value), ""))
            return alike is not None and (value in alike) is wanted
        kinds = [(each, known.get(_KINDS.get(type(each), ""))) for each in value]
        found = [each in alike for each, alike in kinds if alike is not None]
        if value and not found:  # nothing of a kind that is asked for; an empty list is in no list
            return False
        return any(found) is wanted

    return holds
