"""Reading the configuration files and the environment."""

import functools
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, Field, ValidationError

from portrait.config.audiences import AudiencesFile
from portrait.config.origins import Frozen
from portrait.config.privacy import PrivacyConfig
from portrait.config.profiles import ProfilesConfig
from portrait.config.serving import ServingConfig
from portrait.config.sources import SourcesFile, _suggest
from portrait.config.tags import TagsFile
from portrait.config.tuning import FeatureConfig, IdentityConfig, ModelConfig
from portrait.errors import PortraitError

CONFIG_DIR = Path(__file__).resolve().parents[2] / "config"
ROOT = CONFIG_DIR.parents[1]
T = TypeVar("T", bound=BaseModel)
# pydantic's words, in the file's.
_WORDS = {
    "tuple_type": "expected a list; write [first, second]",
    "dict_type": "expected keys and values",
    "model_type": "expected keys and values",
    "string_type": "expected text; put it in quotes",
    "string_pattern_mismatch": "{input!r} does not match {pattern}",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
}
_CONNECTION = "AIRFLOW_CONN_"
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


class Settings(Frozen):
    """Everything a stage may know about its surroundings.

    Attributes
    ----------
    home : folder for everything Portrait writes outside Postgres (lake, runs, models, logs).
    database_url : SQLAlchemy URL of the warehouse, or None for the embedded PostgreSQL under `server_dir`.
    sources_path : the `sources.yaml` in use; relative paths in it start from its folder.
    pii_key : secret of the keyed hash; None means one kept in `home` (embedded set-ups only).
    former_pii_keys : keys that it took the place of (PORTRAIT_PII_KEY_FORMER), each with its version, separated by commas.
    airflow_database_url : Airflow's own database, in which an erasure looks, too (PORTRAIT_AIRFLOW_DATABASE_URL); that of an
        embedded set-up is known without.
    airflow_logs : folder of the tasks' logs (AIRFLOW__LOGGING__BASE_LOG_FOLDER), likewise.
    connections : Airflow's connections in the environment (AIRFLOW_CONN_<ID>), by id in lower case; URI or JSON.
    database_role : role that connections to the warehouse take; None: that of the login, the owner of the tables.
    """

    home: Path
    server_dir: Path
    database_url: str | None
    sources_path: Path
    sources: SourcesFile
    identity: IdentityConfig
    features: FeatureConfig
    models: ModelConfig
    tags: TagsFile = Field(default_factory=TagsFile)
    audiences: AudiencesFile = Field(default_factory=AudiencesFile)
    serving: ServingConfig = Field(default_factory=lambda: ServingConfig.model_validate({}))
    privacy: PrivacyConfig = Field(default_factory=PrivacyConfig)
    profiles: ProfilesConfig = Field(default_factory=lambda: ProfilesConfig.model_validate({}))
    pii_key: str | None = Field(default=None, repr=False)
    former_pii_keys: str | None = Field(default=None, repr=False)
    airflow_database_url: str | None = Field(default=None, repr=False)
    airflow_logs: Path | None = None
    connections: dict[str, str] = Field(default_factory=dict, repr=False)
    database_role: str | None = None

    def acting_as(self, role: str) -> "Settings":
        """The same, but every connection to the warehouse takes this role: no stage may do more than it needs."""
        return self.model_copy(update={"database_role": role})

    @property
    def workspace(self) -> str:
        return self.sources.workspace

    @property
    def database_name(self) -> str:
        return f"portrait_{self.workspace}"

    @property
    def workspace_dir(self) -> Path:
        """Folder of this workspace: two retailers on one machine never mix."""
        return self.home / self.workspace

    @property
    def lake_dir(self) -> Path:
        return self.workspace_dir / "lake"

    @property
    def models_dir(self) -> Path:
        return self.workspace_dir / "models"

    @property
    def simulated_dir(self) -> Path:
        return self.workspace_dir / "sources"

    def run_dir(self, run_id: str) -> Path:
        """Folder of one run's intermediate files."""
        return self.workspace_dir / "runs" / run_id

    def source_path(self, pattern: str) -> str:
        """A path pattern of `sources.yaml` made absolute; `{simulated}` is the simulator's output folder."""
        filled = pattern.replace("{simulated}", str(self.simulated_dir))
        if "://" in filled:
            return filled
        return str((self.sources_path.parent / Path(filled).expanduser()).absolute())


