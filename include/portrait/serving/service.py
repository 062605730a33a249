"""What one worker keeps: its connections, the keys, the published night, the champion; looked at anew every second."""

import asyncio
import logging
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.features.positions import item_index
from portrait.ingest.keys import keyring
from portrait.models.nightly.inputs import inputs_of
from portrait.run import Run
from portrait.serving import telemetry
from portrait.serving.champion import Champion
from portrait.serving.database import Database, DatabaseBusy, statement
from portrait.serving.histories import open_histories
from portrait.serving.keyring import Keyring
from portrait.serving.limits import Limiter
from portrait.serving.lookup import Hasher
from portrait.serving.mapped import load_mapped
from portrait.warehouse import open_warehouse

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shown:
    """The night that readers see, and the champion that serves beside it."""

    run_id: str | None
    as_of: date | None
    published_at: datetime | None
    champion_version: str | None
    champion_path: str | None
    champion_since: datetime | None
    erased: int = 0
    """When customers were last erased from the files here (nanoseconds): the mapped ones are opened anew."""


NOTHING_SHOWN = Shown(None, None, None, None, None, None)


class Service:
    """One worker's state. `start` before the first request, `close` after the last."""

    database: Database
    hasher: Hasher
    limiter: Limiter

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.keyring = Keyring()
        self.shown = NOTHING_SHOWN
        self.champion: Champion | None = None
        self.refreshed_at = 0.0
        """Monotonic moment of the last successful look; 0 before the first."""
        self.trouble: str | None = None
        """Why the champion that should serve does not."""
        self.scoring = asyncio.Lock()
        """Big batches are scored one at a time: each may hold a hundred megabytes."""
        self._by_run: dict[str, Any] = {}
        self._starting = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._wanted: Shown = NOTHING_SHOWN

    @property
    def cache(self) -> Path:
        """Files that the workers share."""
        return self.settings.workspace_dir / "serving"

    async def start(self) -> None:
        """Connect, look around once, then go on looking. Starting again does nothing.

        Raises
        ------
        PortraitError : naming the setting, when the database cannot be reached or the key of the hash is missing.
        """
        async with self._starting:
            if self._task is not None:
                return
            warehouse = await asyncio.to_thread(open_warehouse, self.settings)
            self.hasher = Hasher(keyring(self.settings), self.settings.sources.phone_region)
            self.limiter = Limiter(self.cache / "limits.bin")
            self.database = await Database.connect(warehouse, self.settings)
            await self._look()
            self._task = asyncio.create_task(self._go_on_looking())

    async def close(self) -> None:
        if self._task is None:
            return
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._task = None
        await self.database.close()
        self.limiter.close()

    async def once_a_run(self, name: str, make: Any) -> Any:
        """What `make()` gave for the night that is shown; asked again when another is."""
        key = f"{self.shown.run_id}/{name}"
        if key not in self._by_run:
            self._by_run = {k: v for k, v in self._by_run.items() if k.startswith(f"{self.shown.run_id}/")}
            self._by_run[key] = await make()
        return self._by_run[key]

    async def _go_on_looking(self) -> None:
        while True:
            await asyncio.sleep(self.settings.serving.refresh_seconds)
            try:
                await self._look()
            except DatabaseBusy as error:
                log.warning("the keys and the night could not be looked at: %s", error)
            except Exception:
                # Whatever it is, the worker goes on answering with what it has; /readyz tells.
                log.exception("the keys and the night could not be looked at")

    async def _look(self) -> None:
        await self.keyring.refresh(self.database)
        (row,) = await self.database.rows(statement("state"))
        shown = Shown(
            row["run_id"],
            row["as_of"],
            row["published_at"],
            row["new_version"],
            row["new_path"],
            row["new_since"],
            _time_of(self.cache / "erased"),
        )
        self.refreshed_at = time.monotonic()
        if shown != self._wanted or (self.trouble and shown.champion_path):
            self._wanted = shown
            await self._load_champion(shown)
        self.shown = shown
        at = shown.published_at
        telemetry.standing(at.timestamp() if at else None, self.champion is not None and not self.trouble)

    async def _load_champion(self, shown: Shown) -> None:
        """Put the champion into service; the one before goes on until it is there, or for good when it cannot be."""
        if shown.champion_version is None or shown.champion_path is None:
            self.champion = None
            return
        try:
            champion = await asyncio.to_thread(self._loaded, shown)
        except (PortraitError, OSError, ValueError) as error:
            if str(error) != self.trouble:
                log.error("champion %s cannot serve: %s", shown.champion_version, error)
            self.trouble = str(error)
            return
        self.champion, self.trouble = champion, None
        log.info("champion %s serves beside run %s", shown.champion_version, shown.run_id)

    def _loaded(self, shown: Shown) -> Champion:
        assert shown.champion_path is not None
        assert shown.champion_version is not None
        folder = self.settings.models_dir / shown.champion_path / "serving"
        cache = self.cache / "models" / f"{shown.champion_version.replace('/', '_')}_{_age(folder)}"
        model = load_mapped(folder, cache)
        histories = None
        if shown.run_id is not None and shown.as_of is not None:
            run = Run(shown.run_id, shown.as_of)
            matrices = inputs_of(self.settings, run).folder
            beside = self.cache / "histories" / f"{run.run_id}_{_age(matrices)}"
            histories = open_histories(self.settings, run, beside)
            _forget_others(beside)
        _forget_others(cache)
        skus = histories.skus if histories is not None else _all_skus(self.settings)
        if len(skus) < model.n_items:
            # The night that is shown is older than the champion: it knows fewer items.
            skus = _all_skus(self.settings)
        return Champion(shown.champion_version, model, histories, skus, self.settings.serving.item_weight)


def _age(folder: Path) -> int:
    """When a folder came into its place: a night that is run again writes the same names anew."""
    return folder.stat().st_mtime_ns if folder.is_dir() else 0


def _time_of(marker: Path) -> int:
    try:
        return marker.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _forget_others(folder: Path) -> None:
    """Delete what earlier champions and nights left beside it; a worker that still maps their files keeps them."""
    for other in folder.parent.iterdir():
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)


def _all_skus(settings: Settings) -> list[str]:
    """The sku of every column there ever was."""
    import pyarrow.parquet as pq

    index = pq.read_table(item_index(settings)).sort_by("col")
    skus: list[str] = index["sku"].to_pylist()
    return skus
