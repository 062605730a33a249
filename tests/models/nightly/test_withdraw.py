"""A champion that people take out of service."""

from collections.abc import Callable
from typing import Any

import pytest
from portrait.errors import PortraitError
from portrait.models.nightly.evaluate import champion_before
from portrait.models.nightly.withdraw import withdraw

Make = Callable[..., Any]

TRAIN = [[0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 2], [3, 0, 0, 0]] * 4
TARGET = [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]] * 4


def test_the_version_before_serves_again_and_the_next_night_is_judged_by_it(make_nights: Make) -> None:
    nights = make_nights("repeat", k=1)
    for day in (1, 3):
        nights.whole(nights.write(day, TRAIN, TARGET))
    found = withdraw(nights.settings, "next", "complaints")
    assert found == ("2026-03-03.1/next/repeat", "2026-03-01.1/next/repeat")
    assert nights.versions("next") == {
        "2026-03-01.1/next/repeat": "champion",
        "2026-03-03.1/next/repeat": "withdrawn",
    }
    # Of slot new, in which nobody bought anything, the first version still serves.
    assert nights.versions("new")["2026-03-01.1/new/repeat"] == "champion"
    reason = nights.warehouse.scalar(
        "select reason from ops.model_version where model_version = '2026-03-03.1/next/repeat'"
    )
    assert reason.endswith("; withdrawn: complaints")
    run = nights.write(5, TRAIN, TARGET)
    assert champion_before(nights.warehouse, run, "next").model_version == "2026-03-01.1/next/repeat"  # type: ignore[union-attr]
    nights.whole(run)
    assert nights.versions("next")["2026-03-05.1/next/repeat"] == "champion"


def test_what_cannot_be_withdrawn(make_nights: Make) -> None:
    nights = make_nights("repeat", k=1)
    with pytest.raises(PortraitError, match="there is no slot 'best'; name one of next, new, embedding"):
        withdraw(nights.settings, "best", "x")
    with pytest.raises(PortraitError, match="slot 'new' has no champion"):
        withdraw(nights.settings, "new", "x")
    nights.whole(nights.write(1, TRAIN, TARGET))
    with pytest.raises(PortraitError, match="only version of slot 'next' whose files are kept"):
        withdraw(nights.settings, "next", "x")
    assert nights.versions("next") == {"2026-03-01.1/next/repeat": "champion"}
