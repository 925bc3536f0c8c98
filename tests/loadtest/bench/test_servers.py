"""Variants of the service, as the command line writes them."""

from pathlib import Path

import pytest

from contract.errors import ConfigError
from loadtest.bench.servers import Variant, parse_variant, peer
from loadtest.floors import Source


def test_variant_has_settings_and_arguments() -> None:
    assert parse_variant("one thread:TWINSCORE_THREADS=1 A='b c' --workers 2") == Variant(
        "one thread", {"TWINSCORE_THREADS": "1", "A": "b c"}, ("--workers", "2")
    )
    assert parse_variant("plain:") == Variant("plain")


@pytest.mark.parametrize("text", ["plain", ":A=1", "a:lower=1", "a:'", "a:word"])
def test_variant_that_does_not_read_is_one_line(text: str) -> None:
    with pytest.raises(ConfigError, match="--variant"):
        parse_variant(text)


def test_unknown_peer_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--peers nobody: known are fastapi.*all, none"):
        peer("nobody", Source(tmp_path, "", ""), 1)
