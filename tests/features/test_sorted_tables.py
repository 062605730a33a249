"""A night's rows merged into those of an earlier one, a row group at a time."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from portrait.features import sorted_tables
from portrait.features.publish import Publisher, row_groups, write_all
from portrait.features.sorted_tables import ahead, merged, write_groups


def table(*rows: tuple[int, str]) -> pa.Table:
    schema = pa.schema({"customer": pa.int32(), "value": pa.string()})
    return pa.Table.from_pylist([{"customer": c, "value": v} for c, v in rows], schema=schema)


@pytest.mark.parametrize("rows", [1, 2, 3, 100])
def test_merged(tmp_path: Path, rows: int) -> None:
    """Customers that change, come, go and stay, across the bounds of row groups of any size."""
    former = table((0, "a"), (0, "b"), (1, "c"), (1, "d"), (1, "e"), (3, "f"), (4, "g"), (4, "h"))
    pq.write_table(former, tmp_path / "former.parquet", row_group_size=rows)
    changed = np.array([False, True, True, True, False, True])
    fresh = table((1, "C"), (1, "D"), (2, "new"), (5, "last"))
    found = pa.concat_tables(merged(tmp_path / "former.parquet", fresh, changed))
    expected = table((0, "a"), (0, "b"), (1, "C"), (1, "D"), (2, "new"), (4, "g"), (4, "h"), (5, "last"))
    assert found.to_pylist() == expected.to_pylist()


def test_merged_with_nothing_and_into_nothing(tmp_path: Path) -> None:
    nobody, path = table(), tmp_path / "former.parquet"
    pq.write_table(nobody, path)
    fresh = table((0, "a"))
    assert pa.concat_tables(merged(path, fresh, np.array([True]))).to_pylist() == fresh.to_pylist()
    pq.write_table(fresh, path)
    assert pa.concat_tables(merged(path, nobody, np.array([False]))).to_pylist() == fresh.to_pylist()
    assert pa.concat_tables(merged(path, nobody, np.array([True]))).num_rows == 0


def test_one_file_whoever_wrote_the_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorted_tables, "ROWS", 3)
    whole = table(*((n, f"v{n % 2}") for n in range(8)))
    write_groups([whole], tmp_path / "one.parquet")
    write_groups(
        [whole.slice(0, 2), whole.slice(2, 0), whole.slice(2, 5), whole.slice(7)], tmp_path / "two.parquet"
    )
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    file = pq.ParquetFile(tmp_path / "one.parquet")
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [3, 3, 2]
    write_groups([whole.slice(0, 0)], tmp_path / "none.parquet")
    assert pq.read_table(tmp_path / "none.parquet").schema.names == ["customer", "value"]


def test_who_is_no_more_is_not_published(tmp_path: Path) -> None:
    pq.write_table(table((0, "a"), (1, "b"), (1, "c"), (2, "d")), tmp_path / "kept.parquet")
    publish = Publisher(pa.array(["z", "y", "x"]), np.array([True, False, True]), tmp_path)
    write_all([publish.kept("t", tmp_path / "kept.parquet"), publish.table("u", table((2, "e")))])
    assert pq.read_table(tmp_path / "t.parquet").to_pylist() == [
        {"customer_id": "z", "value": "a"},
        {"customer_id": "x", "value": "d"},
    ]
    assert pq.read_table(tmp_path / "u.parquet").to_pylist() == [{"customer_id": "x", "value": "e"}]
    assert [t.num_rows for t in row_groups(tmp_path / "kept.parquet")] == [0, 4]


def test_tables_are_computed_ahead_and_an_error_is_not_lost() -> None:
    computed: list[int] = []

    def tables() -> Iterator[pa.Table]:
        for n in range(3):
            computed.append(n)
            yield table((n, "a"))
        raise OSError("disk full")

    found = []
    following = (found.append(each["customer"].to_pylist()) for each in ahead(tables()))
    with pytest.raises(OSError, match="disk full"):
        list(following)
    assert found == [[0], [1], [2]]
    assert computed == [0, 1, 2]
    assert list(ahead([])) == []
