"""Files in an S3-compatible store on loopback, in a web server, and what cannot be reached."""

import functools
import gzip
import http.server
import json
import logging
import os
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec
import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import s3fs
from moto.server import ThreadedMotoServer
from portrait.errors import PortraitError, SourceUnavailable
from portrait.sources import readers
from portrait.sources.delivery import Delivery
from portrait.sources.files import FileConnector
from portrait.sources.remote import RemoteStorage
from portrait.sources.storage import without_password

ROWS = [{"a": "1", "b": "茶"}, {"a": "2", "b": "糖"}]
CSV = "a,b\n1,茶\n2,糖\n".encode()


class Bucket:
    """An empty bucket of this test's own."""

    def __init__(self, store: s3fs.S3FileSystem) -> None:
        self.store = store
        self.name = f"tills-{uuid.uuid4().hex[:8]}"
        self.url = f"s3://{self.name}"
        self.store.mkdir(self.name)

    def put(self, key: str, content: bytes = CSV) -> None:
        self.store.pipe(f"{self.name}/{key}", content)


def serve_s3(monkeypatch: pytest.MonkeyPatch) -> ThreadedMotoServer:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "the-key-id",
        "AWS_SECRET_ACCESS_KEY": "the-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    return server


def store() -> s3fs.S3FileSystem:
    return s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)


@pytest.fixture(scope="module")
def s3() -> Iterator[ThreadedMotoServer]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with pytest.MonkeyPatch.context() as monkeypatch:
        server = serve_s3(monkeypatch)
        yield server
        server.stop()


@pytest.fixture(scope="module")
def shared_store(s3: ThreadedMotoServer) -> s3fs.S3FileSystem:
    return store()


@pytest.fixture
def bucket(shared_store: s3fs.S3FileSystem) -> Bucket:
    return Bucket(shared_store)


@pytest.fixture
def connect(make_source: Callable) -> Callable[..., FileConnector]:
    return lambda path, **keys: FileConnector(*make_source(path, **keys))


def read(origin: FileConnector, delivery: Delivery) -> list[dict[str, Any]]:
    return [r for b in origin.batches(delivery, pytest.fail) for r in b.to_pylist()]


def zstd(data: bytes) -> bytes:
    packed = pa.BufferOutputStream()
    with pa.CompressedOutputStream(packed, "zstd") as stream:
        stream.write(data)
    return packed.getvalue().to_pybytes()


def parquet(rows: list[dict[str, Any]], **keys: Any) -> bytes:
    packed = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), packed, **keys)
    return packed.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("name", "content", "keys"),
    [
        ("x.csv", CSV, {}),
        ("x.csv.gz", gzip.compress(CSV), {}),
        ("x.csv.zst", zstd(CSV), {}),
        ("x.csv.gz", gzip.compress(CSV.decode().encode("gb18030")), {"encoding": "gb18030"}),
        ("x.parquet", parquet(ROWS), {"format": "parquet"}),
        ("x.parquet", parquet(ROWS, row_group_size=1), {"format": "parquet"}),
    ],
    ids=["csv", "csv.gz", "csv.zst", "csv.gz gb18030", "parquet", "parquet of groups"],
)
def test_formats(bucket: Bucket, connect: Callable, name: str, content: bytes, keys: dict[str, str]) -> None:
    bucket.put(f"in/{name}", content)
    origin = connect(f"{bucket.url}/in/*", **keys)
    (delivery,) = origin.pending(None)
    assert delivery.name == f"{bucket.url}/in/{name}"
    assert delivery.size == len(content)
    assert delivery.latest in {datetime.now(UTC).date() + timedelta(days=n) for n in (0, 1)}
    assert origin.schema(delivery).names == ["a", "b"]
    assert read(origin, delivery) == ROWS


def test_json_lines(bucket: Bucket, connect: Callable) -> None:
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)
    bucket.put("x.jsonl.zst", zstd(lines.encode()))
    origin = connect(f"{bucket.url}/x.jsonl.zst", format="jsonl")
    (delivery,) = origin.pending(None)
    assert origin.schema(delivery).names == ["a", "b"]
    assert [json.loads(r[readers.JSON_LINE]) for r in read(origin, delivery)] == ROWS


