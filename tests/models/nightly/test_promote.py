"""Putting a night's winners into service."""

import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from portrait.models import load
from portrait.models.base import read_metadata
from portrait.models.nightly import promote as module
from portrait.models.nightly.promote import serving_version

Make = Callable[..., Any]

# c0-c2 buy their own item again: `repeat` is right, popularity (item 0) is not.
OWN = [[0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 2], [3, 0, 0, 0], [3, 0, 0, 0]] * 4
AGAIN = [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]] * 4
COLUMNS = "model_version, slot, model, parameters, run_id, trained_through, path, status, reason, replaces, metric, value"


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def rows(nights: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = nights.warehouse.rows(
        f"select {COLUMNS} from ops.model_version order by model_version"
    )
    return found


def champions(nights: Any) -> dict[str, str]:
    found = nights.warehouse.rows(
        "select slot, model_version from ops.model_version where status = 'champion'"
    )
    assert len(found) == len({r["slot"] for r in found})
    return {r["slot"]: r["model_version"] for r in found}


def test_versions_are_registered_for_every_slot(make_nights: Make, article: str) -> None:
    nights = make_nights("repeat", article, embedding="article", k=1)
    promotions = nights.whole(nights.write(1, OWN, AGAIN))
    assert {s: (p.model, p.promoted) for s, p in promotions.items()} == {
        "next": ("repeat", True),
        "new": (promotions["new"].model, True),
        "embedding": ("article", True),
    }
    registered = {r["slot"]: r for r in rows(nights)}
    assert set(registered) == {"next", "new", "embedding"}
    following = registered["next"]
    assert following["model_version"] == "2026-03-01.1/next/repeat"
    assert following["path"] == "2026-03-01.1/repeat"
    assert str(following["trained_through"]) == "2026-03-01"
    assert (following["status"], following["replaces"]) == ("champion", None)
    assert (following["metric"], following["value"]) == ("ndcg@1", 1.0)
    assert registered["embedding"]["parameters"] == {"hidden": 8, "latent": 4, "batch_size": 8, "epochs": 3}
    assert (registered["embedding"]["metric"], registered["embedding"]["value"]) == (None, None)


def test_one_champion_a_slot_and_the_old_one_is_retired(make_nights: Make) -> None:
    nights = make_nights("repeat", k=1)
    for day in (1, 2, 3):
        nights.whole(nights.write(day, OWN, AGAIN))
        assert champions(nights) == {
            "next": f"2026-03-0{day}.1/next/repeat",
            "embedding": f"2026-03-0{day}.1/embedding/repeat",
            "new": "2026-03-01.1/new/repeat",  # nobody bought anything new: nothing to replace it by
        }
    assert list(nights.versions("next").values()) == ["retired", "retired", "champion"]
    replaced = [r["replaces"] for r in rows(nights) if r["slot"] == "next"]
    assert replaced == [None, "2026-03-01.1/next/repeat", "2026-03-02.1/next/repeat"]


def test_the_serving_copy_knows_the_held_out_days_and_the_evaluated_one_does_not(make_nights: Make) -> None:
    nights = make_nights("popularity")
    nights.whole(nights.write(1, [[3, 0]], [[0, 1]]))
    folder = nights.settings.models_dir / "2026-03-01.1" / "popularity"
    np.testing.assert_allclose(load(folder / "evaluated").prior_, [1, 0])
    np.testing.assert_allclose(load(folder / "serving").prior_, [3 / 4, 1 / 4])


def test_the_serving_copy_trains_as_many_epochs_as_were_best(make_nights: Make) -> None:
    nights = make_nights(
        "{name: multvae, params: {hidden: 8, latent: 2, batch_size: 5, epochs: 9, patience: 1, learning_rate: 0.1, "
        "anneal_epochs: 1, validation_k: 1, validation_exclude_seen: false}}"
    )
    run = nights.write(1, OWN, AGAIN, validation_target=AGAIN)
    (result,) = nights.train(run)
    nights.evaluate(run)
    nights.promote(run)
    assert result.epochs < 9
    serving = read_metadata(nights.settings.models_dir / "2026-03-01.1" / "multvae" / "serving")
    assert serving["params"]["epochs"] == result.epochs
    assert not (nights.settings.run_dir(run.run_id) / "models" / "checkpoints" / "multvae_serving").exists()


def test_a_loser_is_registered_but_not_refitted(make_nights: Make) -> None:
    nights = make_nights("repeat", k=1)
    nights.whole(nights.write(1, OWN, AGAIN))
    nights = make_nights("popularity", "repeat", embedding="repeat", k=1)
    run = nights.write(2, OWN, AGAIN)
    nights.whole(run, "popularity")  # the training of repeat failed
    registered = next(r for r in rows(nights) if r["model_version"] == "2026-03-02.1/next/popularity")
    assert (registered["status"], registered["path"]) == ("candidate", None)
    assert registered["reason"].startswith("loses to repeat")
    assert champions(nights)["next"] == "2026-03-01.1/next/repeat"
    assert champions(nights)["embedding"] == "2026-03-01.1/embedding/repeat"
    version, folder = serving_version(nights.settings, run, "next")  # type: ignore[misc]
    assert (version, load(folder).name) == ("2026-03-01.1/next/repeat", "repeat")


def test_an_earlier_night_never_replaces_a_later_champion(make_nights: Make) -> None:
    nights = make_nights("repeat", k=1)
    nights.whole(nights.write(5, OWN, AGAIN))
    run = nights.write(2, OWN, AGAIN)
    promotions = nights.whole(run)
    assert [p.promoted for p in promotions.values()] == [False, False, False]
    assert promotions["next"].reason == "a later night's champion serves"
    assert nights.versions("next") == {
        "2026-03-02.1/next/repeat": "candidate",
        "2026-03-05.1/next/repeat": "champion",
    }
    # What it scores, it scores with what was known then.
    assert serving_version(nights.settings, run, "next")[0] == "2026-03-02.1/next/repeat"  # type: ignore[index]


def test_a_second_attempt_of_the_night_takes_over(make_nights: Make) -> None:
    nights = make_nights("repeat", k=1)
    nights.whole(nights.write(1, OWN, AGAIN))
    nights.whole(nights.write(1, OWN, AGAIN, attempt=2))
    assert champions(nights)["next"] == "2026-03-01.2/next/repeat"


def test_promoting_again_registers_the_same(make_nights: Make) -> None:
    nights = make_nights("repeat", k=1)
    nights.whole(nights.write(1, OWN, AGAIN))
    run = nights.write(2, OWN, AGAIN)
    nights.whole(run)
    before = rows(nights)
    nights.promote(run)
    assert rows(nights) == before


def test_when_the_runs_own_champion_loses_in_a_rerun_the_one_before_serves_again(make_nights: Make) -> None:
    """The run's data were mended between: its challenger, promoted at first, loses now."""
    nights = make_nights("repeat", k=1)
    nights.whole(nights.write(1, OWN, AGAIN))
    nights = make_nights("popularity", k=1)
    popular = [[1, 0, 0, 0]] * len(OWN)
    run = nights.write(2, OWN, popular)
    nights.whole(run)
    assert champions(nights)["next"] == "2026-03-02.1/next/popularity"
    nights.write(2, OWN, AGAIN)
    nights.whole(run)
    assert nights.versions("next") == {
        "2026-03-01.1/next/repeat": "champion",
        "2026-03-02.1/next/popularity": "candidate",
    }


@pytest.mark.parametrize("moment", ["fit", "copy", "register"])
def test_killed_and_run_again(make_nights: Make, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    nights = make_nights("repeat", k=1)
    nights.whole(nights.write(1, OWN, AGAIN))
    run = nights.write(2, OWN, AGAIN)
    nights.whole(run)
    expected, recommended = rows(nights), nights.scores(run)
    # The same night as if promote had never run ...
    nights.warehouse.execute("delete from ops.model_version where run_id = :r", r=run.run_id)
    nights.warehouse.execute("update ops.model_version set status = 'champion'")
    shutil.rmtree(nights.settings.models_dir / run.run_id)

    def die(*_: Any, **__: Any) -> None:
        raise Killed

    # ... killed while it fits, while it copies, or when it has fitted everything.
    with monkeypatch.context() as patched:
        if moment == "fit":
            patched.setattr(module, "create", die)
        elif moment == "copy":
            copy = shutil.copytree
            patched.setattr(shutil, "copytree", lambda *a, **k: (copy(*a, **k), die()))
        else:
            patched.setattr(module, "_register", die)
        with pytest.raises(Killed):
            nights.promote(run)
    assert champions(nights)["next"] == "2026-03-01.1/next/repeat"

    nights.promote(run)
    assert rows(nights) == expected
    assert nights.scores(run) == recommended


def test_a_rerun_that_is_killed_leaves_the_registered_copy_whole(
    make_nights: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    nights = make_nights("repeat", k=1)
    run = nights.write(1, OWN, AGAIN)
    nights.whole(run)

    def die(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copytree", die)
        with pytest.raises(Killed):
            nights.promote(run)
    following = nights.write(2, OWN, AGAIN)
    nights.whole(following)
    assert champions(nights)["next"] == "2026-03-02.1/next/repeat"


def test_a_champion_that_is_gone_is_named(make_nights: Make) -> None:
    nights = make_nights("repeat", k=1)
    nights.whole(nights.write(1, OWN, AGAIN))
    nights = make_nights("popularity", k=1)
    run = nights.write(2, OWN, AGAIN)
    nights.whole(run)
    nights.warehouse.execute("delete from ops.model_version where run_id = '2026-03-01.1'")
    with pytest.raises(module.PortraitError, match="2026-03-01.1/new/repeat is no longer kept"):
        nights.scores(run)
