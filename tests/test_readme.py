"""What the README and the other pages promise exists, and their SQL runs."""

import re
from pathlib import Path

import pytest
import typer
from portrait.cli import app
from portrait.config import load_settings
from portrait.warehouse import Warehouse
from portrait.warehouse.describe import describe

ROOT = Path(__file__).parents[1]
READMES = ("README.md", "README.zh-CN.md")
PAGES = sorted(
    str(p.relative_to(ROOT))
    for p in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/decisions/*.md")]
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
BINARY = {".png"}


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    """The fenced code blocks of a page in one language."""
    return [body for found, body in FENCE.findall(page(name)) if found == language]


def code(name: str) -> list[str]:
    """Lines of shell in a page, and what it puts between backticks."""
    lines = [
        line for language in ("bash", "") for body in blocks(name, language) for line in body.splitlines()
    ]
    return lines + re.findall(r"`([^`\n]+)`", FENCE.sub("", page(name)))


def table(name: str, first_cell: str) -> list[list[str]]:
    """Rows of a page's tables whose first cell is a name in backticks of this form."""
    row = re.compile(rf"^\| `({first_cell})` \|(.*)\|$", re.MULTILINE)
    return [[first, *(c.strip() for c in rest.split("|"))] for first, rest in row.findall(page(name))]


@pytest.mark.parametrize("name", READMES)
def test_every_query_runs(name: str, warehouse: Warehouse) -> None:
    queries = blocks(name, "sql")
    assert len(queries) >= 3
    for query in queries:
        with warehouse.begin() as connection:
            connection.exec_driver_sql(query).fetchall()


def test_both_languages_have_the_same_code() -> None:
    for language in ("sql", "text"):
        assert blocks("README.zh-CN.md", language) == blocks("README.md", language)
    commands = [
        [re.sub(r"\s+#.*", "", line) for block in blocks(name, "bash") for line in block.splitlines()]
        for name in READMES
    ]
    assert commands[0] == commands[1]


def test_both_languages_have_the_same_figures() -> None:
    """A table row of figures is the same but for the name in front."""
    english, chinese = (
        re.findall(r"^\| [\w（）() ]+ ((?:\| 0\.\d{4} )+)\|$", page(n), re.MULTILINE) for n in READMES
    )
    assert english == chinese
    assert english


@pytest.mark.parametrize("name", READMES)
def test_the_dag_table_is_complete(name: str) -> None:
    expected = {f"ingest_{s.name}": f"raw.{s.entity}/{s.name}" for s in load_settings({}).sources.sources}
    expected["nightly"] = expected["audiences"] = "profile.customer_profile"
    found = {
        row[0]: re.findall(r"`([^`]+)`", row[-1]) for row in table(name, r"ingest_\w+|nightly|audiences")
    }
    assert found == {dag: [asset] for dag, asset in expected.items()}


@pytest.mark.parametrize("name", READMES)
def test_the_table_of_tables_is_complete(name: str, warehouse: Warehouse) -> None:
    views = warehouse.rows(
        "select c.relname as view, array_agg(a.attname::text) as columns from pg_class c "
        "join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 "
        "where c.relnamespace = 'profile'::regnamespace and c.relkind = 'v' and not starts_with(c.relname, 'served_') group by 1"
    )
    columns = {f"profile.{v['view']}": set(v["columns"]) for v in views}
    rows = table(name, r"profile\.\w+")
    assert sorted(row[0] for row in rows) == sorted(columns)
    values = {"new", "again"}
    for view, *cells in rows:
        named = set(re.findall(r"`([^`]+)`", cells[-1])) - values
        assert named <= columns[view], view


@pytest.mark.parametrize("name", PAGES)
def test_make_targets_exist(name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", page("Makefile"), re.MULTILINE))
    named = {m for line in code(name) for m in re.findall(r"(?:^|[\s|;&])make ([a-z][a-z-]*)", line)}
    assert named <= targets


@pytest.mark.parametrize("name", PAGES)
def test_portrait_commands_exist(name: str) -> None:
    command = typer.main.get_command(app)
    known = {("portrait", name) for name in command.commands}  # type: ignore[attr-defined]
    known |= {("db", name) for name in command.commands["db"].commands}  # type: ignore[attr-defined]
    called = re.compile(r"(?:^|\.venv/bin/|airflow-scheduler )portrait (?!-)(?:(db) )?([a-z][a-z-]*)\b")
    assert {(m[0] or "portrait", m[1]) for line in code(name) for m in called.findall(line)} <= known


@pytest.mark.parametrize("name", PAGES)
def test_links_and_pictures_exist(name: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page(name))):
        if re.match(r"https?://|mailto:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {
                re.sub(r"[^\w\- ]", "", h).strip().lower().replace(" ", "-") for h in headings
            }, target


def test_pictures_are_small() -> None:
    pictures = list((ROOT / "docs" / "images").iterdir())
    assert pictures
    for picture in pictures:
        assert picture.suffix in BINARY
        assert picture.stat().st_size < 200 * 1024, picture.name


def test_the_table_reference_is_current(warehouse: Warehouse) -> None:
    assert page("docs/tables.md") == describe(warehouse), (
        "docs/tables.md is out of date; `.venv/bin/portrait db migrate && "
        ".venv/bin/portrait db describe > docs/tables.md` writes it anew"
    )
