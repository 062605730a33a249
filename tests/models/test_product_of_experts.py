from pathlib import Path
from typing import Any

import numpy as np
import pytest
from portrait.errors import PortraitError
from portrait.models import create, load
from portrait.models.product_of_experts import ProductOfExperts
from scipy.sparse import csr_matrix

DAE = {"latent": 8, "batch_size": 16, "epochs": 3, "threads": 1}
SETTINGS: dict[str, dict[str, Any]] = {"ease": {"regularisation": 5.0}, "mult_dae": DAE}


def pooled(*experts: str, **params: Any) -> ProductOfExperts:
    settings = {name: SETTINGS[name] for name in dict.fromkeys(experts) if name in SETTINGS}
    model = create("product_of_experts", experts=experts, settings=settings, **params)
    assert isinstance(model, ProductOfExperts)
    return model


def test_a_weighted_sum_of_the_experts_scores(
    train: csr_matrix, validation: tuple[csr_matrix, csr_matrix]
) -> None:
    model = pooled("ease", "mult_dae").fit(train, validation, seed=3)
    ease = create("ease", **SETTINGS["ease"]).fit(train)
    dae = create("mult_dae", **DAE).fit(train, validation, seed=3)
    first, second = model.weights_
    expected = first * ease._scores(train) + second * dae._scores(train)
    np.testing.assert_allclose(model._scores(train), expected, rtol=1e-4, atol=1e-5)
    assert (model.embed(train) == dae.embed(train)).all()


def test_one_expert_ranks_as_it_does_alone(
    train: csr_matrix, validation: tuple[csr_matrix, csr_matrix]
) -> None:
    alone = create("ease", **SETTINGS["ease"]).fit(train).recommend(train, 5)[0]
    assert (pooled("ease").fit(train, validation).recommend(train, 5)[0] == alone).all()


def test_without_validation_experts_are_equally_spread(train: csr_matrix) -> None:
    model = pooled("ease", "popularity").fit(train)
    for expert, weight in zip(model.experts_, model.weights_, strict=True):
        assert (weight * expert._scores(train)).std(axis=1).mean() == pytest.approx(1, rel=1e-4)


def test_a_repeated_expert_takes_the_next_seed(train: csr_matrix) -> None:
    model = pooled("mult_dae", "ease", "mult_dae").fit(train, seed=4)
    assert [expert.seed for expert in model.experts_] == [4, 4, 5]
    first, _, second = (expert.recommend(train, 20)[1] for expert in model.experts_)
    assert not np.allclose(first, second)


def test_experts_have_checkpoints_of_their_own(
    train: csr_matrix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finished expert is not trained again when a killed run is started once more."""
    params = {"checkpoint_dir": str(tmp_path)}
    first = pooled("mult_dae", "mult_dae", **params).fit(train)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["expert_0", "expert_1"]
    monkeypatch.setattr("torch.optim.Adam.step", lambda self: pytest.fail("it trains again"))
    again = pooled("mult_dae", "mult_dae", **params).fit(train)
    assert (first.recommend(train, 5)[1] == again.recommend(train, 5)[1]).all()


def test_saved_with_its_experts(
    train: csr_matrix, validation: tuple[csr_matrix, csr_matrix], tmp_path: Path
) -> None:
    model = pooled("ease", "item_knn").fit(train, validation)
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.params["experts"] == model.params["experts"]
    assert (again.recommend(train, 5)[1] == model.recommend(train, 5)[1]).all()
    with pytest.raises(PortraitError, match="none of its experts ease, item_knn has an embedding"):
        model.embed(train)


def test_experts_may_be_written_as_one_text() -> None:
    assert create("product_of_experts", experts="ease, popularity").params["experts"] == (
        "ease",
        "popularity",
    )


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"experts": "eese"}, "unknown model 'eese'"),
        ({"experts": []}, "experts must be names of models, not \\[\\]"),
        ({"experts": 3}, "experts must be names of models, not 3"),
        ({"experts": ["product_of_experts"]}, "cannot be its own expert"),
        ({"experts": ["ease"], "settings": {"mult_dae": {}}}, "settings of mult_dae, not among its experts"),
        ({"experts": ["ease"], "settings": {"ease": {"lamda": 1}}}, "'ease' has no parameter lamda"),
        (
            {"experts": ["ease"], "settings": {"ease": 3}},
            "settings of ease must be parameters by name, not 3",
        ),
    ],
)
def test_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(PortraitError, match=message):
        create("product_of_experts", **params)
