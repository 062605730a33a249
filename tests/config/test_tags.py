"""Mistakes in `tags.yaml` and `audiences.yaml` are one line: file, entry by its code, remedy."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from portrait.config import load_settings
from portrait.config.settings import CONFIG_DIR
from portrait.errors import PortraitError

TAG = "name: {en: a, zh: 甲}, description: {en: a, zh: 甲}, type: rule, owner: o, purpose: analytics, use: u"
AUDIENCE = "name: {en: a, zh: 甲}, channel: email, owner: o"


@pytest.fixture
def error(tmp_path: Path) -> Callable[[str, str], str]:
    """The message that a configuration folder with this file is refused with."""

    def refuse(name: str, content: str) -> str:
        for needed in ("identity.yaml", "features.yaml", "model.yaml", "sources.yaml"):
            shutil.copy(CONFIG_DIR / needed, tmp_path)
        (tmp_path / name).write_text(content, encoding="utf-8")
        with pytest.raises(PortraitError) as caught:
            load_settings({"PORTRAIT_CONFIG_DIR": str(tmp_path)})
        return str(caught.value).removeprefix(f"{tmp_path / name}: ")

    return refuse


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (f"tags: [{{code: big, expression: 'now() > as_of', {TAG}}}]", "tags[big].expression: `CURRENT_TIMESTAMP` is not allowed"),
        (f"tags: [{{code: Big, expression: region, {TAG}}}]", "tags[Big].code: 'Big' does not match"),
        (f"tags: [{{code: big, {TAG}}}]", "tags[big].expression: missing; add it"),
        (f"tags: [{{code: big, expression: region, nul_policy: omit, {TAG}}}]", "tags[big].nul_policy: unknown key; did you mean 'null_policy'?"),
    ],
)  # fmt: skip
def test_tags(error: Callable[[str, str], str], content: str, expected: str) -> None:
    assert error("tags.yaml", content).startswith(expected)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            f"audiences: [{{code: big, where: 'region in (select 1)', purpose: service, {AUDIENCE}}}]",
            "audiences[big].where: `(SELECT 1)` is not allowed",
        ),
        (
            f"audiences: [{{code: big, where: is_known, purpose: service, control_share: 1, {AUDIENCE}}}]",
            "audiences[big].control_share: ",
        ),
        (
            f"audiences: [{{code: big, where: is_known, purpose: service, destination: {{format: webhook}}, {AUDIENCE}}}]",
            "audiences[big].destination: give webhook: {url: ...} with format webhook",
        ),
    ],
)
def test_audiences(error: Callable[[str, str], str], content: str, expected: str) -> None:
    assert error("audiences.yaml", content).startswith(expected)


def test_a_folder_without_them_has_none(tmp_path: Path) -> None:
    for needed in ("identity.yaml", "features.yaml", "model.yaml", "sources.yaml"):
        shutil.copy(CONFIG_DIR / needed, tmp_path)
    settings = load_settings({"PORTRAIT_CONFIG_DIR": str(tmp_path)})
    assert (settings.tags.tags, settings.audiences.audiences) == ((), ())
