"""Commands for many rows at once, as bytes. All keys of a call start with `base`."""

from collections.abc import Iterator, Sequence
from itertools import repeat

from export.features.wire import command

GROUP = 256  # rows in one MSET or MGET: well under a millisecond, for which others wait


def msets(base: bytes, keys: Sequence[bytes], rows: Sequence[bytes]) -> list[bytes]:
    """MSET of GROUP rows each; rows of one call are of one width."""
    names, middle = list(_names(base, keys)), b"\r\n$%d\r\n" % len(rows[0])
    packed = []
    for start in range(0, len(keys), GROUP):
        group = slice(start, start + GROUP)
        size = len(names[group])
        pieces = [b""] * (4 * size)
        pieces[0::4], pieces[1::4], pieces[2::4], pieces[3::4] = names[group], keys[group], [middle] * size, rows[group]
        packed.append(b"*%d\r\n$4\r\nMSET" % (2 * size + 1) + b"".join(pieces) + b"\r\n")
    return packed


def sets(base: bytes, keys: Sequence[bytes], rows: Sequence[bytes], ttl: int | None) -> list[bytes]:
    """SET of each row, with an expiry in seconds where one is given."""
    end = b"\r\n" if ttl is None else b"\r\n$2\r\nEX\r\n$%d\r\n%d\r\n" % (len(str(ttl)), ttl)
    start, middle = b"*%d\r\n$3\r\nSET" % (3 if ttl is None else 5), b"\r\n$%d\r\n" % len(rows[0])
    return list(map(b"".join, zip(repeat(start), _names(base, keys), keys, repeat(middle), rows, repeat(end))))


def mgets(base: bytes, keys: Sequence[bytes]) -> list[bytes]:
    """MGET of GROUP rows each."""
    starts = range(0, len(keys), GROUP)
    return [command("MGET", *[base + key for key in keys[start : start + GROUP]]) for start in starts]


def gets(base: bytes, keys: Sequence[bytes]) -> list[bytes]:
    """GET of each row."""
    return list(map(b"".join, zip(repeat(b"*2\r\n$3\r\nGET"), _names(base, keys), keys, repeat(b"\r\n"))))


def expiries(base: bytes, keys: Sequence[bytes], ttl: int) -> list[bytes]:
    """EXPIRE of each key."""
    end = b"\r\n$%d\r\n%d\r\n" % (len(str(ttl)), ttl)
    return list(map(b"".join, zip(repeat(b"*3\r\n$6\r\nEXPIRE"), _names(base, keys), keys, repeat(end))))


def _names(base: bytes, keys: Sequence[bytes]) -> Iterator[bytes]:
    """What comes before each key: its length and `base`."""
    lengths = list(map(len, keys))
    heads = {length: b"\r\n$%d\r\n" % (len(base) + length) + base for length in set(lengths)}
    return map(heads.__getitem__, lengths)
