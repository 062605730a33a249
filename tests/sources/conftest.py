"""A source on a file, without a database."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from portrait.config import Settings, SourceSpec, load_settings

Make = Callable[..., tuple[Settings, SourceSpec]]


@pytest.fixture
def in_place_of_sleeping(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[float], object]], None]:
    """What this thread does in place of sleeping; others of the process, such as Spark's, sleep on and are not counted."""

    def do(action: Callable[[float], object]) -> None:
        here, sleep = threading.get_ident(), time.sleep
        monkeypatch.setattr(
            "time.sleep", lambda seconds: action(seconds) if threading.get_ident() == here else sleep(seconds)
        )

    return do


@pytest.fixture
def make_source(tmp_path: Path) -> Make:
    """Settings and the one source `things` (product: sku from a, name from b) with these keys changed."""

    def make(path: str, **keys: Any) -> tuple[Settings, SourceSpec]:
        given = {"format": "csv", **keys}
        lines = "".join(f"    {k}: {v}\n" for k, v in given.items())
        file = tmp_path / "sources.yaml"
        file.write_text(
            "workspace: test\nsources:\n  - name: things\n    entity: product\n"
            f"    path: '{path}'\n    columns: {{sku: a, name: b}}\n{lines}",
            encoding="utf-8",
        )
        settings = load_settings({}, file)
        return settings, settings.sources.source("things")

    return make
