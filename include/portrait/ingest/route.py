"""Which rows of a batch go straight into `raw` by COPY, and which must be compared with what is there.

A row goes straight in when nothing can have its key yet: its business date is new to the source, and no earlier row of
the batch had the key. Whether one had is asked of a bitmap of key hashes (a Bloom filter with one hash, Bloom 1970): it
may say yes wrongly, which costs a comparison, never no.
"""

from collections import Counter
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_EPOCH = date(1970, 1, 1).toordinal()
_BYTES_A_ROW = 64
_BITS_A_ROW = 64
_FEWEST_BITS, _MOST_BITS = 20, 30


REPEATED = "repeated"


class Router:
    """Splits batches of accepted rows, and marks those whose key may have come before (`REPEATED`, boolean).

    Parameters
    ----------
    known_dates : business dates for which the source has loaded rows before; None means everything is known.
    size : bytes of the deliveries, 0 where unknown; sets the size of the bitmap (at most 128 MiB).
    """

    def __init__(self, known_dates: set[date] | None, size: int) -> None:
        self.copied: Counter[date] = Counter()
        self._known = None if known_dates is None else np.array([d.toordinal() - _EPOCH for d in known_dates])
        bits = int(np.ceil(np.log2(max(size / _BYTES_A_ROW, 1) * _BITS_A_ROW))) if size else 28
        self._bits = min(max(bits, _FEWEST_BITS), _MOST_BITS)
        self._seen = np.zeros(1 << (self._bits - 3), np.uint8)

    def split(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """Rows that go straight in, and the others, marked; both in their order."""
        first = self._first(batch["key_hash"].to_numpy())
        batch = batch.append_column(REPEATED, pa.array(~first))
        if self._known is None:
            return batch.slice(0, 0), batch
        days = batch["business_date"].cast(pa.int32()).to_numpy()
        new = first & ~np.isin(days, self._known)
        copied = batch if new.all() else batch.filter(pa.array(new))
        for count in pc.value_counts(copied["business_date"]).to_pylist():
            self.copied[count["values"]] += count["counts"]
        return copied, batch.slice(0, 0) if new.all() else batch.filter(pa.array(~new))

    def _first(self, hashes: np.ndarray) -> np.ndarray:
        """Whether each row is certainly the first with its key."""
        place = hashes >> np.uint64(64 - self._bits)
        byte, bit = (place >> np.uint64(3)).astype(np.int64), np.left_shift(1, place & np.uint64(7))
        bit = bit.astype(np.uint8)
        first = np.zeros(len(hashes), bool)
        first[np.unique(place, return_index=True)[1]] = True
        first &= (self._seen[byte] & bit) == 0
        np.bitwise_or.at(self._seen, byte, bit)
        return first
