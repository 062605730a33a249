"""A benchmark's result: one row a model, printed as a table or written as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """A mean over users with its standard error (None where it has none)."""

    value: float
    standard_error: float | None = None

    def __str__(self) -> str:
        if self.standard_error is None:
            return f"{self.value:.4f}"
        return f"{self.value:.4f} ±{self.standard_error:.4f}"


@dataclass(frozen=True)
class Row:
    """One model's figures.

    Attributes
    ----------
    figures : column heading ("NDCG@100") -> its figure on the test users, in the order of the columns.
    validation : the same for the validation users; the settings are to be chosen by these.
    fit_seconds : wall time of the training.
    params : the parameters that the model ran with.
    """

    model: str
    figures: dict[str, Figure]
    validation: dict[str, Figure] = field(default_factory=dict)
    fit_seconds: float = 0.0
    params: dict[str, Any] = field(default_factory=dict)


def table(title: str, rows: Sequence[Row]) -> "Table":
    """A rich table: test figures, validation figures, training time."""
    from rich.table import Table

    printed = Table("model", title=title, title_justify="left")
    test = list(dict.fromkeys(name for row in rows for name in row.figures))
    validation = list(dict.fromkeys(name for row in rows for name in row.validation))
    for heading in [*test, *(f"validation {name}" for name in validation), "fit"]:
        printed.add_column(heading, justify="right")
    for row in rows:
        printed.add_row(
            row.model,
            *(_cell(row.figures, name) for name in test),
            *(_cell(row.validation, name) for name in validation),
            f"{row.fit_seconds:.1f} s",
        )
    return printed


def _cell(figures: dict[str, Figure], name: str) -> str:
    return str(figures[name]) if name in figures else ""


def write_json(file: Path, dataset: Path, protocol: str, rows: Sequence[Row]) -> None:
    """All that the table shows, and the parameters, for other programs."""
    content = {"dataset": dataset.name, "protocol": protocol, "rows": [asdict(row) for row in rows]}
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
