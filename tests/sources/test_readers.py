"""The same rows from every format, and one line for every damaged file."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from portrait.config import SourceSpec
from portrait.errors import PortraitError
from portrait.sources import readers
from portrait.sources.readers import read_batches, source_schema

PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489")
CSV = 'a,b\n1,茶\n2,"two\nlines, one ""cell"""\n3,\n'
ROWS = [{"a": "1", "b": "茶"}, {"a": "2", "b": 'two\nlines, one "cell"'}, {"a": "3", "b": ""}]


def read(path: Path, source: SourceSpec) -> tuple[list[dict], list[tuple[int, str, int, int]]]:
    bad: list[tuple[int, str, int, int]] = []
    rows = [r for b in read_batches(path, source, lambda *line: bad.append(line)) for r in b.to_pylist()]
    return rows, bad


def zstd(data: bytes) -> bytes:
    packed = pa.BufferOutputStream()
    with pa.CompressedOutputStream(packed, "zstd") as stream:
        stream.write(data)
    return packed.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("name", "content", "encoding"),
    [
        ("x.csv", CSV.encode(), "utf-8"),
        ("x.csv", CSV.replace("\n3", "\r\n3").encode(), "utf-8"),
        ("x.csv", CSV.encode("utf-8-sig"), "utf-8"),
        ("x.csv", CSV.encode("gb18030"), "gb18030"),
        ("x.csv", CSV.encode("utf-16"), "utf-16"),
        ("x.csv", CSV.rstrip("\n").encode(), "utf-8"),
        ("x.csv.gz", gzip.compress(CSV.encode()), "utf-8"),
        ("x.csv.gz", gzip.compress(CSV.encode("gb18030")), "gb18030"),
        ("x.csv.zst", zstd(CSV.encode()), "utf-8"),
    ],
    ids=["plain", "crlf", "bom", "gb18030", "utf-16", "no last newline", "gz", "gz gb18030", "zst"],
)
def test_csv(make_source: Callable, tmp_path: Path, name: str, content: bytes, encoding: str) -> None:
    _, source = make_source(name, encoding=encoding)
    (tmp_path / name).write_bytes(content)
    assert source_schema(tmp_path / name, source) == pa.schema([("a", pa.string()), ("b", pa.string())])
    assert read(tmp_path / name, source) == (ROWS, [])


def test_another_delimiter(make_source: Callable, tmp_path: Path) -> None:
    _, source = make_source("x.csv", delimiter='"\\t"')
    (tmp_path / "x.csv").write_text("a\tb\n1,5\t2\n")
    assert read(tmp_path / "x.csv", source)[0] == [{"a": "1,5", "b": "2"}]


def test_csv_columns_stay_text(make_source: Callable, tmp_path: Path) -> None:
    _, source = make_source("x.csv")
    (tmp_path / "x.csv").write_text("a,b\n007,NULL\n1e5,true\n")
    assert read(tmp_path / "x.csv", source)[0] == [{"a": "007", "b": "NULL"}, {"a": "1e5", "b": "true"}]


