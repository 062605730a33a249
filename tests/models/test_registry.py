import subprocess
import sys

import pytest
from portrait.errors import PortraitError
from portrait.models import REGISTRY, create, model_class


def test_names() -> None:
    assert {"popularity", "repeat", "ease", "article", "mult_dae", "mult_vae", "rec_vae"} <= set(REGISTRY)
    assert all(model_class(name).name == name for name in REGISTRY)
    assert create("multvae").name == "mult_vae"


def test_parameters_are_taken() -> None:
    params = create("ease", regularisation=700).params
    assert (params["regularisation"], params["dropout"]) == (700, 0.0)


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("easy", {}, "unknown model 'easy': choose one of popularity, repeat, ease, "),
        ("ease", {"lamda": 1}, "no parameter lamda; allowed: customer_exponent, dropout, "),
        ("popularity", {"k": 1}, "allowed: it has none"),
        ("ease", {"regularisation": -1.0}, "regularisation must be at least 1e-06, not -1.0"),
        ("mult_vae", {"dropout": 1.5}, "dropout must be between 0 and 0.99"),
        ("mult_vae", {"epochs": "ten"}, "epochs must be of type int, not 'ten'"),
        ("mult_vae", {"epochs": True}, "epochs must be of type int"),
        ("mult_vae", {"log_counts": 1}, "log_counts must be of type bool"),
    ],
)
def test_refused(name: str, params: dict[str, object], message: str) -> None:
    with pytest.raises(PortraitError, match=message):
        create(name, **params)


def test_torch_waits_until_an_autoencoder_is_made() -> None:
    """Airflow's workers fork: a module-level torch import would be in every one of them."""
    code = (
        "import sys, portrait.models, portrait.models.evaluation\n"
        "for name in ('popularity', 'repeat', 'ease', 'item_knn', 'infinite_autoencoder'): portrait.models.create(name)\n"
        "assert 'torch' not in sys.modules and 'airflow' not in sys.modules\n"
        "portrait.models.create('article')\n"
        "assert 'torch' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
