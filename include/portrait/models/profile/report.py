"""How good each head is: against what came true, beside the base rate and a regression on the features."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from portrait.models.profile.examples import Examples

BINS = 10
BASE_RATE, REGRESSION, MODEL = "base_rate", "regression", "profile_autoencoder"
LEAST_PREDICTED = 1e-12


@dataclass(frozen=True)
class Measured:
    """One figure of one head.

    Attributes
    ----------
    head : purchase, spend, category, age_band, gender.
    model : `profile_autoencoder`, `base_rate` or `regression` (logistic; ridge for spend) on the same features.
    protocol : `window`, judged on what came after the training window; `customers`, on customers of the training
        window whose label was not trained on.
    metric : accuracy, precision, recall, f1, auc, brier, calibration_error, log_loss; mean_absolute_error,
        root_mean_squared_error, rank_correlation, total_ratio; reliability bins as predicted_<n>, observed_<n>,
        customers_<n>.
    customers : with a known label.
    """

    head: str
    model: str
    protocol: str
    metric: str
    value: float
    customers: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Float64 [n, classes]; of one logit a row, the chances of 0 and 1."""
    wide = logits.astype(np.float64)
    if wide.ndim == 1:
        wide = np.stack([np.zeros(len(wide)), wide], axis=1)
    found = np.exp(wide - wide.max(axis=1, keepdims=True))
    chances: np.ndarray = found / found.sum(axis=1, keepdims=True)
    return chances


def class_figures(chance: np.ndarray, wanted: np.ndarray) -> dict[str, float]:
    """Figures of predicted chances.

    With two classes precision, recall and F1 are those of class 1 at a chance of one half, and AUC, Brier score and bins of
    its chance. With more, precision, recall, F1 are means over the classes that occur, AUC is the mean of one against the
    rest over classes that occur (NaN where that is none), and the bins are of the predicted class.

    Parameters
    ----------
    chance : float [n, classes]
    wanted : int [n]

    Notes
    -----
    `calibration_error` is the expected calibration error over ten bins of equal width (Naeini et al., AAAI 2015): the
    mean over the customers of |observed - predicted| of their bin. Brier score: mean squared error of the chance of
    class 1; with more classes the sum over the classes (Brier 1950).
    """
    binary = chance.shape[1] == 2
    chosen = chance.argmax(axis=1)
    present = np.unique(wanted)
    labels = [1] if binary else list(present)
    precision, recall, f1, _ = precision_recall_fscore_support(
        wanted, chosen, labels=labels, average="macro", zero_division=0.0
    )
    one_hot = np.eye(chance.shape[1])[wanted]
    if binary:
        predicted, came_true = chance[:, 1], wanted == 1
        brier = float(np.mean((predicted - came_true) ** 2))
    else:
        predicted, came_true = chance.max(axis=1), chosen == wanted
        brier = float(np.mean(((chance - one_hot) ** 2).sum(axis=1)))
    found = {
        "accuracy": float(np.mean(chosen == wanted)),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "auc": _auc(chance, one_hot, [1] if binary else list(present)),
        "brier": brier,
        "log_loss": float(
            -np.mean(np.log(np.maximum(chance[np.arange(len(wanted)), wanted], LEAST_PREDICTED)))
        ),
    }
    bins = reliability(predicted, came_true)
    weights = bins[:, 2] / max(bins[:, 2].sum(), 1)
    found["calibration_error"] = float(np.nansum(weights * np.abs(bins[:, 0] - bins[:, 1])))
    for number, (mean, observed, count) in enumerate(bins):
        if count:
            found |= {
                f"predicted_{number}": mean, f"observed_{number}": observed, f"customers_{number}": count,
            }  # fmt: skip
    return found


