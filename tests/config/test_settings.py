"""Every mistake in a configuration file is one line: the file, the key in its own words, the remedy."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from portrait.config import load_settings
from portrait.errors import PortraitError
from pydantic import ValidationError

HEAD = "workspace: test\nsources:\n"
STORES = """\
  - name: stores
    entity: store
    path: stores.csv
    format: csv
    columns: {store_id: id, name: name}
"""
EVENTS = """\
  - name: events
    entity: online_event
    path: events.csv
    format: csv
    columns: {event_id: id, event_name: what, occurred_at: at}
"""

Error = Callable[..., str]


@pytest.fixture
def error(tmp_path: Path) -> Error:
    """The message that a `sources.yaml` is refused with, checked to be one line that starts with the file."""

    def refuse(content: str | bytes, **environ: str) -> str:
        path = tmp_path / "my-sources.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(PortraitError) as caught:
            load_settings(environ, path)
        message = str(caught.value)
        assert len(message.splitlines()) == 1
        assert message.startswith(f"{path}:")
        return message.removeprefix(f"{path}:").strip()

    return refuse


def replaced(text: str, old: str, new: str) -> str:
    assert old in text
    return HEAD + text.replace(old, new)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(
            HEAD + "  - name: [a\n", "line 4 is not valid YAML (expected ',' or ']', but got", id="syntax"
        ),
        pytest.param("workspace:\ttest\n", "line 1 is not valid YAML", id="tab"),
        pytest.param("- a\n- b\n", "expected keys and values at the top level, found list", id="a list"),
        pytest.param("", "expected keys and values at the top level, found NoneType", id="empty file"),
        pytest.param(
            HEAD + STORES + "    path: other.csv\n",
            "line 8 is not valid YAML ('path' is written twice)",
            id="key twice",
        ),
        pytest.param("workspace: test\n", "sources: missing; add it", id="no sources"),
        pytest.param("workspace: test\nsources: []\n", "sources: must not be empty", id="no source"),
        pytest.param(
            "workspace: My Shop\nsources:\n" + STORES,
            "workspace: 'My Shop' does not match ^[a-z][a-z0-9_]{0,39}$",
            id="workspace",
        ),
        pytest.param(
            "workspce: test\nsources:\n" + STORES,
            "workspce: unknown key; did you mean 'workspace'?",
            id="unknown top key",
        ),
        pytest.param(
            replaced(STORES, "path:", "paht:"),
            "sources[stores].paht: unknown key; did you mean 'path'?",
            id="unknown source key",
        ),
        pytest.param(
            replaced(STORES, "name: name}", "name: {colum: name}}"),
            "sources[stores].columns.name.colum: unknown key; did you mean 'column'?",
            id="unknown mapping key",
        ),
        pytest.param(
            replaced(STORES, "format: csv", "format: xlsx"),
            "sources[stores].format: Input should be 'csv', 'jsonl' or 'parquet'",
            id="format",
        ),
        pytest.param(
            replaced(STORES, "    path: stores.csv\n", ""),
            "sources[stores]: give exactly one of path, database, http",
            id="no path",
        ),
        pytest.param(
            replaced(STORES, "entity: store", "entity: shop"),
            "sources[stores].entity: unknown entity 'shop'; one of online_event, pos_receipt,",
            id="entity",
        ),
        pytest.param(
            replaced(STORES, "{store_id: id", "{stor_id: id"),
            "sources[stores]: columns: 'stor_id' is not a column of store; did you mean 'store_id'?",
            id="unknown column",
        ),
        pytest.param(
            replaced(STORES, "store_id: id, ", ""),
            "sources[stores]: columns: store needs store_id",
            id="required column",
        ),
        pytest.param(
            replaced(EVENTS, "event_id: id, ", ""),
            "sources[events]: map event_id under columns, or list under 'key' the source columns",
            id="no key",
        ),
        pytest.param(
            replaced(EVENTS, "    columns", "    key: id\n    columns"),
            "sources[events].key: expected a list; write [first, second]",
            id="key is no list",
        ),
        pytest.param(
            replaced(EVENTS, "what", "{column: what, constant: order_completed}"),
            "sources[events].columns.event_name: give exactly one of column, constant, sql",
            id="two origins",
        ),
        pytest.param(
            replaced(EVENTS, "what", "{constant: [a]}"),
            "sources[events].columns.event_name.constant: ",
            id="constant",
        ),
        pytest.param(
            replaced(STORES, "name: name}", "name: {column: name, format: '%Y'}}"),
            "sources[stores]: columns: 'name' is text; format is for dates and times, remove it",
            id="format of a text",
        ),
        pytest.param(
            replaced(EVENTS, "occurred_at: at", "occurred_at: at, phone: tel, account_id: tel"),
            "sources[events]: columns: 'account_id' would store 'tel' in clear, which is mapped to phone;",
            id="phone in clear",
        ),
        pytest.param(
            replaced(EVENTS, "    columns: {", "    key: [tel, at]\n    columns: {phone: tel, "),
            "sources[events]: key would store 'tel' in clear, which is mapped to phone; use another column",
            id="phone in key",
        ),
        pytest.param(
            replaced(EVENTS, "name: events", "name: correction"),
            "sources[correction].name: 'correction' is what Portrait writes by itself; choose another name",
            id="a name of ours",
        ),
        pytest.param(
            HEAD + STORES + STORES, "sources: name used twice: stores; rename one", id="source name twice"
        ),
        pytest.param(
            "timezone: Asia/Peking\n" + HEAD + STORES,
            "timezone: unknown time zone 'Asia/Peking'; for example Asia/Shanghai",
            id="time zone",
        ),
        pytest.param(
            HEAD + STORES + "    timezone: ../etc\n",
            "sources[stores].timezone: unknown time zone '../etc'; for example Asia/Shanghai",
            id="time zone of a source",
        ),
        pytest.param(
            "phone_region: ZZ\n" + HEAD + STORES, "phone_region: unknown region 'ZZ'; a country", id="region"
        ),
        pytest.param(
            HEAD + STORES + "    schedule: every night\n",
            "sources[stores].schedule: 'every night' is no cron expression; five fields, for example",
            id="cron",
        ),
        pytest.param(
            "schedule: '0 25 * * *'\n" + HEAD + STORES,
            "schedule: '0 25 * * *' is no cron expression",
            id="cron of all",
        ),
        pytest.param(
            HEAD + STORES + "    deadline: 14:30\n",
            "sources[stores].deadline: deadline: put the time in quotes",
            id="deadline read as a number",
        ),
        pytest.param(
            HEAD + STORES + "    daily: true\n",
            "sources[stores]: daily: only a path with {business_date} says which day a file is for",
            id="daily without a date",
        ),
        pytest.param(
            HEAD + STORES + "    ready_marker: '{name}'\n",
            "sources[stores]: ready_marker: '{name}' is the file itself",
            id="marker",
        ),
        pytest.param(
            HEAD + STORES + "    database: {connection: pos, table: t}\n",
            "sources[stores]: give exactly one of path, database, http",
            id="two origins",
        ),
        pytest.param(
            replaced(STORES, "path: stores.csv\n    format: csv", "database: {connection: pos}"),
            "sources[stores].database: give exactly one of table, query",
            id="no table",
        ),
        pytest.param(
            replaced(STORES, "path: stores.csv\n    format: csv", "http: {url: 'ftp://x'}"),
            "sources[stores].http.url: url must start with http:// or https://",
            id="no web address",
        ),
        pytest.param(
            HEAD + STORES + "    encoding: utf-9\n",
            "sources[stores].encoding: unknown encoding 'utf-9'; for example utf-8 or gb18030",
            id="encoding",
        ),
        pytest.param(
            HEAD + STORES + "    max_rejected_share: 20\n",
            "sources[stores].max_rejected_share: Input should be less than or equal to 1",
            id="share",
        ),
        pytest.param(
            HEAD + STORES + "    reject:\n      - {code: Bad Code, when: x, reason: y}\n",
            "sources[stores].reject[0].code: 'Bad Code' does not match",
            id="reject code",
        ),
        pytest.param(
            replaced(STORES, "stores.csv", "${STORE_FILE}"),
            "${STORE_FILE} is not set; export STORE_FILE or write ${STORE_FILE:-default}",
            id="variable",
        ),
        pytest.param(
            "business_date: 2025-02-30\n" + HEAD + STORES,
            "holds a date or number that is none (day is out of range for month); correct it",
            id="date",
        ),
    ],
)
def test_a_mistake_is_one_line_with_file_key_and_remedy(error: Error, content: str, expected: str) -> None:
    assert error(content).startswith(expected)


def test_a_file_that_is_no_text(error: Error) -> None:
    assert error(b"\xff\xfe\x00workspace").startswith("cannot be read as UTF-8 text")


def test_a_missing_file_says_what_to_copy(tmp_path: Path) -> None:
    with pytest.raises(PortraitError, match=r"nowhere.yaml: no such file; copy include/config/sources.yaml"):
        load_settings({}, tmp_path / "nowhere.yaml")


def test_a_mistake_in_a_tuning_file_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "sources.yaml").write_text(HEAD + STORES)
    (tmp_path / "identity.yaml").write_text("prioritty: [card]\n")
    with pytest.raises(
        PortraitError, match=r"identity.yaml: prioritty: unknown key; did you mean 'priority'\?"
    ):
        load_settings({"PORTRAIT_CONFIG_DIR": str(tmp_path)})


def test_a_device_is_one_that_portrait_knows(tmp_path: Path) -> None:
    delivered = Path(__file__).parents[2] / "include" / "config"
    shutil.copytree(delivered, tmp_path, dirs_exist_ok=True)
    content = (delivered / "model.yaml").read_text()
    for device in ("auto", "cpu", "cuda", "cuda:1"):
        (tmp_path / "model.yaml").write_text(content.replace("device: auto", f"device: {device}"))
        assert load_settings({"PORTRAIT_CONFIG_DIR": str(tmp_path)}).models.device == device
    (tmp_path / "model.yaml").write_text(content.replace("device: auto", "device: gpu"))
    with pytest.raises(PortraitError, match=r"model.yaml: device: 'gpu' does not match .*auto\|cpu\|cuda"):
        load_settings({"PORTRAIT_CONFIG_DIR": str(tmp_path)})


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({}, "fallback.csv"),
        ({"FILE": ""}, "fallback.csv"),
        ({"FILE": "mine.csv"}, "mine.csv"),
        ({"FILE": "/abs/${X}"}, "/abs/${X}"),
    ],
)
def test_variables_have_defaults(tmp_path: Path, environ: dict[str, str], path: str) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(replaced(STORES, "stores.csv", "${FILE:-fallback.csv}"))
    assert load_settings(environ, file).sources.sources[0].path == path


def test_a_merge_key_may_be_overridden(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    second = EVENTS.replace("name: events", "name: more").replace("{event_id", "{<<: *all, event_id")
    first = EVENTS.replace("columns: {", "columns: &all {channel: {constant: app}, ")
    file.write_text(HEAD + first + second)
    more = load_settings({}, file).sources.source("more")
    assert more.columns["channel"].constant == "app"
    assert more.columns["event_id"].column == "id"


def test_numbers_may_name_values(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(
        replaced(EVENTS, "what", "{column: what, values: {1: order_completed, 2: order_refunded}}")
    )
    mapping = load_settings({}, file).sources.source("events").columns["event_name"]
    assert mapping.values == {"1": "order_completed", "2": "order_refunded"}


def test_settings_are_frozen_and_paths_start_at_the_file(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(HEAD + STORES)
    settings = load_settings({"PORTRAIT_HOME": str(tmp_path / "home")}, file)
    assert settings.source_path("a/b.csv") == str(tmp_path / "a" / "b.csv")
    assert settings.source_path("/x/b.csv") == "/x/b.csv"
    assert settings.source_path("s3://bucket/b.csv") == "s3://bucket/b.csv"
    assert settings.source_path("{simulated}/b.csv") == str(tmp_path / "home" / "test" / "sources" / "b.csv")
    with pytest.raises(ValidationError, match="frozen"):
        settings.sources.sources[0].path = "x"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        settings.home = tmp_path  # type: ignore[misc]


def test_an_unknown_source_lists_those_there_are(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(HEAD + STORES + EVENTS)
    with pytest.raises(PortraitError, match="unknown source 'store'; sources.yaml has stores, events"):
        load_settings({}, file).sources.source("store")


@pytest.mark.parametrize("name", ["sources.yaml", "examples/online_retail.yaml", "examples/article_csv.yaml"])
def test_the_delivered_configurations_are_valid(name: str) -> None:
    folder = Path(__file__).parents[2] / "include" / "config"
    assert load_settings({}, folder / name).sources.sources
