"""A text model on disk: Parquet and JSON, so that loading it runs no code."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from portrait.errors import PortraitError
from portrait.features.text.model import TextModel
from portrait.features.text.ngrams import BUCKETS, LONGEST, SHORTEST, Ngrams

FORMAT = {"format": 1, "shortest": SHORTEST, "longest": LONGEST, "buckets": BUCKETS}


def save_model(model: TextModel, folder: Path) -> None:
    """Write `model.json`, `words.parquet` and, for a model with pieces of words, `ngrams.parquet`."""
    folder.mkdir(parents=True, exist_ok=True)
    words = pa.table(
        {
            "word": pa.array(model.words, pa.string()),
            "weight": model.weights,
            "vector": vector_array(model.vectors),
        }
    )
    write_vectors(words, folder / "words.parquet")
    if model.ngrams is not None:
        pieces = pa.table({"bucket": model.ngrams.buckets, "vector": vector_array(model.ngrams.vectors)})
        write_vectors(pieces, folder / "ngrams.parquet")
    about = {**FORMAT, "method": model.method, "dimensions": model.dimensions, "rare": model.rare}
    about["pieces"] = model.ngrams is not None
    (folder / "model.json").write_text(json.dumps(about, indent=1), encoding="utf-8")


def load_model(folder: Path) -> TextModel:
    """Read what `save_model` wrote.

    Raises
    ------
    PortraitError : when there is no model, or one of another version of Portrait.
    """
    path = folder / "model.json"
    if not path.is_file():
        raise PortraitError(f"{path}: no text model; run `portrait features` for this run first")
    about = json.loads(path.read_text(encoding="utf-8"))
    if any(about.get(key) != value for key, value in FORMAT.items()):
        raise PortraitError(f"{path}: made by another version; run `portrait features` for this run again")
    words = pq.read_table(folder / "words.parquet")
    ngrams = None
    if about["pieces"]:
        pieces = pq.read_table(folder / "ngrams.parquet")
        ngrams = Ngrams(pieces["bucket"].to_numpy(), vectors_from(pieces["vector"], about["dimensions"]))
    return TextModel(
        method=about["method"],
        words=tuple(words["word"].to_pylist()),
        vectors=vectors_from(words["vector"], about["dimensions"]),
        weights=words["weight"].to_numpy(),
        rare=about["rare"],
        ngrams=ngrams,
    )


def vector_array(vectors: np.ndarray) -> pa.FixedSizeListArray:
    """Float32 [n, dimensions] as an Arrow column of lists of one length."""
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])


def vectors_from(column: pa.ChunkedArray, dimensions: int) -> np.ndarray:
    """An Arrow column of vectors as float32 [n, dimensions]."""
    parts = [chunk.flatten().to_numpy().reshape(-1, dimensions) for chunk in column.chunks]
    return np.vstack([np.zeros((0, dimensions), np.float32), *parts])


def write_vectors(table: pa.Table, path: Path) -> None:
    """One Parquet file. Floats have no repeats, so a dictionary would only cost."""
    pq.write_table(
        table, path, compression="zstd", use_dictionary=[n for n in table.column_names if n != "vector"]
    )