def reliability(predicted: np.ndarray, came_true: np.ndarray) -> np.ndarray:
    """Float [10, 3]: mean chance, observed share and customers of each tenth of the chances; NaN where nobody is."""
    place = np.minimum((predicted * BINS).astype(int), BINS - 1)
    count = np.bincount(place, minlength=BINS).astype(float)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(place, predicted, BINS) / count
        observed = np.bincount(place, came_true.astype(float), BINS) / count
    return np.stack([mean, observed, count], axis=1)


def _auc(chance: np.ndarray, one_hot: np.ndarray, classes: list[int]) -> float:
    """Area under the ROC curve, the mean over classes that some have and some have not."""
    areas = [
        roc_auc_score(one_hot[:, c], chance[:, c]) for c in classes if 0 < one_hot[:, c].sum() < len(one_hot)
    ]
    return float(np.mean(areas)) if areas else float("nan")


def amount_figures(expected: np.ndarray, wanted: np.ndarray) -> dict[str, float]:
    """Figures of expected amounts; `total_ratio` is all that was expected over all that was spent."""
    error = expected - wanted
    varied = np.ptp(expected) > 0 and np.ptp(wanted) > 0
    total = float(wanted.sum())
    return {
        "mean_absolute_error": float(np.abs(error).mean()),
        "root_mean_squared_error": float(np.sqrt((error**2).mean())),
        "rank_correlation": float(spearmanr(expected, wanted).statistic) if varied else float("nan"),
        "total_ratio": float(expected.sum()) / total if total else float("nan"),
    }


def measure(
    outputs: dict[str, np.ndarray], train: Examples, test: Examples, protocols: dict[str, str]
) -> list[Measured]:
    """Figures of all heads in `protocols` (head -> protocol) and, where features are known, of the two baselines.

    Parameters
    ----------
    outputs : of the heads for the rows of `test` (`ProfileAutoencoder.predict`).
    train : what the model learnt from; the baselines learn from the same labels.
    """
    found: list[Measured] = []
    for head, protocol in protocols.items():
        learnt, judged = train.labels.known(head), test.labels.known(head)
        if head not in outputs or not learnt.any() or not judged.any():
            continue
        known, wanted = getattr(train.labels, head)[learnt], getattr(test.labels, head)[judged]
        answers = {
            MODEL: outputs[head][judged],
            **_baselines(
                head, known, _features(train, learnt), _features(test, judged), _classes(outputs[head])
            ),
        }
        for model, answer in answers.items():
            figures = _figures(head, answer, wanted, model)
            found += [
                Measured(head, model, protocol, metric, value, len(wanted))
                for metric, value in figures.items()
                if np.isfinite(value)
            ]
    return found


def _figures(head: str, answer: np.ndarray, wanted: np.ndarray, model: str) -> dict[str, float]:
    if head == "spend":
        return amount_figures(answer.astype(np.float64), wanted.astype(np.float64))
    return class_figures(probabilities(answer) if model == MODEL else answer, wanted.astype(int))


def _features(examples: Examples, rows: np.ndarray) -> np.ndarray | None:
    features = examples.views.features
    return None if features is None else features[rows]


def _classes(output: np.ndarray) -> int:
    return output.shape[1] if output.ndim == 2 else 2


def _baselines(
    head: str, known: np.ndarray, features: np.ndarray | None, judged: np.ndarray | None, classes: int
) -> dict[str, np.ndarray]:
    if features is None or judged is None:
        return {}
    n = len(judged)
    if head == "spend":
        ridge = Ridge().fit(features, known).predict(judged)
        return {BASE_RATE: np.full(n, float(known.mean())), REGRESSION: np.maximum(ridge, 0.0)}
    share = np.bincount(known.astype(int), minlength=classes) / len(known)
    found = {BASE_RATE: np.tile(share, (n, 1))}
    if len(np.unique(known)) > 1:
        regression = LogisticRegression(max_iter=500).fit(features, known.astype(int))
        chance = np.zeros((n, classes))
        chance[:, regression.classes_] = regression.predict_proba(judged)
        found[REGRESSION] = chance
    return found
