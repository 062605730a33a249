"""The order of events, and what is learnt from it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from portrait.models import create, load
from portrait.models.event_encoder import ENCODERS, EventEncoder
from portrait.models.events import Events, padded
from portrait.models.profile.views import Views
from portrait.models.sequence import SequenceModel
from portrait.models.training import initialised
from scipy.sparse import csr_matrix

N_ITEMS = 12


def walks(n: int, seed: int) -> Events:
    """Customers who go from item i to i + 1, round and round, from a place of their own; 4 to 9 steps."""
    random = np.random.default_rng(seed)
    lengths = random.integers(4, 10, n)
    item = np.concatenate([(random.integers(N_ITEMS) + np.arange(k)) % N_ITEMS for k in lengths])
    ones = np.ones(len(item), np.int8)
    pointer = np.concatenate([[0], np.cumsum(lengths)])
    return Events(pointer, item.astype(np.int32), ones, ones, np.full(len(item), 60, np.int32))


def basket(events: Events) -> csr_matrix:
    matrix = csr_matrix(
        (np.ones(len(events.item)), events.item.copy(), events.pointer), (len(events), N_ITEMS)
    )
    matrix.sum_duplicates()
    return matrix


def views(events: Events) -> Views:
    return Views(basket(events), events)


def test_steps_of_the_features_stage() -> None:
    step = {"at": 5, "event": 1, "item": 7, "channel": 2, "gap": 0}
    later = {"at": 9, "event": 8, "item": -1, "channel": 1, "gap": 4}
    events = Events.of_steps(pa.array([[step, later], [later]]), np.array([2, 0]), 3)
    assert events.lengths.tolist() == [1, 0, 2]
    assert events.item.tolist() == [-1, 7, -1]
    assert events.gap.tolist() == [4, 0, 4]
    assert events.take(np.array([2, 2])).item.tolist() == [7, -1, 7, -1]
    batch = padded(events, 1)
    assert batch.item.tolist() == [[0], [0], [0]]
    assert batch.event.tolist() == [[8], [0], [8]]


def test_a_matrix_is_read_from_the_lightest_item() -> None:
    events = Events.of_matrix(csr_matrix([[0.5, 0, 0.1, 0.5], [0, 0, 0, 0]]))
    assert (events.item.tolist(), events.lengths.tolist()) == ([2, 0, 3], [3, 0])


@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_next_item_is_learnt(encoder: str) -> None:
    """i + 1 follows i: every customer's first recommendation is known; a matrix alone could not say it."""
    train, test = walks(150, 1), walks(40, 2)
    model = create(
        "sequence",
        encoder=encoder,
        latent=16,
        epochs=25,
        batch_size=16,
        learning_rate=0.02,
        dropout=0.0,
        patience=0,
    )
    assert isinstance(model, SequenceModel)
    model.fit(basket(train), seed=3, views=views(train))
    items, _ = model.recommend(basket(test), 1, exclude_seen=False, views=views(test))
    expected = (test.item[test.pointer[1:] - 1] + 1) % N_ITEMS
    assert (items[:, 0] == expected).mean() > 0.9


@pytest.mark.parametrize("encoder", ENCODERS)
def test_padding_and_what_comes_later_change_nothing(encoder: str) -> None:
    module = initialised(lambda: EventEncoder(N_ITEMS, 8, encoder), 0)
    events = walks(6, 4)
    together = module(padded(events, 9))
    alone = module(padded(events.take(np.array([2])), 9))
    length = int(events.lengths[2])
    torch.testing.assert_close(together[2, :length], alone[0, :length])
    shorter = Events.joined([events]).take(np.array([2]))
    cut = Events(np.array([0, 3]), *(getattr(shorter, n)[:3] for n in ("item", "event", "channel", "gap")))
    torch.testing.assert_close(module(padded(cut, 9))[0, :3], alone[0, :3])


def test_a_sample_stands_for_the_whole_catalogue() -> None:
    """All negatives drawn once each: the estimate of the loss is near that of the full softmax."""
    events = walks(60, 5)
    losses = []
    for limit in (50_000, 1):
        model = SequenceModel(latent=8, dropout=0.0, sampled_above=limit, negatives=4000, epochs=1)
        model.n_items, model.prior_ = N_ITEMS, np.full(N_ITEMS, 1 / N_ITEMS, np.float32)
        model.module_ = initialised(model._build, 1)
        losses.append(
            float(
                model._next_item_loss(padded(events.take(np.arange(2)), 5), torch.Generator().manual_seed(0))
            )
        )
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


def test_without_events_the_most_popular(tmp_path: Path) -> None:
    train = walks(40, 1)
    model = create("sequence", latent=8, epochs=1).fit(basket(train), seed=1)
    nobody = Events(np.zeros(2, np.int64), *(np.empty(0, np.int32) for _ in range(4)))
    items, _ = model.recommend(csr_matrix((1, N_ITEMS)), 3, views=Views(csr_matrix((1, N_ITEMS)), nobody))  # type: ignore[call-arg]
    assert items[0].tolist() == np.argsort(-model.prior_, kind="stable")[:3].tolist()
    model.save(tmp_path / "m")
    again = load(tmp_path / "m")
    assert isinstance(again, SequenceModel)
    assert (
        again.embed(basket(train), views=views(train)) == model.embed(basket(train), views=views(train))
    ).all()  # type: ignore[call-arg]