def load_settings(
    environ: Mapping[str, str] | None = None, sources_path: Path | str | None = None
) -> Settings:
    """Read `sources.yaml`, `identity.yaml`, `features.yaml`, `model.yaml` and, where they exist, `tags.yaml`,
    `audiences.yaml`, `serving.yaml`, `privacy.yaml` and `profiles.yaml`.

    Parameters
    ----------
    environ : the environment, `os.environ` unless given. Read: PORTRAIT_HOME, PORTRAIT_DATABASE_URL,
        PORTRAIT_CONFIG_DIR, PORTRAIT_SOURCES, PORTRAIT_PII_KEY, PORTRAIT_PII_KEY_FORMER,
        PORTRAIT_AIRFLOW_DATABASE_URL, AIRFLOW__LOGGING__BASE_LOG_FOLDER,
        AIRFLOW_CONN_*, and whatever the files name as ``${NAME}`` or
        ``${NAME:-default}``.
    sources_path : a `sources.yaml` to use in place of PORTRAIT_SOURCES.

    Raises
    ------
    PortraitError : naming the file and key, and the remedy.
    """
    env = os.environ if environ is None else environ
    config_dir = Path(env.get("PORTRAIT_CONFIG_DIR") or CONFIG_DIR)
    sources = Path(sources_path or env.get("PORTRAIT_SOURCES") or config_dir / "sources.yaml")
    home = Path(env.get("PORTRAIT_HOME") or ROOT / ".portrait").absolute()
    return Settings(
        home=home,
        server_dir=Path(env.get("PORTRAIT_SERVER_DIR") or home / "postgres").absolute(),
        database_url=env.get("PORTRAIT_DATABASE_URL") or None,
        sources_path=sources.absolute(),
        sources=_read(sources, SourcesFile, env),
        identity=_read(config_dir / "identity.yaml", IdentityConfig, env),
        features=_read(config_dir / "features.yaml", FeatureConfig, env),
        models=_read(config_dir / "model.yaml", ModelConfig, env),
        tags=_read_if_there(config_dir / "tags.yaml", TagsFile, env),
        audiences=_read_if_there(config_dir / "audiences.yaml", AudiencesFile, env),
        serving=_read_if_there(config_dir / "serving.yaml", ServingConfig, env),
        privacy=_read_if_there(config_dir / "privacy.yaml", PrivacyConfig, env),
        profiles=_read_if_there(config_dir / "profiles.yaml", ProfilesConfig, env),
        pii_key=env.get("PORTRAIT_PII_KEY") or None,
        former_pii_keys=env.get("PORTRAIT_PII_KEY_FORMER") or None,
        airflow_database_url=env.get("PORTRAIT_AIRFLOW_DATABASE_URL") or None,
        airflow_logs=_folder(env.get("AIRFLOW__LOGGING__BASE_LOG_FOLDER")),
        connections={
            k.removeprefix(_CONNECTION).lower(): v for k, v in env.items() if k.startswith(_CONNECTION)
        },
    )


def _folder(written: str | None) -> Path | None:
    return Path(written).absolute() if written else None


def _read_if_there(path: Path, model: type[T], env: Mapping[str, str]) -> T:
    """Its defaults where there is no such file."""
    return _read(path, model, env) if path.exists() else model()


