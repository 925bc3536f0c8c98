"""Conditions: what they mean, what a missing or odd field does, and what a refusal says."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.experiments.targeting import DEEPEST, LONGEST, condition

HOME: dict[str, Any] = {
    "scene": "home", "hour": 9, "price": 2.5, "new": True, "tags": ["vip", 3], "none": None, "device-type": "tv",
}  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        'scene == "home"',
        "scene == 'home'",
        'scene in ["home", "search"] and hour >= 8',
        "hour > 8 and hour < 10 and hour <= 9 and hour >= 9 and hour != 8",
        "hour == 9.0 and price == 2.5 and price > 2 and price > -1 and price <= 25e-1",
        "new == true and new != false",
        'not (scene == "search" or hour < 8)',
        'scene == "x" or scene == "y" and hour == 1 or hour == 9',  # `and` binds closer than `or`
        'not scene == "x" and hour == 9',  # `not` binds closer than `and`
        'scene not in ["search"]',
        'tags in ["vip", "staff"]',  # any of them
        "tags in [3]",
        '"vip" in tags',
        '"other" not in tags',
        '"home" in scene',  # one value is a list of one
        'scene < "search"',
        'device-type == "tv"',
        'scene != "it\'s \\"quoted\\" \\\\"',
    ],
)
def test_conditions_that_hold(text: str) -> None:
    compiled = condition(text)
    assert compiled(HOME) is True
    assert condition(f"not ({text})")(HOME) is False
    assert compiled.text == text


@pytest.mark.parametrize(
    "text",
    [
        'scene == "search"',
        'scene == "Home"',
        'absent == "home"',
        'absent != "home"',
        'absent in ["home"]',
        'absent not in ["home"]',
        "absent < 3",
        'none == "home"',
        'none != "home"',
        "scene == 9",
        "scene != 9",
        "scene > 3",
        "scene not in [9]",
        'hour == "9"',
        'hour != "9"',
        'hour < "9"',
        "new == 1",
        "new >= 0",
        "new in [1]",
        "hour == true",
        "hour not in [true, false]",
        'tags == "vip"',
        'tags != "vip"',
        "tags > 1",
        "tags in [true]",
        "tags not in [true]",
        'tags not in ["vip"]',
        '"vip" not in tags',
        "hour > 9",
        "hour < 9",
        "price in [2, 3]",
    ],
)
def test_conditions_that_do_not_hold_and_never_raise(text: str) -> None:
    assert condition(text)(HOME) is False


@pytest.mark.parametrize("value", [None, {}, {"a": 1}, [], [[]], [{}], object(), b"x", float("nan"), [None, {}]])
def test_odd_values_are_no_error(value: object) -> None:
    for text in ('f == "x"', "f != 1", "f < 1", 'f in ["x", 1, true]', "1 in f"):
        assert condition(text)({"f": value}) in (False, value != value)  # a nan is a number: it differs from 1
    assert condition("f not in [1]")({"f": []}) is True


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("", 1, "a field, or a literal"),
        ("   ", 1, "not the end"),
        ("hour", 5, "one of == != < <= > >= in, not in must follow 'hour', not the end"),
        ("hour = 9", 6, "'=' is not understood; allowed: field == !="),
        ("scene == home", 10, "(\"text\" in quotes, a number, true, false) must stand here, not 'home'"),
        ("9 == hour", 3, "'in' or 'not in' must follow a literal"),
        ("8 < hour < 10", 3, "'in' or 'not in' must follow a literal"),
        ("8 <", 3, "'in' or 'not in'"),
        ('"a" in ["a"]', 8, "a field must follow, not '['"),
        ('scene in "home"', 10, "a list such as [1, 2] must follow 'in', not '\"home\"'"),
        ("scene in []", 11, "a literal"),
        ("scene in [1,]", 13, "a literal"),
        ("scene in [1 2]", 13, "',' or ']' must follow, not '2'"),
        ("scene in [1", 12, "',' or ']' must follow, not the end"),
        ("scene in [[1]]", 11, "a literal"),
        ("scene == [1]", 10, "a literal"),
        ("scene not 3", 11, "'in' must follow 'not', not '3'"),
        ("new < true", 7, "'<' compares numbers or texts, not 'true'"),
        ("(hour == 9", 11, "')' must follow, not the end"),
        ("hour == 9)", 10, "'and', 'or' or the end must follow, not ')'"),
        ("hour == 9 and", 14, "a field, or a literal"),
        ("hour == 9 && new == true", 11, "'&' is not understood"),
        ("scene == 'home", 10, "text without its closing quote"),
        ("scene == 'ho\\me'", 10, "an escape"),
        ("hour == 9am", 9, "'9' is not understood"),
        ("hour == 1_0", 9, "'1' is not understood"),
        ("é == 1", 1, "'é' is not understood"),
        ("__import__('os')", 11, "must follow '__import__', not '('"),
        ("a.__class__ == 1 if True else 0", 18, "must follow, not 'if'"),
        ("lambda: 1", 7, "':' is not understood"),
        ("hour == 9 \x00", 11, "is not understood"),
    ],
)
def test_a_refusal_names_the_column_and_what_is_allowed(text: str, column: int, message: str) -> None:
    with pytest.raises(ValueError, match=f"^column {column}: ") as caught:
        condition(text)
    assert message in str(caught.value)


def test_length_and_depth_have_bounds() -> None:
    assert condition("(" * DEEPEST + "a == 1" + ")" * DEEPEST)({"a": 1})
    for text in ("(" * (DEEPEST + 1) + "a == 1" + ")" * (DEEPEST + 1), "not " * (DEEPEST + 1) + "a == 1", "(" * 990):
        with pytest.raises(ValueError, match=f"more than {DEEPEST}"):
            condition(text)
    assert condition("a == 1" + " or a == 1" * ((LONGEST - 6) // 10))({"a": 1})
    with pytest.raises(ValueError, match=f"longer than {LONGEST} characters"):
        condition("a == 1" + " " * LONGEST)


def test_the_fields_are_those_that_it_looks_at() -> None:
    assert condition('b == 1 and (a in [1] or b != 2) and "x" in c.d').fields == ("b", "a", "c.d")


_LITERALS = st.one_of(st.integers(-3, 3), st.floats(-3, 3, allow_nan=False).map(lambda x: round(x, 1)))
_COMPARISONS = st.one_of(
    st.builds(
        "{} {} {}".format, st.sampled_from("xyz"), st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), _LITERALS
    ),
    st.builds("{} in {}".format, st.sampled_from("xyz"), st.lists(_LITERALS, min_size=1, max_size=3)),
    st.builds("{} not in {}".format, st.sampled_from("xyz"), st.lists(_LITERALS, min_size=1, max_size=3)),
)
_CONDITIONS = st.recursive(
    _COMPARISONS,
    lambda inner: st.one_of(
        st.builds("{} and {}".format, inner, inner),
        st.builds("{} or {}".format, inner, inner),
        st.builds("not {}".format, inner),
        st.builds("({})".format, inner),
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(text=_CONDITIONS, x=_LITERALS, y=_LITERALS, z=_LITERALS)
def test_over_numbers_it_means_what_python_means(text: str, x: float, y: float, z: float) -> None:
    context = {"x": x, "y": y, "z": z}
    assert condition(text)(context) is bool(eval(text, {"__builtins__": {}}, context))


@given(text=st.text(max_size=60) | st.text("ab=<>!()[],'\" 19notandorinetrufals.-", max_size=40))
def test_any_text_compiles_or_is_refused_with_a_column(text: str) -> None:
    refusal = ""
    try:
        holds = condition(text)({"a": 1})
    except ValueError as error:
        holds, refusal = False, str(error)
    assert isinstance(holds, bool)
    assert refusal == "" or refusal.startswith("column ")
