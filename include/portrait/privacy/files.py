"""Erasing from files: the lake, the folders of runs, exports, the API's cache. Each file is written beside and renamed."""

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlalchemy import text

from portrait.config import Settings
from portrait.drafts import draft_of
from portrait.features.codes import code_of
from portrait.features.lake import LAKE_TABLES, LakeFile, LakeTable, Manifest
from portrait.features.positions import customer_index
from portrait.features.snapshot import LOCK
from portrait.ingest.suppression import PRIORITY, PURCHASE_EVENTS
from portrait.profiles.archive_files import archives_dir, reseal
from portrait.warehouse import Warehouse

ERASED = "erased:"
"""In place of an id whose position must stay."""
_TELLING = ("customer_id", "customer", "member_id", "source", "source_row_id")
"""Columns that say whose a row is, beside the numbers of identifiers."""


def codes_of(identifiers: list[tuple[str, str]]) -> dict[str, list[int]]:
    """Kind -> numbers of identifiers in the lake."""
    if not identifiers:
        return {}
    with duckdb.connect() as engine:
        engine.register(
            "named", pa.table({"kind": [k for k, _ in identifiers], "value": [v for _, v in identifiers]})
        )
        rows = engine.execute(f"select kind, {code_of('value')} from named").fetchall()
    found: dict[str, list[int]] = {}
    for kind, code in rows:
        found.setdefault(kind, []).append(code)
    return found


