"""Files that are there whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def draft_of(path: Path) -> Iterator[Path]:
    """A place beside `path` to write to, in the same folder, which is made; it takes `path`'s place at the end.

    A reader meets the old file or the new one. When the block raises or is killed, the old one stays, and the draft is
    written over by the next attempt: two processes must not write the same path at once.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.writing")
    yield draft
    draft.replace(path)