@pytest.mark.parametrize("block", [1 << 20, 64, 24], ids=["one block", "some blocks", "many blocks"])
def test_ragged_lines_have_their_row_numbers(
    make_source: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(readers, "BLOCK_BYTES", block)
    _, source = make_source("x.csv")
    lines = [f"{n},row" for n in range(1, 41)]
    for row in (1, 2, 17, 18, 40):
        lines[row - 1] = f"{row}"
    lines[24] = "25,too,many"
    lines[9] = '10,"quoted\nnewline"'
    (tmp_path / "x.csv").write_text("a,b\n" + "\n".join(lines) + "\n")
    rows, bad = read(tmp_path / "x.csv", source)
    assert [(row, expected, found) for row, _, expected, found in bad] == [
        (1, 2, 1), (2, 2, 1), (17, 2, 1), (18, 2, 1), (25, 2, 3), (40, 2, 1),
    ]  # fmt: skip
    assert [int(r["a"]) for r in rows] == [n for n in range(1, 41) if n not in (1, 2, 17, 18, 25, 40)]


def test_a_header_over_two_lines(make_source: Callable, tmp_path: Path) -> None:
    _, source = make_source("x.csv")
    (tmp_path / "x.csv").write_text('a,"b\nb"\n1,2\nbad\n')
    rows, bad = read(tmp_path / "x.csv", source)
    assert rows == [{"a": "1", "b\nb": "2"}]
    assert [b[0] for b in bad] == [2]


@pytest.mark.parametrize("content", ["a,b\n", "a,b", "a,b\n\n\n"])
def test_a_header_alone_is_no_row(make_source: Callable, tmp_path: Path, content: str) -> None:
    _, source = make_source("x.csv")
    (tmp_path / "x.csv").write_text(content)
    assert read(tmp_path / "x.csv", source) == ([], [])


def test_an_empty_header_cell_has_a_name(make_source: Callable, tmp_path: Path) -> None:
    _, source = make_source("x.csv")
    (tmp_path / "x.csv").write_text("a,b,\n1,2,\n")
    assert read(tmp_path / "x.csv", source)[0] == [{"a": "1", "b": "2", "column_3": ""}]


LINES = [{"a": 1, "b": "茶"}, {"a": 2, "c": None}, {"a": "x y"}]
JSONL = "\n".join(json.dumps(line, ensure_ascii=False) for line in LINES) + "\n"


@pytest.mark.parametrize(
    ("name", "content", "encoding"),
    [
        ("x.jsonl", JSONL.encode(), "utf-8"),
        ("x.jsonl", JSONL.encode("utf-8-sig"), "utf-8"),
        ("x.jsonl", JSONL.encode("gb18030"), "gb18030"),
        ("x.jsonl.gz", gzip.compress(JSONL.encode()), "utf-8"),
    ],
    ids=["plain", "bom", "gb18030", "gz"],
)
def test_json_lines(make_source: Callable, tmp_path: Path, name: str, content: bytes, encoding: str) -> None:
    _, source = make_source(name, format="jsonl", encoding=encoding)
    (tmp_path / name).write_bytes(content)
    assert source_schema(tmp_path / name, source).names == ["a", "b", "c"]
    rows, bad = read(tmp_path / name, source)
    assert [json.loads(r[readers.JSON_LINE]) for r in rows] == LINES
    assert bad == []


def test_json_lines_keep_a_line_that_is_none(make_source: Callable, tmp_path: Path) -> None:
    _, source = make_source("x.jsonl", format="jsonl")
    (tmp_path / "x.jsonl").write_text('{"a": 1}\n{"a": "open\n{"a": "\x01"}\n{"a": 4}\n')
    rows, bad = read(tmp_path / "x.jsonl", source)
    assert [r[readers.JSON_LINE] for r in rows] == ['{"a": 1}', '{"a": "open', '{"a": 4}']
    assert [b[0] for b in bad] == [3]


def test_parquet_keeps_types(make_source: Callable, tmp_path: Path) -> None:
    _, source = make_source("x.parquet", format="parquet")
    table = pa.table({"a": pa.array([1, 2]), "b": pa.array(["x", None]).dictionary_encode()})
    pq.write_table(table, tmp_path / "x.parquet")
    assert source_schema(tmp_path / "x.parquet", source) == table.schema
    assert read(tmp_path / "x.parquet", source)[0] == [{"a": 1, "b": "x"}, {"a": 2, "b": None}]


REFUSED = [
    pytest.param("x.csv", b"", {}, "the file is empty; deliver it again, with its header line", id="empty csv"),
    pytest.param("x.csv.gz", gzip.compress(b""), {}, "the file is empty", id="empty csv.gz"),
    pytest.param("x.csv", b"\na,b\n1,2\n", {}, "the first line is blank", id="blank first line"),
    pytest.param("x.jsonl", b"", {"format": "jsonl"}, "the file is empty; deliver it again", id="empty jsonl"),
    pytest.param("x.csv", b"a,b,a\n1,2,3\n", {}, "column 'a' appears twice in the header; rename one", id="twice"),
    pytest.param("x.csv", b"a,B,b\n1,2,3\n", {}, "column 'B' appears twice in the header", id="twice but for case"),
    pytest.param(
        "x.csv", CSV.encode("gb18030"), {}, "is not utf-8 text; set sources[things].encoding, for example gb18030",
        id="gb18030 as utf-8",
    ),
    pytest.param("x.csv", CSV.encode(), {"encoding": "ascii"}, "is not ascii text; set", id="utf-8 as ascii"),
    pytest.param(
        "x.jsonl", JSONL.encode("gb18030"), {"format": "jsonl"}, "is not utf-8 text; set", id="gb18030 jsonl"
    ),
    pytest.param("x.csv", PNG, {}, "is not utf-8 text; set", id="png as csv"),
    pytest.param(
        "x.parquet", PNG, {"format": "parquet"}, "cannot be read as parquet (Parquet magic bytes not found in footer",
        id="png as parquet",
    ),
    pytest.param("x.parquet", b"", {"format": "parquet"}, "cannot be read as parquet (", id="empty parquet"),
    pytest.param("x.csv.gz", b"a,b\n1,2\n", {}, "cannot be read as csv (", id="plain text named gz"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "keys", "expected"), REFUSED)
def test_a_file_that_cannot_be_read(
    make_source: Callable, tmp_path: Path, name: str, content: bytes, keys: dict[str, str], expected: str
) -> None:
    _, source = make_source(name, **keys)
    path = tmp_path / name
    path.write_bytes(content)

    def look_and_read() -> None:
        source_schema(path, source)
        read(path, source)

    with pytest.raises(PortraitError) as caught:
        look_and_read()
    message = str(caught.value)
    assert message.startswith(f"{path}: {expected}")
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize("name", ["x.csv.gz", "x.csv.zst", "x.jsonl.gz"])
def test_a_file_that_was_cut_off(make_source: Callable, tmp_path: Path, name: str) -> None:
    """The header reads well, the end is missing."""
    _, source = make_source(name, format="jsonl" if "jsonl" in name else "csv")
    text = JSONL if "jsonl" in name else "a,b\n"
    text += "".join(f"{n},{n * 7919 % 10007}\n" for n in range(100_000))
    packed = zstd(text.encode()) if "zst" in name else gzip.compress(text.encode())
    (tmp_path / name).write_bytes(packed[: len(packed) // 2])
    with pytest.raises(PortraitError, match=f"{name}: .*deliver the file again") as caught:
        read(tmp_path / name, source)
    assert len(str(caught.value).splitlines()) == 1


def test_bad_bytes_far_into_the_file(
    make_source: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "BLOCK_BYTES", 1 << 12)
    _, source = make_source("x.csv")
    (tmp_path / "x.csv").write_bytes(b"a,b\n" + b"1,2\n" * 50_000 + b"\xff\xfe,2\n")
    with pytest.raises(PortraitError, match="is not utf-8 text"):
        read(tmp_path / "x.csv", source)


def test_a_file_of_many_blocks_has_all_its_rows(
    make_source: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "BLOCK_BYTES", 1 << 10)
    _, source = make_source("x.csv.gz")
    with gzip.open(tmp_path / "x.csv.gz", "wt") as file:
        file.write("a,b\n" + "".join(f"{n},{n}\n" for n in range(5_000)))
    rows, _ = read(tmp_path / "x.csv.gz", source)
    assert [int(r["a"]) for r in rows] == list(range(5_000))
