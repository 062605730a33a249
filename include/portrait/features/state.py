"""What a run leaves for the next one, which computes only what changed since."""

import json
import logging
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from portrait.config import Settings
from portrait.features.facts import Facts, facts_dir
from portrait.run import Run

log = logging.getLogger(__name__)

FORMAT = 4


@dataclass(frozen=True)
class State:
    """What a run's features were made from. Their tables are beside it in the same folder.

    Attributes
    ----------
    made_with : configuration, engine, epoch: two runs that differ have nothing in common.
    as_of : the run's date.
    facts : the facts it used, of all dates.
    text_trained_on : as_of of the run that trained its text model.
    text_products : digest of the products that its text vectors are of.
    """

    folder: Path
    made_with: str
    as_of: date
    facts: Facts
    text_trained_on: date | None = None
    text_products: str = ""

    def table(self, name: str) -> Path:
        """A table of the state: what it says of customers one by one, by position and sorted by it."""
        return self.folder / f"{name}.parquet"

    @property
    def owners(self) -> Path:
        """The identity map the run used, in integers."""
        return self.table("owners")

    @property
    def text(self) -> Path:
        """Folder of the run's text vectors."""
        return self.folder.parent / "text"

    @property
    def text_model(self) -> Path:
        """Folder of the run's text model."""
        return self.text / "model"

    @property
    def cells(self) -> Path:
        """Folder of the cells."""
        return self.folder / "cells"

    @property
    def sequences(self) -> Path:
        """Folder of the sequences."""
        return self.folder / "sequences"

    def write(self) -> None:
        """The last file of a state."""
        content = {
            "made_with": self.made_with,
            "as_of": str(self.as_of),
            "days": self.facts.days,
            "files": self.facts.files,
            "text_trained_on": str(self.text_trained_on) if self.text_trained_on else None,
            "text_products": self.text_products,
        }
        (self.folder / "state.json").write_text(json.dumps(content, sort_keys=True), encoding="utf-8")


def state_dir(features: Path) -> Path:
    return features / "state"


def read_state(settings: Settings, features: Path) -> State | None:
    """The state in a run's features folder, if there is a whole one."""
    folder = state_dir(features)
    path = folder / "state.json"
    if not path.is_file():
        return None
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    facts = Facts(facts_dir(settings), content["days"], content["files"])
    trained = content["text_trained_on"]
    return State(
        folder,
        content["made_with"],
        date.fromisoformat(content["as_of"]),
        facts,
        date.fromisoformat(trained) if trained else None,
        content.get("text_products", ""),
    )


def last_state(settings: Settings, run: Run, made_with: str) -> State | None:
    """The newest state, of a date up to the run's, that tonight can go on from; None: everything is computed."""
    found = []
    for features in settings.run_dir("*").parent.glob("*/features"):
        state = read_state(settings, features)
        if state is not None and state.made_with == made_with and state.as_of <= run.as_of:
            found.append(state)
    usable = [s for s in found if s.facts.is_there and s.owners.is_file()]
    if not usable:
        return None
    return max(usable, key=lambda s: (s.as_of, s.folder.stat().st_mtime_ns))
