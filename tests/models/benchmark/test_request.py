import pytest
from portrait.errors import PortraitError
from portrait.models.benchmark import model_requests


def test_models_and_settings() -> None:
    found = model_requests(
        "popularity, ease,mult_dae",
        [
            "ease.regularisation=700",
            "mult_dae.log_counts=false",
            "mult_dae.learning_rate=1e-3",
            "ease.dropout=0.5",
        ],
    )
    assert [request.name for request in found] == ["popularity", "ease", "mult_dae"]
    assert [request.params for request in found] == [
        {},
        {"regularisation": 700, "dropout": 0.5},
        {"log_counts": False, "learning_rate": 0.001},
    ]


def test_settings_within_a_parameter() -> None:
    (found,) = model_requests(
        "product_of_experts",
        [
            "product_of_experts.experts=ease,mult_dae",
            "product_of_experts.settings.ease.dropout=0.25",
            "product_of_experts.settings.ease.regularisation=300",
            "product_of_experts.settings.mult_dae.epochs=5",
        ],
    )
    assert found.params == {
        "experts": "ease,mult_dae",
        "settings": {"ease": {"dropout": 0.25, "regularisation": 300}, "mult_dae": {"epochs": 5}},
    }


@pytest.mark.parametrize(
    ("models", "settings", "message"),
    [
        (" , ", [], "names no model"),
        ("ease,ease", [], "names ease more than once"),
        ("ease", ["regularisation=1"], "'regularisation=1' is not model.param=value"),
        ("ease", ["ease.regularisation"], "is not model.param=value"),
        ("ease", ["ease.=1"], "is not model.param=value"),
        ("ease", ["mult_dae.epochs=1"], "'mult_dae' is not among --models ease"),
        ("ease", ["ease.a=1", "ease.a.b=2"], "'a' was set to 1 before"),
    ],
)
def test_refused(models: str, settings: list[str], message: str) -> None:
    with pytest.raises(PortraitError, match=message):
        model_requests(models, settings)
