"""Token buckets, with a clock of the test's."""

from pathlib import Path

import pytest
from portrait.serving import limits
from portrait.serving.limits import Limiter


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(limits.time, "monotonic", lambda: now[0])
    return now


def test_a_burst_then_the_rate(tmp_path: Path, clock: list[float]) -> None:
    limiter = Limiter(tmp_path / "limits.bin")
    assert [limiter.take("a", rate=2, burst=3) for _ in range(3)] == [0, 0, 0]
    assert limiter.take("a", 2, 3) == 0.5  # one token comes in half a second
    clock[0] += 0.25
    assert limiter.take("a", 2, 3) == 0.25
    clock[0] += 0.25
    assert limiter.take("a", 2, 3) == 0
    clock[0] += 100
    assert [limiter.take("a", 2, 3) for _ in range(4)] == [0, 0, 0, 0.5]


def test_keys_do_not_share(tmp_path: Path, clock: list[float]) -> None:
    limiter = Limiter(tmp_path / "limits.bin")
    assert limiter.take("a", 1, 1) == 0
    assert limiter.take("a", 1, 1) == 1
    assert limiter.take("b", 1, 1) == 0


def test_workers_share(tmp_path: Path, clock: list[float]) -> None:
    one, two = Limiter(tmp_path / "limits.bin"), Limiter(tmp_path / "limits.bin")
    assert one.take("a", 1, 2) == 0
    assert two.take("a", 1, 2) == 0
    assert one.take("a", 1, 2) == 1


def test_what_costs_more_than_the_bucket_holds_is_let_through_and_paid_later(
    tmp_path: Path, clock: list[float]
) -> None:
    limiter = Limiter(tmp_path / "limits.bin")
    assert limiter.take("a", 10, 20, cost=100) == 0
    clock[0] += 8  # 20 - 100 + 80 = 0
    assert limiter.take("a", 10, 20) == pytest.approx(0.1)
    clock[0] += 0.1
    assert limiter.take("a", 10, 20) == 0


def test_a_moment_of_another_boot(tmp_path: Path, clock: list[float]) -> None:
    limiter = Limiter(tmp_path / "limits.bin")
    assert limiter.take("a", 1, 1) == 0
    clock[0] = 5.0
    assert limiter.take("a", 1, 1) == 0
