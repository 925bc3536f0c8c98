"""Slots as Redis counts them, and URLs of clusters."""

import pytest
from redis.crc import key_slot

from contract.cluster import ClusterUrl, Redirection, owners, slots, without_password

KEYS = [b"", b"u1", "Łódź".encode(), b"{a}b", b"a{b}c", b"{}x", b"x{y", b"}{z}", b"{{a}}"]


@pytest.mark.parametrize("base", [b"", b"twinscore:12345678:g:u:", b"{t}:", b"t{", b"a}b:"])
def test_slots_are_those_of_redis(base: bytes) -> None:
    assert slots(base, KEYS) == [key_slot(base + key) for key in KEYS]
    assert slots(base, KEYS[:3]) == [key_slot(base + key) for key in KEYS[:3]]


def test_a_cluster_s_url_names_seeds_and_gives_any_node_the_same_login() -> None:
    url = ClusterUrl.parse("rediss+cluster://me:pass@a:1,b:2?ssl_cert_reqs=none")
    assert url is not None
    assert url.seeds == ["rediss://me:pass@a:1?ssl_cert_reqs=none", "rediss://me:pass@b:2?ssl_cert_reqs=none"]
    assert url.node(("::1", 3)) == "rediss://me:pass@[::1]:3?ssl_cert_reqs=none"
    assert ClusterUrl.parse("redis://a:1") is None


@pytest.mark.parametrize("wrong", ["redis+cluster://", "redis+cluster://a:1/2", "unix+cluster:///tmp/r"])
def test_what_is_no_cluster_s_url_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"redis\+cluster://host:port"):
        ClusterUrl.parse(wrong)


def test_a_password_is_not_shown() -> None:
    assert without_password("redis://me:p@ss@host:1/0") == "redis://…@host:1/0"
    assert without_password("redis://host:1") == "redis://host:1"


def test_who_owns_what_is_read_with_gaps_and_nameless_hosts() -> None:
    table = owners([[0, 1, [b"a", 7, b"id"], [b"replica", 8, b"id"]], [3, 3, [b"", 9, b"id"]]], "asked")
    assert table[:5] == [("a", 7), ("a", 7), None, ("asked", 9), None]


def test_redirections_are_told_from_other_errors() -> None:
    assert Redirection.parse("MOVED 12 10.0.0.1:7000", "h") == Redirection(False, ("10.0.0.1", 7000))
    assert Redirection.parse("ASK 12 :7000", "h") == Redirection(True, ("h", 7000))
    assert Redirection.parse("WRONGTYPE 12 a:7000", "h") is None