def _read(path: Path, model: type[T], env: Mapping[str, str]) -> T:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise PortraitError(f"{path}: no such file; copy include/config/sources.yaml and adapt it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise PortraitError(f"{path}: cannot be read as UTF-8 text: {error}") from None
    try:
        content = _parsed(text)
    except ValueError as error:
        raise PortraitError(f"{path}: holds a date or number that is none ({error}); correct it") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        raise PortraitError(
            f"{path}:{where} is not valid YAML ({getattr(error, 'problem', error)}); "
            "check indentation and colons"
        ) from None
    if not isinstance(content, dict):
        raise PortraitError(
            f"{path}: expected keys and values at the top level, found {type(content).__name__}"
        )
    try:
        return model.model_validate(_expand(content, env, path))
    except ValidationError as error:
        raise PortraitError(f"{path}: {_first_problem(error, model, content)}") from None


@functools.lru_cache(maxsize=32)
def _parsed(text: str) -> Any:
    """Shared between calls, not to be changed. To parse takes three quarters of the time of loading, and a process loads often."""
    return yaml.load(text, _Loader)


class _Loader(yaml.SafeLoader):
    """Refuses a key that is written twice, of which YAML keeps the last."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"'{key.value}' is written twice", problem_mark=key.start_mark
                    )
                seen.add(key.value)
        return node


def _expand(value: Any, env: Mapping[str, str], path: Path) -> Any:
    if isinstance(value, dict):
        return {k: _expand(v, env, path) for k, v in value.items()}
    if isinstance(value, list):
        return [_expand(v, env, path) for v in value]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        name, default = match.groups()
        if env.get(name):
            return env[name]
        if default is None:
            raise PortraitError(
                f"{path}: ${{{name}}} is not set; export {name} or write ${{{name}:-default}}"
            )
        return default

    return _VARIABLE.sub(replace, value)


def _first_problem(error: ValidationError, model: type[BaseModel], content: dict[str, Any]) -> str:
    """One line for the first problem: the key in the file's own words and the remedy."""
    problems = error.errors(include_url=False)
    problem = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    where = _key(problem["loc"], content)
    if problem["type"] == "extra_forbidden":
        siblings = _fields_at(model, problem["loc"][:-1])
        return f"{where}: unknown key; {_suggest(str(problem['loc'][-1]), siblings)}"
    if problem["type"] == "missing":
        return f"{where}: missing; add it"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] in _WORDS:
        message = _WORDS[problem["type"]].format(input=problem["input"], **problem.get("ctx", {}))
    return f"{where}: {message}" if where else message


def _key(location: tuple[int | str, ...], content: Any) -> str:
    """`sources[pos_receipts].columns.sku`: list entries are shown by their name or code where they have one."""
    text = ""
    node: Any = content
    for part in location:
        if not isinstance(node, list if isinstance(part, int) else dict):
            break  # a branch of pydantic's, no key of the file
        known: Any = node
        node = known[part] if _has(node, part) else None
        if isinstance(part, int):
            name = node.get("name", part) if isinstance(node, dict) else part
            # The name of a tag or audience is in two languages; its code is what tells it apart.
            text += f"[{node.get('code', part) if isinstance(name, dict) else name}]"
        else:
            text += f".{part}" if text else part
    return text


def _has(node: Any, part: int | str) -> bool:
    return part in node if isinstance(node, dict) else isinstance(part, int) and part < len(node)


def _fields_at(model: type[BaseModel], location: tuple[int | str, ...]) -> set[str]:
    current: Any = model
    for part in location:
        if isinstance(part, int):
            continue
        field = getattr(current, "model_fields", {}).get(part)
        if field is None:
            continue
        current = next(
            (a for a in _flatten(field.annotation) if isinstance(a, type) and issubclass(a, BaseModel)),
            current,
        )
    return set(getattr(current, "model_fields", {}))


def _flatten(annotation: Any) -> list[Any]:
    arguments = getattr(annotation, "__args__", None)
    return [a for arg in arguments for a in _flatten(arg)] if arguments else [annotation]