KEYS = [
    "shop/date=2026-03-01/b.csv",
    "shop/date=2026-03-01/a.csv",
    "shop/date=20260302/a.csv",
    "shop/date=2026-03-02/a.csv.tmp",
    "shop/date=2026-03-02/.a.csv",
    "shop/date=2026-03-02/_temporary/a.csv",
    "shop/date=2026-03-04/a.csv",
    "shop/date=soon/a.csv",
    "shop/date=2026-13-01/a.csv",
    "shop/other/a.csv",
    "web/date=2026-03-01/a.csv",
]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (
            "shop/date={business_date}/*.csv",
            ["shop/date=2026-03-01/a.csv", "shop/date=2026-03-01/b.csv", "shop/date=20260302/a.csv"],
        ),
        ("shop/date={business_date}/a.csv", ["shop/date=2026-03-01/a.csv", "shop/date=20260302/a.csv"]),
        (
            "*/date={business_date}/a*",
            ["shop/date=2026-03-01/a.csv", "web/date=2026-03-01/a.csv", "shop/date=20260302/a.csv"],
        ),
        (
            "**/date={business_date}/*.csv",
            [
                "shop/date=2026-03-01/a.csv",
                "shop/date=2026-03-01/b.csv",
                "web/date=2026-03-01/a.csv",
                "shop/date=20260302/a.csv",
            ],
        ),
        ("shop/o*/?.csv", ["shop/other/a.csv"]),
        ("shop/other/a.csv", ["shop/other/a.csv"]),
    ],
)
def test_patterns(bucket: Bucket, connect: Callable, pattern: str, expected: list[str]) -> None:
    bucket.put("shop/", b"")  # an empty folder, as consoles make them
    for key in KEYS:
        bucket.put(key)
    pending = connect(f"{bucket.url}/{pattern}").pending(date(2026, 3, 3))
    assert [d.name.removeprefix(f"{bucket.url}/") for d in pending] == expected


