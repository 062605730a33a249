"""The same rows from every format, and one line for every damaged file."""

import csv
import gzip
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
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
        ("x.csv", CSV.encode("gbk"), "gbk"),
        ("x.csv", CSV.encode("utf-16"), "utf-16"),
        ("x.csv", CSV.rstrip("\n").encode(), "utf-8"),
        ("x.csv.gz", gzip.compress(CSV.encode()), "utf-8"),
        ("x.csv.gz", gzip.compress(CSV.encode("gb18030")), "gb18030"),
        ("x.csv.zst", zstd(CSV.encode()), "utf-8"),
    ],
    ids=["plain", "crlf", "bom", "gb18030", "gbk", "utf-16", "no last newline", "gz", "gz gb18030", "zst"],
)
def test_csv(make_source: Callable, tmp_path: Path, name: str, content: bytes, encoding: str) -> None:
    _, source = make_source(name, encoding=encoding)
    (tmp_path / name).write_bytes(content)
    assert source_schema(tmp_path / name, source) == pa.schema([("a", pa.string()), ("b", pa.string())])
    assert read(tmp_path / name, source) == (ROWS, [])


# The ideograph beyond the basic plane has four bytes in GB18030, none in GBK; the euro sign two and none.
CHINESE = {"gb18030": "茶€龘𠀀", "gbk": "茶龘", "utf-8": "茶€龘𠀀", "utf-16": "茶€龘𠀀"}