class FileEraser:
    """Erases customers (ids, identifiers, rows of the member table) from the workspace's files."""

    def __init__(
        self,
        settings: Settings,
        warehouse: Warehouse,
        ids: list[str],
        identifiers: list[tuple[str, str]],
        members: list[tuple[str, str]],
    ) -> None:
        self.settings, self.warehouse, self.members = settings, warehouse, members
        self.ids = pa.array(ids, pa.string())
        self.codes = {k: pa.array(v, pa.int64()) for k, v in codes_of(identifiers).items()}
        self.counts: Counter[str] = Counter()

    def erase(self) -> None:
        self.positions = self._positions()
        with self.warehouse.begin() as guard:
            # A snapshot that began before the erasure may still write what it read.
            guard.execute(text("select pg_advisory_xact_lock(:k)"), {"k": LOCK})
            self._lake()
        facts = sorted(self.settings.lake_dir.glob("facts/*.parquet"))
        self._rewrite_all([f for f in facts if not f.name.endswith(".cleaned.parquet")], "lake/facts")
        for run in sorted((self.settings.workspace_dir / "runs").glob("*")):
            self._rewrite_all(sorted(run.rglob("*.parquet")), "runs")
            for folder in sorted({p.parent for p in run.rglob("indptr.npy")}):
                self._blank(folder, "indptr", ("data", "indices"))
            for folder in sorted({p.parent for p in run.rglob("pointer.npy")}):
                names = tuple(p.stem for p in folder.glob("*.npy") if p.stem != "pointer")
                self._blank(folder, "pointer", names)
        for path in self._rewrite_all(sorted(archives_dir(self.settings).glob("*/*/*.parquet")), "archive"):
            reseal(path)
        if self._tombstones(customer_index(self.settings)):
            self.counts["files of positions rewritten"] += 1
        exports = self.settings.workspace_dir / "exports"
        self._rewrite_all(sorted(exports.rglob("*.parquet")), "exports")
        for path in sorted(exports.rglob("*.csv")):
            self._lines(path)
        # The API makes it anew from the files above.
        shutil.rmtree(self.settings.workspace_dir / "serving" / "histories", ignore_errors=True)

    def _positions(self) -> np.ndarray:
        index = customer_index(self.settings)
        if not index.is_file():
            return np.empty(0, np.int32)
        table = pq.read_table(index)
        return table.filter(pc.is_in(table["customer_id"], value_set=self.ids))["row"].to_numpy()

    def _lake(self) -> None:
        manifest = Manifest.read(self.settings.lake_dir)
        for name in LAKE_TABLES:
            table = LakeTable(self.settings.lake_dir, name)
            for path in self._rewrite_all(sorted(table.path.rglob("part.parquet")), f"lake/{name}"):
                day = path.parent.name.partition("=")[2] if table.partitioned else "all"
                if day in manifest.files.get(name, {}):
                    digest = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
                    manifest.files[name][day] = LakeFile(pq.read_metadata(path).num_rows, digest)
        if manifest.files:
            manifest.write()

    def _rewrite_all(self, paths: Sequence[Path], place: str) -> list[Path]:
        """Take their rows out of Parquet files, as many at once as there are cores; gives those that had any."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            done = [path for path, had in zip(paths, pool.map(self._rewrite, paths), strict=True) if had]
        of_positions = [path for path in done if _is_of_positions(pq.read_schema(path).names)]
        for what, number in ((place, len(done) - len(of_positions)), ("of positions", len(of_positions))):
            if number:
                self.counts[f"files {what} rewritten"] += number
        return done

    def _rewrite(self, path: Path) -> bool:
        """Take their rows out of a Parquet file; whether there were any."""
        names = pq.read_schema(path).names
        if _is_of_positions(names):
            return self._tombstones(path)
        by_position = "state" in path.parts or path.name == "purchases.parquet"
        telling = [n for n in names if n in _TELLING or n.endswith("_code")]
        if not telling:
            return False
        # Most files of a night have nobody of them: what tells it is a fraction of a file.
        glance = pq.ParquetFile(path).read(columns=telling)
        if self._without(glance, by_position) is glance:
            return False
        _replace(path, self._without(pq.ParquetFile(path).read(), by_position))
        return True

    def _without(self, table: pa.Table, by_position: bool) -> pa.Table:
        names = table.schema.names
        gone = pa.repeat(False, table.num_rows)
        if "customer_id" in names:
            gone = pc.is_in(table["customer_id"], value_set=self.ids)
        elif by_position and "customer" in names:
            gone = pc.is_in(
                table["customer"].cast(pa.int64()), value_set=pa.array(self.positions, pa.int64())
            )
        elif "member_id" in names and self.members:
            keys = pa.array(["\x1f".join(m) for m in self.members])
            gone = pc.is_in(
                pc.binary_join_element_wise(table["source"], table["source_row_id"], "\x1f"), value_set=keys
            )
        elif any(f"{k}_code" in names for k in PRIORITY):
            return self._without_codes(table)
        if not pc.any(gone).as_py():
            return table
        return table.filter(pc.invert(gone))

    def _without_codes(self, table: pa.Table) -> pa.Table:
        """As in `raw`: behaviour goes, purchases become nobody's."""
        kinds = [k for k in PRIORITY if f"{k}_code" in table.schema.names]
        empty = pa.array([], pa.int64())
        masks = {k: pc.is_in(table[f"{k}_code"], value_set=self.codes.get(k, empty)) for k in kinds}
        if not any(pc.any(m).as_py() for m in masks.values()):
            return table
        unknown = pa.scalar(None, pa.bool_())
        theirs = pc.fill_null(
            pc.coalesce(*[pc.if_else(pc.is_valid(table[f"{k}_code"]), masks[k], unknown) for k in kinds]),
            False,
        )
        for kind in kinds:
            name = f"{kind}_code"
            kept = pc.if_else(pc.or_(masks[kind], theirs), pa.scalar(None, pa.int64()), table[name])
            table = table.set_column(table.schema.get_field_index(name), name, kept)
        names = table.schema.names
        if "session_id" in names:
            kept = pc.if_else(theirs, pa.scalar(None, pa.string()), table["session_id"])
            table = table.set_column(names.index("session_id"), "session_id", kept)
        if "event_name" not in names:
            return table
        bought = [*PURCHASE_EVENTS, *self.settings.features.purchases, *self.settings.features.refunds]
        keep = pc.or_(pc.invert(theirs), pc.is_in(table["event_name"], value_set=pa.array(bought)))
        return table.filter(keep)

    def _tombstones(self, path: Path) -> bool:
        """Positions never move: the id of one goes, its place stays."""
        if not path.is_file():
            return False
        table = pq.read_table(path)
        theirs = pc.is_in(table["customer_id"], value_set=self.ids)
        if not pc.any(theirs).as_py():
            return False
        stones = pc.binary_join_element_wise(ERASED, table["row"].cast(pa.string()), "")
        ids = pc.if_else(theirs, stones, table["customer_id"])
        table = table.set_column(table.schema.get_field_index("customer_id"), "customer_id", ids)
        if "current" in table.schema.names:
            current = pc.and_(table["current"], pc.invert(theirs))
            table = table.set_column(table.schema.get_field_index("current"), "current", current)
        _replace(path, table)
        return True

    def _blank(self, folder: Path, pointer: str, names: tuple[str, ...]) -> None:
        """Overwrite rows of a matrix where they are: it may have gigabytes, and who maps it sees it at once.

        Cells keep their number, in columns 0, 1, …, with the value 0.
        """
        bounds = np.load(folder / f"{pointer}.npy", mmap_mode="r")
        rows = [p for p in self.positions.tolist() if p + 1 < len(bounds) and bounds[p] < bounds[p + 1]]
        for name in names:
            path = folder / f"{name}.npy"
            if not rows or name == "shape":
                continue
            array = np.load(path, mmap_mode="r+")
            for row in rows:
                start, end = int(bounds[row]), int(bounds[row + 1])
                array[start:end] = np.arange(end - start) if name in ("indices", "item") else 0
            array.flush()
        if rows:
            self.counts["matrices blanked"] += 1

    def _lines(self, path: Path) -> None:
        ids = set(self.ids.to_pylist())
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.split(",", 1)[0].strip().strip('"') not in ids]
        if len(kept) < len(lines):
            with draft_of(path) as draft:
                draft.write_text("".join(kept), encoding="utf-8")
            self.counts["files exports rewritten"] += 1


def _is_of_positions(names: Sequence[str]) -> bool:
    """Whether a file says which customer is in which row of the matrices."""
    return "customer_id" in names and "row" in names


def _replace(path: Path, table: pa.Table) -> None:
    with draft_of(path) as draft:
        pq.write_table(table, draft, compression="zstd")
