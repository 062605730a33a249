"""How often a key may ask: token buckets in a file that all workers map into memory."""

import mmap
import struct
import time
import zlib
from pathlib import Path

_SLOTS = 1 << 14
_BUCKET = struct.Struct("dd")
"""Tokens left, and the moment (monotonic clock, one for the whole machine) at which that was so."""


class Limiter:
    """Token buckets by key, shared by the workers of one machine.

    Two workers that take at the same instant may both get the same token; a key is let through once too often then,
    never too seldom. Keys are few: two of them in one slot (1 : 16,384) share a bucket.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            file.truncate(_SLOTS * _BUCKET.size)
            self._buckets = mmap.mmap(file.fileno(), _SLOTS * _BUCKET.size)

    def take(self, key_id: str, rate: float, burst: float, cost: float = 1.0) -> float:
        """Take `cost` tokens; gives 0, or the seconds after which they would be there.

        Parameters
        ----------
        rate, burst : tokens a second, and the most that are saved up. A cost above `burst` waits for a full bucket.
        """
        now, offset = time.monotonic(), (zlib.crc32(key_id.encode()) % _SLOTS) * _BUCKET.size
        tokens, at = _BUCKET.unpack_from(self._buckets, offset)
        # A new file is all zeros: nobody asked yet. A moment in the future is another boot's.
        tokens = burst if not 0 < at <= now else min(burst, tokens + (now - at) * rate)
        needed = min(cost, burst)
        if tokens < needed:
            _BUCKET.pack_into(self._buckets, offset, tokens, now)
            return (needed - tokens) / rate
        _BUCKET.pack_into(self._buckets, offset, tokens - cost, now)
        return 0.0

    def close(self) -> None:
        self._buckets.close()