@pytest.mark.parametrize(
    ("encoding", "codec", "mark"),
    [
        ("gb18030", "gb18030", ""),
        ("gb18030", "gb18030", "\ufeff"),
        ("gbk", "gbk", ""),
        ("utf-8", "utf-8", ""),
        ("utf-8", "utf-8", "\ufeff"),
        ("utf-8-sig", "utf-8", "\ufeff"),
        ("utf-16", "utf-16", ""),
        ("utf-16-le", "utf-16-le", "\ufeff"),
        ("utf-16-be", "utf-16-be", ""),
    ],
)
@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.jsonl"])
def test_chinese_in_header_and_cells(
    make_source: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    encoding: str,
    codec: str,
    mark: str,
) -> None:
    monkeypatch.setattr(readers, "BLOCK_BYTES", 101)  # characters fall on its ends
    text = CHINESE[codec if codec in CHINESE else "utf-16"]
    expected = [{"会员": f"{text}{n}", "备注": "" if n % 2 else f"第{n}行,{text}"} for n in range(200)]
    lines = [f'{r["会员"]},"{r["备注"]}"' for r in expected]
    content = mark + "会员,备注\n" + "\n".join(lines) + "\n"
    if name == "x.jsonl":
        content = mark + "\n".join(json.dumps(r, ensure_ascii=False) for r in expected)
    packed = content.encode(codec)
    (tmp_path / name).write_bytes(gzip.compress(packed) if name.endswith("gz") else packed)
    _, source = make_source(name, encoding=encoding, format="jsonl" if name == "x.jsonl" else "csv")
    assert source_schema(tmp_path / name, source).names == ["会员", "备注"]
    rows, bad = read(tmp_path / name, source)
    if name == "x.jsonl":
        rows = [json.loads(r[readers.JSON_LINE]) for r in rows]
    assert rows == expected
    assert bad == []


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_memory_is_bounded(
    make_source: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    """Arrow reads 32 blocks ahead, and decoded text is half as long again."""
    monkeypatch.setattr(readers, "BLOCK_BYTES", 1 << 14)
    _, source = make_source("x.csv", encoding=encoding)
    content = ("a,b\n" + "茶,糖\n" * 700_000).encode(encoding)
    (tmp_path / "x.csv").write_bytes(content)
    before, most, rows = pa.total_allocated_bytes(), 0, 0
    for batch in read_batches(tmp_path / "x.csv", source, pytest.fail):
        rows += batch.num_rows
        most = max(most, pa.total_allocated_bytes() - before)
    assert rows == 700_000
    assert most < 50 * (1 << 14) * 1.5 < len(content) / 3


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


FILLER = "".join(f'{n},"tea {n}"\n' for n in range(1, 41))
UNCLOSED = [
    pytest.param('1,x\n2,"tea\n3,"milk"\n4,y\n', "row 2 (line 3)", id="to the same column of the next row"),
    pytest.param('1,x\n2,"tea\n3,a\n4,b\n5,"milk"\n', "row 2 (line 3)", id="of a later row"),
    pytest.param('1,x\r\n2,"tea\r\n3,a\r\n4,"milk"\r\n', "row 2 (line 3)", id="crlf"),
    pytest.param('1,x\n\n"2,tea\n"3",milk\n', "row 2 (line 4)", id="to another column"),
    pytest.param('"1","x"\n"2","tea\n"3","milk"\n', "row 2 (line 3)", id="everything quoted"),
    pytest.param('1,"tea, or\n2,"milk, or"\n', "row 1 (line 2)", id="a delimiter in the cell that is taken"),
    pytest.param('1,x\n2,"tea\n3,a\n4,b\n', "row 2 (line 3)", id="to the end of the file"),
    pytest.param('1,x\n2,"tea\n3,a\n4,b', "row 2 (line 3)", id="to the end, without a newline"),
    pytest.param('1,x\n"2,tea\n3,a\n4,b\n', "row 2 (line 3)", id="to the end, in the first column"),
    pytest.param('1,x\n2,"tea\n', "row 2 (line 3)", id="in the last line"),
    pytest.param(FILLER + '41,"tea\n' + FILLER, "row 41 (line 42)", id="far into the file"),
    pytest.param(FILLER + '41,"tea\n' + "42,milk\n" * 9999, "row 41 (line 42)", id="longer than a block"),
    pytest.param('1,"a\nb"\n2,"tea\n3,"milk"\n', "row 2 (line 4)", id="after a text of two lines"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "where"), UNCLOSED)
@pytest.mark.parametrize("block", [1 << 20, 600], ids=["one block", "some blocks"])
def test_an_unclosed_quote_is_refused(
    make_source: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, where: str, block: int
) -> None:
    monkeypatch.setattr(readers, "BLOCK_BYTES", block)
    _, source = make_source("x.csv")
    (tmp_path / "x.csv").write_bytes(b"a,b\n" + text.encode())
    with pytest.raises(PortraitError) as caught:
        read(tmp_path / "x.csv", source)
    assert str(caught.value) == (
        f"{tmp_path}/x.csv: {where} opens a quote that is not closed where its cell ends, and takes the lines after "
        'it in; write a quote within a cell twice (""), and deliver the file again'
    )


def test_rows_within_a_cell_are_refused_though_its_quotes_are_right(
    make_source: Callable, tmp_path: Path
) -> None:
    """A cell begins with a quote, and rows later one happens to end with one."""
    _, source = make_source("x.csv")
    rows = "".join(f"{n},x,y,z\n" for n in range(3, 8))
    (tmp_path / "x.csv").write_text(f'a,b,c,d\n1,x,y,z\n2,"tv,y,z\n{rows}8,pipe 5",y,z\n')
    with pytest.raises(PortraitError, match=r"row 2 \(line 3\) opens a quote"):
        read(tmp_path / "x.csv", source)


def test_an_unclosed_quote_in_the_header(make_source: Callable, tmp_path: Path) -> None:
    _, source = make_source("x.csv")
    for rows in ("1,2\n" * 3, "1,2\n" * 100_000):
        (tmp_path / "x.csv").write_text('a,"b\n' + rows)
        with pytest.raises(PortraitError, match=r"x.csv: the header \(line 1\) opens a quote"):
            source_schema(tmp_path / "x.csv", source)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('1,"tea\nor milk"\n2,x\n', ["tea\nor milk", "x"]),
        ('1,"tea, or\nmilk, ""fresh"""\n2,x\n', ['tea, or\nmilk, "fresh"', "x"]),
        ('1,5" pipe\n2,6" pipe\n', ['5" pipe', '6" pipe']),
        ('1,"tea" or\n2,"milk" or\n', ["tea or", "milk or"]),
        ('1,"a\nb,c"\n"x"y,2\n', ["a\nb,c", "2"]),
    ],
    ids=["two lines", "delimiters", "inches", "text after a quote", "both"],
)
def test_what_looks_like_an_unclosed_quote(
    make_source: Callable, tmp_path: Path, text: str, expected: list[str]
) -> None:
    _, source = make_source("x.csv")
    (tmp_path / "x.csv").write_text("a,b\n" + text)
    rows, bad = read(tmp_path / "x.csv", source)
    assert [r["b"] for r in rows] == expected
    assert bad == []


