"""Files of user ids: the forms that are read, and one clear line for what is not."""

import gzip
from pathlib import Path

import pytest

from contract.errors import DataError
from service.experiments.planning.users import read_users


@pytest.mark.parametrize(
    ("name", "text", "column"),
    [
        ("users.txt", "u1\n\n 日本 \r\nu1\n7\n", None),
        ("users", "\ufeffu1\n日本\n7", None),
        ("users.csv", 'n,user\r\n1,u1\r\n\r\n2," 日本"\r\n3,7\r\n4,u1\r\n', "user"),
        ("users.tsv", "user\tn\nu1\t1\n日本\t2\n7\t3\n", "user"),
        ("export", 'user,n\nu1,"a, b"\n日本,2\n7,3\n', "user"),  # a column makes it a CSV
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_ids_are_read_once_each_and_in_order(
    tmp_path: Path, name: str, text: str, column: str | None, packed: bool
) -> None:
    file = tmp_path / (name + ".gz" * packed)
    file.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    assert read_users(file, column) == ["u1", "日本", "7"]


@pytest.mark.parametrize(
    ("name", "content", "column", "message"),
    [
        ("a.csv", b"id,user\n1,2\n", None, "name the one of user ids with --column; its columns: id, user"),
        ("a.csv", b"id,user\n1,2\n", "who", "none is 'who'; its columns: id, user"),
        ("a.csv", b"id,user\n1,2\n\n3\n", "user", "a.csv:4: 1 columns, too few"),
        ("a.csv", b"", "user", "its columns: none"),
        ("a.csv", b"user\n", "user", "no user ids in it"),
        ("a.txt", b"\n \n", None, "no user ids in it"),
        ("a.txt", b"\xff\xfe", None, "cannot be read as text in UTF-8"),
        ("a.gz", b"plain", None, "cannot be read"),
        ("a.gz", gzip.compress(b"u1\n" * 99, mtime=0)[:-9], None, "cannot be read"),
        ("a.parquet", b"PAR1", None, "Parquet is not read here"),
    ],
)
def test_what_cannot_be_read_is_one_clear_line(
    tmp_path: Path, name: str, content: bytes, column: str | None, message: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(DataError) as refused:
        read_users(file, column)
    assert message in str(refused.value)
    assert name in str(refused.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_users(tmp_path / "none.txt")
    with pytest.raises(DataError, match="cannot be read"):
        read_users(tmp_path)
