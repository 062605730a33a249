import subprocess
import sys

import pytest
from portrait.errors import PortraitError
from portrait.models import REGISTRY, create, model_class


def test_names() -> None:
    assert list(REGISTRY) == ["popularity", "repeat", "ease", "article", "multvae"]
    assert all(model_class(name).name == name for name in REGISTRY)
    assert create("mult_vae").name == "multvae"


def test_parameters_are_taken() -> None:
    assert create("ease", regularisation=700).params == {"regularisation": 700, "memory_limit_gb": 4.0}


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("easy", {}, "unknown model 'easy': choose one of popularity, repeat, ease, article, multvae"),
        ("ease", {"lamda": 1}, "no parameter lamda; allowed: memory_limit_gb, regularisation"),
        ("popularity", {"k": 1}, "allowed: it has none"),
        ("ease", {"regularisation": -1.0}, "regularisation must be at least 1e-06, not -1.0"),
        ("multvae", {"dropout": 1.5}, "dropout must be between 0 and 0.99"),
        ("multvae", {"epochs": "ten"}, "epochs must be of type int, not 'ten'"),
        ("multvae", {"epochs": True}, "epochs must be of type int"),
        ("multvae", {"log_counts": 1}, "log_counts must be of type bool"),
    ],
)
def test_refused(name: str, params: dict[str, object], message: str) -> None:
    with pytest.raises(PortraitError, match=message):
        create(name, **params)


def test_torch_waits_until_an_autoencoder_is_made() -> None:
    """Airflow's workers fork: a module-level torch import would be in every one of them."""
    code = (
        "import sys, portrait.models, portrait.models.evaluation\n"
        "for name in ('popularity', 'repeat', 'ease'): portrait.models.create(name)\n"
        "assert 'torch' not in sys.modules and 'airflow' not in sys.modules\n"
        "portrait.models.create('article')\n"
        "assert 'torch' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