CELL = st.text(alphabet='a,"\n\r茶 ', max_size=6)


@given(
    rows=st.lists(st.lists(CELL, min_size=3, max_size=3), min_size=1, max_size=12), block=st.integers(64, 200)
)
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_csv_writes_is_read_as_it_was(
    make_source: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[list[str]], block: int
) -> None:
    monkeypatch.setattr(readers, "BLOCK_BYTES", block)
    _, source = make_source("x.csv")
    with (tmp_path / "x.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["a", "b", "c"], *rows])
    found, bad = read(tmp_path / "x.csv", source)
    assert [list(r.values()) for r in found] == rows
    assert bad == []


def test_a_row_longer_than_a_block(
    make_source: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "BLOCK_BYTES", 1 << 20)
    _, source = make_source("x.csv")
    (tmp_path / "x.csv").write_text('a,b\n1,"' + "tea \n" * 500_000 + '"\n2,x\n')
    with pytest.raises(PortraitError, match=r"x.csv: a row is longer than 1 MB; split it"):
        read(tmp_path / "x.csv", source)


def test_a_long_cell_in_the_first_row(make_source: Callable, tmp_path: Path) -> None:
    _, source = make_source("x.csv")
    (tmp_path / "x.csv").write_text(f"a,b\n1,{'x' * 200_000}\n")
    assert len(read(tmp_path / "x.csv", source)[0][0]["b"]) == 200_000


def open_files(path: Path) -> int:
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("needs /proc")
    return sum(os.path.realpath(link) == str(path.resolve()) for link in folder.iterdir())


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("x.csv", "utf-8"),
        ("x.csv", "gb18030"),
        ("x.csv.gz", "utf-8"),
        ("x.jsonl", "utf-8"),
        ("x.parquet", "utf-8"),
    ],
)
def test_a_file_is_closed_when_the_rest_is_not_wanted(
    make_source: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, encoding: str
) -> None:
    monkeypatch.setattr(readers, "BLOCK_BYTES", 1 << 12)
    monkeypatch.setattr(readers, "BATCH_ROWS", 100)
    _, source = make_source(name, encoding=encoding, format=name.split(".")[1])
    content = ("a,b\n" + "茶,糖\n" * 100_000).encode(encoding)
    path = tmp_path / name
    if name == "x.parquet":
        pq.write_table(pa.table({"a": ["茶"] * 100_000}), path, row_group_size=1000)
    else:
        path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    batches = read_batches(path, source, pytest.fail)
    next(batches)
    assert open_files(path) == 1
    batches.close()
    deadline = time.monotonic() + 5
    while open_files(path) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert open_files(path) == 0


def test_an_error_is_not_waited_for(make_source: Callable, tmp_path: Path) -> None:
    _, source = make_source("x.csv.gz")
    (tmp_path / "x.csv.gz").write_bytes(
        gzip.compress(b"a,b\n" + os.urandom(1 << 20).hex().encode())[: 1 << 19]
    )
    started = time.monotonic()
    with pytest.raises(PortraitError):
        read(tmp_path / "x.csv.gz", source)
    assert time.monotonic() - started < 5