def test_folders_of_later_days_and_other_prefixes_are_not_listed(
    bucket: Bucket, connect: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = []
    real = s3fs.S3FileSystem._iterdir

    def note(self: Any, bucket: str, **keys: Any) -> Any:
        listed.append(keys["prefix"])
        return real(self, bucket, **keys)

    for key in KEYS:
        bucket.put(key)
    origin = connect(f"{bucket.url}/shop/date={{business_date}}/*.csv")
    monkeypatch.setattr(s3fs.S3FileSystem, "_iterdir", note)
    assert len(origin.pending(date(2026, 3, 1))) == 2
    assert listed == ["shop/date=", "shop/date=2026-03-01/"]


def test_files_of_later_dates_only_are_no_mistake(bucket: Bucket, connect: Callable) -> None:
    bucket.put("2026-03-02/x.csv")
    assert connect(f"{bucket.url}/{{business_date}}/x.csv").pending(date(2026, 3, 1)) == []


def test_a_rewritten_object_is_another_delivery(bucket: Bucket, connect: Callable) -> None:
    origin = connect(f"{bucket.url}/*.csv")
    bucket.put("x.csv", b"a,b\n1,2\n")
    (first,) = origin.pending(None)
    bucket.put("x.csv", b"a,b\n1,3\n")
    (second,) = origin.pending(None)
    bucket.put("x.csv", b"a,b\n1,3\n")
    (same,) = origin.pending(None)
    assert first.size == second.size
    assert first.fingerprint != second.fingerprint == same.fingerprint
    assert read(origin, second) == [{"a": "1", "b": "3"}]


@pytest.mark.parametrize(
    ("marker", "keys", "expected"),
    [
        ("_SUCCESS", ["1/a.csv", "1/_SUCCESS", "2/a.csv"], ["1/a.csv"]),
        ("{name}.ok", ["1/a.csv", "1/a.csv.ok", "1/b.csv", "2/a.csv"], ["1/a.csv"]),
        ("_SUCCESS", ["1/a.csv"], []),
    ],
)
def test_markers(
    bucket: Bucket, connect: Callable, marker: str, keys: list[str], expected: list[str]
) -> None:
    for key in keys:
        bucket.put(key)
    pending = connect(f"{bucket.url}/*/*", ready_marker=f"'{marker}'").pending(None)
    assert [d.name.removeprefix(f"{bucket.url}/") for d in pending] == expected


def test_nothing_is_fetched_twice(bucket: Bucket, connect: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = []
    real = s3fs.core.S3File._fetch_range

    def note(self: Any, start: int, end: int) -> bytes:
        fetched.append((start, end))
        return real(self, start, end)

    monkeypatch.setattr(s3fs.core.S3File, "_fetch_range", note)
    monkeypatch.setattr(readers, "BLOCK_BYTES", 1 << 15)
    content = b"a,b\n" + b"".join(b"%d,%d\n" % (n, n) for n in range(20_000))
    bucket.put("x.csv", content)
    origin = connect(f"{bucket.url}/x.csv")
    (delivery,) = origin.pending(None)
    assert len(read(origin, delivery)) == 20_000
    assert [start for start, _ in fetched] == [0] + [end for _, end in fetched[:-1]]
    assert fetched[-1][1] == len(content)
    assert max(end - start for start, end in fetched) <= 2 << 15

    fetched.clear()
    bucket.put("x.parquet", parquet([{"a": n, "b": str(n)} for n in range(50_000)], row_group_size=10_000))
    origin = connect(f"{bucket.url}/x.parquet", format="parquet")
    (delivery,) = origin.pending(None)
    assert origin.schema(delivery).names == ["a", "b"]
    assert sum(end - start for start, end in fetched) <= 1 << 16  # the footer
    batches = origin.batches(delivery, pytest.fail)
    next(batches)
    batches.close()
    assert sum(end - start for start, end in fetched) < delivery.size * 3 / 4


def test_an_object_that_is_replaced_while_it_is_read(
    bucket: Bucket, connect: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "BLOCK_BYTES", 1 << 12)
    bucket.put("x.csv", b"a,b\n" + b"1,2\n" * 200_000)
    origin = connect(f"{bucket.url}/x.csv")
    (delivery,) = origin.pending(None)
    batches = origin.batches(delivery, pytest.fail)
    next(batches)
    bucket.put("x.csv", b"a,b\n" + b"3,4\n" * 200_000)
    with pytest.raises(
        SourceUnavailable, match=r"x\.csv: the store does not answer \(\w+\); try again later"
    ):
        list(batches)


def test_an_object_that_is_gone(bucket: Bucket, connect: Callable) -> None:
    bucket.put("x.csv")
    origin = connect(f"{bucket.url}/x.csv")
    (delivery,) = origin.pending(None)
    bucket.store.rm(f"{bucket.name}/x.csv")
    with pytest.raises(PortraitError, match=r"x\.csv: the file is gone; deliver it again$"):
        origin.schema(delivery)


@pytest.mark.parametrize("path", ["in/*.csv", "in/{business_date}/x.csv", "x.csv", "**/x.csv"])
def test_no_bucket(s3: ThreadedMotoServer, connect: Callable, path: str) -> None:
    with pytest.raises(
        PortraitError, match=r"^sources\[things\]\.path: s3://none\S*: the bucket does not exist"
    ) as e:
        connect(f"s3://none/{path}").pending(None)
    assert type(e.value) is PortraitError


def test_no_object(bucket: Bucket, connect: Callable) -> None:
    with pytest.raises(
        PortraitError, match=rf"^sources\[things\]\.path: no file matches {bucket.url}/in/\*; "
    ):
        connect(f"{bucket.url}/in/*").pending(None)


def test_access_refused(bucket: Bucket, connect: Callable) -> None:
    bucket.put("in/x.csv")
    checks = f"{os.environ['AWS_ENDPOINT_URL']}/moto-api/reset-auth"
    httpx.post(checks, content="0")
    try:
        with pytest.raises(PortraitError) as caught:
            connect(f"{bucket.url}/in/*").pending(None)
    finally:
        httpx.post(checks, content="inf")
    assert type(caught.value) is PortraitError
    assert str(caught.value) == (
        f"sources[things].path: {bucket.url}/in: access is refused (InvalidAccessKeyId); check the store's "
        "credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE) and that they may list and read "
        "this path"
    )


def test_settings_in_fsspec_s_own_configuration(
    bucket: Bucket, connect: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("x.csv")
    variables = {"FSSPEC_S3_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"]}
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setitem(fsspec.config.conf, "s3", {})
    fsspec.config.set_conf_env(fsspec.config.conf, variables)
    assert len(connect(f"{bucket.url}/*").pending(None)) == 1


def test_no_credentials(bucket: Bucket, connect: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    with pytest.raises(PortraitError, match=r"access is refused \(NoCredentialsError\)"):
        connect(f"{bucket.url}/*").pending(None)


def test_a_setting_that_is_none(bucket: Bucket, connect: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nonsense")
    with pytest.raises(PortraitError, match=r"the store cannot be used like this \(ValueError\)"):
        connect(f"{bucket.url}/*").pending(None)


def test_server_down(bucket: Bucket, connect: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(SourceUnavailable) as caught:
        connect(f"{bucket.url}/*").pending(None)
    assert str(caught.value) == (
        f"sources[things].path: {bucket.url}: the store does not answer at 127.0.0.1 (EndpointConnectionError); "
        "try again later"
    )


def test_server_down_while_reading(connect: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "BLOCK_BYTES", 1 << 12)
    server = serve_s3(monkeypatch)
    bucket = Bucket(store())
    bucket.put("x.csv", b"a,b\n" + b"1,2\n" * 200_000)
    origin = connect(f"{bucket.url}/x.csv")
    (delivery,) = origin.pending(None)
    batches = origin.batches(delivery, pytest.fail)
    next(batches)
    server.stop()
    with pytest.raises(SourceUnavailable, match=r"x\.csv: the store does not answer") as caught:
        list(batches)
    assert "the-secret" not in str(caught.value)


def test_a_forked_process_reads_too(bucket: Bucket, connect: Callable) -> None:
    """Airflow forks its tasks; fsspec's threads stay behind."""
    bucket.put("x.csv")
    origin = connect(f"{bucket.url}/*.csv")
    (delivery,) = origin.pending(None)
    assert read(origin, delivery) == ROWS
    child = os.fork()
    if not child:
        signal.alarm(20)
        ok = origin.pending(None) == [delivery] and read(origin, delivery) == ROWS
        os._exit(0 if ok else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("gs://b/x.csv", "gs:// needs a package that is not installed; pip install gcsfs"),
        ("oss://b/x.csv", "oss:// needs a package that is not installed; pip install ossfs"),
        ("nope://b/x.csv", "nope:// is no protocol that fsspec knows; for example s3://"),
        ("s3://till*/x.csv", "s3://till*/x.csv: the bucket or host cannot be a pattern; name it"),
        (
            "https://h/*.csv",
            "https://h/*.csv: a web server has no list of its files; give the address of one file",
        ),
        (
            "https://h/x.csv?sig=the-secret",
            "https://h/x.csv?...: a web server has no list of its files; give the address of one file",
        ),
        (
            "zip://x.csv::s3://b/x.zip",
            "zip://x.csv::s3://b/x.zip: one URL inside another is not supported; give the files' own URL",
        ),
    ],
)
def test_a_path_that_cannot_be(connect: Callable, path: str, expected: str) -> None:
    with pytest.raises(PortraitError) as caught:
        connect(path).pending(None)
    assert str(caught.value) == f"sources[things].path: {expected}"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """The address of a web server that has this test's files and gives no parts of them."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_file_of_a_web_server(web: str, tmp_path: Path, connect: Callable) -> None:
    rows = [{"a": str(n), "b": "x"} for n in range(100_000)]
    (tmp_path / "x.csv").write_text("a,b\n" + "".join(f"{r['a']},x\n" for r in rows))
    origin = connect(f"http://me:the-secret@{web}/x.csv")
    (delivery,) = origin.pending(None)
    assert delivery.name == f"http://me@{web}/x.csv"
    assert delivery.latest is not None
    assert origin.schema(delivery).names == ["a", "b"]
    assert read(origin, delivery) == rows
    with pytest.raises(PortraitError, match=f"no file matches http://me@{web}/y.csv;"):
        connect(f"http://me:the-secret@{web}/y.csv").pending(None)


def test_a_web_server_that_is_down(connect: Callable) -> None:
    with pytest.raises(SourceUnavailable, match="does not answer"):
        connect("http://127.0.0.1:9/x.csv").pending(None)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://bucket/a:b@c.csv", "s3://bucket/a:b@c.csv"),
        ("sftp://me:p@ss@host/x", "sftp://me@host/x"),
        ("sftp://me@host/x", "sftp://me@host/x"),
        ("abfs://box@account.dfs.core.windows.net/x", "abfs://box@account.dfs.core.windows.net/x"),
        ("https://host/x.csv?sig=abc", "https://host/x.csv?..."),
    ],
)
def test_urls_are_shown_without_passwords(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_an_unknown_setting(
    s3: ThreadedMotoServer, make_source: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3fs.S3FileSystem, "__init__", lambda self: None)
    monkeypatch.setitem(fsspec.config.conf, "s3", {"colour": "red"})
    _, source = make_source("s3://b/x.csv")
    with pytest.raises(
        PortraitError, match=r"s3:// a setting of the store is unknown; check the variables FSSPEC_S3_\*"
    ):
        RemoteStorage(source).look("s3://b/x.csv")
