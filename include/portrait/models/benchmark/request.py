"""What a benchmark is asked for: models, their parameters, and how to run."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from portrait.errors import PortraitError


@dataclass(frozen=True)
class ModelRequest:
    """A model of `portrait.models.REGISTRY` (or one that the protocol itself knows) and its parameters."""

    name: str
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Options:
    """How to run.

    Attributes
    ----------
    seed : of every model's randomness.
    threads : cap for the models that take one; 0 means the cores the process may run on.
    device : where the models that take one compute; auto is a CUDA GPU where there is one.
    holdout_days : length of each of the two windows of `temporal`.
    keysets : files that say who is trained on, validated and tested; empty: all that the data set brings.
    """

    seed: int = 0
    threads: int = 0
    device: str = "auto"
    holdout_days: int = 14
    keysets: tuple[Path, ...] = ()


def model_requests(models: str, settings: Sequence[str] = ()) -> list[ModelRequest]:
    """The models of a comma-separated list, with `model.param=value` settings laid over their defaults.

    A value is read as JSON (`700`, `1e-3`, `false`, `[1, 2]`) and taken as text where it is none. Further points
    reach into a parameter that has names of its own: `product_of_experts.settings.ease.dropout=0.25`.

    Raises
    ------
    PortraitError
        If no model is named, one is named twice, or a setting is malformed or of a model that is not named.

    Examples
    --------
    >>> model_requests("popularity,ease", ["ease.regularisation=700"])[1].params
    {'regularisation': 700}
    """
    names = [name.strip() for name in models.split(",") if name.strip()]
    if not names:
        raise PortraitError("--models names no model; for example --models popularity,ease")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PortraitError(f"--models names {', '.join(twice)} more than once")
    params: dict[str, dict[str, Any]] = {name: {} for name in names}
    for setting in settings:
        target, equals, value = setting.partition("=")
        name, *path = target.split(".")
        if not (equals and path and all(path)):
            raise PortraitError(
                f"--set '{setting}' is not model.param=value, for example ease.regularisation=700"
            )
        if name not in params:
            raise PortraitError(f"--set '{setting}': '{name}' is not among --models {', '.join(names)}")
        _put(params[name], path, _value(value), setting)
    return [ModelRequest(name, params[name]) for name in names]


def _put(params: dict[str, Any], path: Sequence[str], value: Any, setting: str) -> None:
    *groups, last = path
    for group in groups:
        params = params.setdefault(group, {})
        if not isinstance(params, dict):
            raise PortraitError(f"--set '{setting}': '{group}' was set to {params!r} before")
    params[last] = value


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
