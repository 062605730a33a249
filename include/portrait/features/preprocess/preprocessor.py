"""What is learnt on training customers, kept with a model version and applied when customers are scored."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import sklearn
import skops.io
from sklearn.compose import ColumnTransformer

from portrait.config.preprocess import Preprocess
from portrait.drafts import draft_of
from portrait.errors import PortraitError
from portrait.features.preprocess.frame import frame
from portrait.features.preprocess.transformers import column_transformer

FORMAT = 1
FITTED_FILE = "preprocess.skops"
METADATA_FILE = "preprocess.json"
TRUSTED = [
    "portrait.features.preprocess.impute.GroupImputer",
    "portrait.features.preprocess.impute.WasMissing",
]
"""Types of our own that a saved file may hold; skops knows those of scikit-learn and NumPy, and refuses all others."""
CHUNK = 100_000


@dataclass(frozen=True)
class Preprocessor:
    """Fitted preprocessing.

    Attributes
    ----------
    entries : `preprocess` of features.yaml as it was.
    transformer : fitted.
    trained_through : date up to which the training features looked.
    customers : of training.
    """

    entries: tuple[Preprocess, ...]
    transformer: ColumnTransformer
    trained_through: date
    customers: int

    @classmethod
    def fit(cls, entries: Sequence[Preprocess], training: pa.Table, trained_through: date) -> "Preprocessor":
        """Learn from training customers.

        Parameters
        ----------
        training : one row a customer, features as they were at the cut-off (`families.wide.features_at`): neither
            held-out days nor held-out customers may be in it.
        trained_through : the cut-off.

        Raises
        ------
        PortraitError : naming the entry of features.yaml that does not fit the features.
        """
        if not entries:
            raise PortraitError("features.yaml: preprocess is empty; list the features that a model may see")
        if not training.num_rows:
            raise PortraitError(
                f"no customer up to {trained_through} to fit preprocess on; load more history"
            )
        for entry in entries:
            if (
                entry.column in training.column_names
                and training[entry.column].null_count == training.num_rows
            ):
                raise PortraitError(
                    f"features.yaml: preprocess: no training customer has a value of '{entry.column}'; remove it"
                )
        transformer = column_transformer(entries).fit(frame(entries, training))
        return cls(tuple(entries), transformer, trained_through, training.num_rows)

    @property
    def names(self) -> list[str]:
        """Of the output's columns, [d]."""
        return [str(n) for n in self.transformer.get_feature_names_out()]

    def transform(self, table: pa.Table) -> tuple[np.ndarray, list[str]]:
        """Apply what was learnt.

        Returns
        -------
        values : float32 [n, d], rows as in `table`.
        names : [d].

        Raises
        ------
        PortraitError : for an absent column, a missing value without `impute`, an unknown category with `unknown: error`.
        """
        names = self.names
        values = np.empty((table.num_rows, len(names)), dtype=np.float32)
        for start in range(0, table.num_rows, CHUNK):
            found = frame(self.entries, table.slice(start, CHUNK))
            for entry in self.entries:
                if entry.encode and entry.unknown == "error":
                    self._check_known(entry, found[entry.column].dropna().unique())
            values[start : start + CHUNK] = self.transformer.transform(found)
        return values, names

    def _check_known(self, entry: Preprocess, values: np.ndarray) -> None:
        encoder = self.transformer.named_transformers_[entry.column].named_steps["encode"]
        if strange := sorted(set(values) - set(encoder.categories_[0])):
            raise PortraitError(
                f"feature '{entry.column}' has {len(strange)} values that training (through {self.trained_through}) did "
                f"not meet, first {strange[0]!r}; correct them, train again, or say unknown: ignore in features.yaml"
            )

    def save(self, folder: Path) -> None:
        """Write two files to a model version's folder: what was fitted (skops, no pickle), and what it is (JSON).

        The JSON is written last and holds the other's digest: half a save is noticed by `load`.
        """
        folder.mkdir(parents=True, exist_ok=True)
        content = skops.io.dumps(self.transformer)
        metadata = {
            "format": FORMAT,
            "scikit_learn": sklearn.__version__,
            "sha256": sha256(content).hexdigest(),
            "trained_through": str(self.trained_through),
            "customers": self.customers,
            "names": self.names,
            "entries": [e.model_dump(mode="json") for e in self.entries],
        }
        _write(folder / FITTED_FILE, content)
        _write(folder / METADATA_FILE, (json.dumps(metadata, indent=1) + "\n").encode())

    @classmethod
    def load(cls, folder: Path) -> "Preprocessor":
        """Read what `save` wrote. No code of the file runs: only types that are known are made.

        Raises
        ------
        PortraitError : when the files are absent, damaged, or of another version of Portrait or scikit-learn.
        """
        metadata, content = _read(folder)
        if sha256(content).hexdigest() != metadata["sha256"]:
            raise PortraitError(
                f"{folder / FITTED_FILE} is not the file that was saved; train the model again"
            )
        try:
            transformer = skops.io.loads(content, trusted=TRUSTED)
        except skops.io.exceptions.UntrustedTypesFoundException as error:
            raise PortraitError(
                f"{folder / FITTED_FILE} holds types of unknown origin; train again ({error})"
            ) from None
        return cls(
            tuple(Preprocess(**e) for e in metadata["entries"]),
            transformer,
            date.fromisoformat(metadata["trained_through"]),
            metadata["customers"],
        )


def _read(folder: Path) -> tuple[dict[str, Any], bytes]:
    try:
        metadata: dict[str, Any] = json.loads((folder / METADATA_FILE).read_text(encoding="utf-8"))
        content = (folder / FITTED_FILE).read_bytes()
    except FileNotFoundError as error:
        raise PortraitError(f"{error.filename}: no such file; train the model again") from None
    except ValueError as error:
        raise PortraitError(
            f"{folder / METADATA_FILE}: not readable as JSON ({error}); train again"
        ) from None
    found = (metadata.get("format"), metadata.get("scikit_learn"))
    if found != (FORMAT, sklearn.__version__):
        raise PortraitError(
            f"{folder}: preprocessing of format {found[0]} and scikit-learn {found[1]}; this is format {FORMAT} and "
            f"{sklearn.__version__}: train the model again"
        )
    return metadata, content


def _write(path: Path, content: bytes) -> None:
    with draft_of(path) as draft:
        draft.write_bytes(content)
