"""Messages between parent and worker, over a real socket pair."""

import os
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from service.workers.channel import CONNECTION, PAGE, SAMPLES, UP, Channel, Message, pair
from service.workers.tally import Tally, new_tally


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    """The parent's and a worker's."""
    ours, theirs = pair()
    other = Channel(theirs)
    yield ours, other
    ours.close()
    other.close()


def test_words_come_one_by_one_and_in_order(ends: tuple[Channel, Channel]) -> None:
    for word in (UP, SAMPLES, UP):
        ends[0].send(word)
    assert list(ends[1].receive()) == [Message(UP), Message(SAMPLES), Message(UP)]
    assert list(ends[1].receive()) == []


@pytest.mark.parametrize("length", [0, 10, 5_000_000])
def test_text_has_any_length(ends: tuple[Channel, Channel], length: int) -> None:
    ends[1].send(PAGE, text=b"x" * length)
    (message,) = ends[0].receive()
    assert message is not None
    assert (message.word, message.text()) == (PAGE, b"x" * length)


def test_a_connection_changes_hands(ends: tuple[Channel, Channel]) -> None:
    client, server = socket.socketpair()
    with client:
        with server:
            ends[0].send(CONNECTION, descriptor=server.fileno())
        (message,) = ends[1].receive()
        assert message is not None
        assert message.descriptor is not None
        assert not os.get_inheritable(message.descriptor)
        with socket.socket(fileno=message.descriptor) as arrived:
            client.sendall(b"hello")
            assert arrived.recv(10) == b"hello"


def test_a_side_that_reads_nothing_is_full_and_takes_again_later(ends: tuple[Channel, Channel]) -> None:
    sent = 0
    with suppress(BlockingIOError):
        for sent in range(1_000_000):  # noqa: B007
            ends[0].send(UP)
    assert 100 < sent < 999_999
    assert len(list(ends[1].receive())) == sent
    ends[0].send(UP)


def test_the_end_of_a_side_is_heard_after_its_last_word() -> None:
    ours, theirs = pair()
    ours.send(UP)
    ours.close()
    other = Channel(theirs)
    assert list(other.receive()) == [Message(UP), None]
    with pytest.raises(OSError, match="pipe"):
        other.send(UP)
    other.close()


def test_last_words_are_heard_of_a_side_that_did_not_listen() -> None:
    ours, theirs = pair()
    other = Channel(theirs)
    ours.send(SAMPLES)
    other.send(UP)
    other.close()
    assert list(ours.receive()) == [Message(UP), None]
    ours.close()


def test_a_tally_is_seen_by_whoever_has_its_descriptor() -> None:
    ours = new_tally()
    theirs = Tally(os.dup(ours.descriptor))
    for _ in range(300):
        theirs.add()
    assert ours.value == 300
    theirs.close()
    assert ours.value == 300
    ours.close()
