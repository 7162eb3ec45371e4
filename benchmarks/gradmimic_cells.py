"""One split of a data set in the linear probe: its references, every arm on every version of its labels, its filters.

References, all trained as the arms are: "same clean" on the judged samples with clean labels, as the paper does, an
oracle; "clean" on other samples with clean labels; "noisy" on other samples with labels as wrong as the judged ones.
Policies and temperatures were fixed by `choose`, on seeds of its own, by accuracy on a tenth of the judged half that
nobody trains on and whose labels are as wrong as the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from benchmarks.gradmimic_data import Pictures, noisy, split
from benchmarks.gradmimic_probe import Data, Recipe, Trained, blurred, train
from benchmarks.gradmimic_weights import Arm
from mimic.training.weights import Policy

CLEAN = "clean"  # the version of the labels without mistakes, and the reference that was taught it on other samples
ORACLE = "same clean"
REFERENCES = (ORACLE, CLEAN, "noisy")
SMALL = 2_000  # photos; below, five epochs would be some hundred steps: the paper also trains longer there
CHOSEN = {
    "mimic": Policy(),
    "cosine": Policy(temperature=0.03),
    "rho": Policy(),
    "reference_loss": Policy(temperature=3.0),
}
TEMPERATURES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
SWEPT = "symmetric 0.5"  # the version of the labels that settings are swept on
SHARES = (0.3, 0.5, 0.7)
BLURS = (0.25, 0.5, 1.0, 2.0)
Row = dict[str, object]


@dataclass(frozen=True)
class Unit:
    """One split, ready to be trained on.

    Attributes:
        name: the data set.
        seed: the split's.
        data: its judged half, with references and validation samples by the names of `key`.
        truth: (N,) of the judged half.
        recipe: how heads are trained on it.
    """

    name: str
    seed: int
    data: Data
    truth: Tensor
    recipe: Recipe

    @property
    def versions(self) -> list[str]:
        """Of the labels."""
        return [each for each in self.data.labels if each != CLEAN]

    def wrong(self, version: str) -> np.ndarray:
        """(N,), which labels are wrong."""
        return (self.data.labels[version] != self.truth).numpy()


def key(reference: str, version: str) -> str:
    """The reference's name in the data: one for each version of the labels where it has seen noisy ones."""
    return f"noisy, {version}" if reference == "noisy" else reference


def recipe_for(pictures: Pictures) -> Recipe:
    """Five epochs, 25 on small sets."""
    return Recipe(epochs=25 if len(pictures.truth) < SMALL else 5)


def prepare(pictures: Pictures, features: np.ndarray, seed: int, held_out: float = 0.0) -> Unit:
    """Splits, standardises and trains the references.

    Args:
        pictures, features: of one data set.
        seed: of the split, the mistakes and the batches.
        held_out: share of the judged half that becomes the test set instead, with labels as wrong as the rest.
    """
    parts, recipe = split(pictures, seed), recipe_for(pictures)
    everything = torch.from_numpy(features)
    known = everything[np.concatenate([parts.judged, parts.theirs])]
    deviation = known.std(dim=0)
    everything = (everything - known.mean(dim=0)) / torch.where(deviation > 0, deviation, torch.inf)
    labels = {name: torch.from_numpy(each) for name, each in noisy(pictures, seed).items()}
    labels[CLEAN] = torch.from_numpy(pictures.truth)
    count = round(len(parts.judged) * (1 - held_out))
    judged, held = parts.judged[:count], parts.judged[count:]
    test_labels = {"": labels[CLEAN][parts.test]}
    if held_out:
        test_labels = {"": labels[CLEAN][held]} | {name: each[held] for name, each in labels.items()}
    data = Data(
        everything[judged],
        {name: each[judged] for name, each in labels.items()},
        pictures.classes,
        everything[held if held_out else parts.test],
        test_labels,
    )
    theirs = replace(data, features=everything[parts.theirs], labels={n: y[parts.theirs] for n, y in labels.items()})
    plain = replace(recipe, points=1)
    heads = {"same clean": train(data, [Arm("", "uniform", CLEAN)], plain, seed)[0].head}
    taught = train(theirs, [Arm("", "uniform", name) for name in labels], plain, seed)
    heads |= {key("clean" if each.arm.labels == CLEAN else "noisy", each.arm.labels): each.head for each in taught}
    validations = {"same clean": (data.features, data.labels[CLEAN]), "clean": (theirs.features, theirs.labels[CLEAN])}
    validations |= {key("noisy", name): (theirs.features, y) for name, y in theirs.labels.items() if name != CLEAN}
    return Unit(
        pictures.name, seed, replace(data, references=heads, validations=validations), data.labels[CLEAN], recipe
    )


def arms(version: str) -> list[Arm]:
    """Every arm on one version of the labels."""
    found = [Arm("SGD", "uniform", version), Arm("GraNd", "grand", version)]
    found += [Arm("short gradients", "short", version), Arm("AGRA", "agra", version)]
    for reference in REFERENCES:
        name = key(reference, version)
        found += [
            Arm("Grad-Match", "grad_match", version, name),
            Arm("validation gradient", "influence", version, name, Policy("clamp")),
            Arm("RHO-loss", "rho", version, name, CHOSEN["rho"]),
            Arm("reference loss", "reference_loss", version, name, CHOSEN["reference_loss"]),
            Arm("Grad-Mimic", "mimic", version, name, CHOSEN["mimic"], record=True),
            Arm("Grad-Mimic, clamp", "mimic", version, name, Policy("clamp")),
            Arm("distilled", "uniform", version, name, taught=1.0),
        ]
        if reference != ORACLE:
            found += [
                Arm("Grad-Mimic, top half", "mimic", version, name, Policy("top", share=0.5)),
                Arm("Grad-Mimic, without the bias", "mimic", version, name, CHOSEN["mimic"], scope="last-weight"),
                Arm("Grad-Mimic, cosine", "mimic", version, name, CHOSEN["cosine"], cosine=True),
                Arm("half distilled", "uniform", version, name, taught=0.5),
            ]
    return found + (sweep(version) if version == SWEPT else [])


def sweep(version: str) -> list[Arm]:
    """Grad-Mimic by temperature, by share, and by noise added to the reference, with the clean one."""
    found = [Arm(f"softmax, τ = {t:g}", "mimic", version, "clean", Policy(temperature=t)) for t in TEMPERATURES]
    found += [Arm(f"top {share:g}", "mimic", version, "clean", Policy("top", share=share)) for share in SHARES]
    found += [Arm("clamp", "mimic", version, "clean", Policy("clamp"))]
    return found + [Arm(f"noise {b:g}", "mimic", version, f"noise {b:g}", CHOSEN["mimic"]) for b in BLURS]


def candidates(version: str) -> list[Arm]:
    """What `choose` may choose from, by kind; with the clean and with the noisy reference."""
    own = [Policy(temperature=t) for t in TEMPERATURES[:5]] + [Policy("top", share=share) for share in SHARES]
    sets = {
        "mimic": [*own, Policy("clamp")],
        "cosine": [*(Policy(temperature=t) for t in TEMPERATURES[:3]), Policy("clamp")],
        "rho": [*(Policy(temperature=t) for t in TEMPERATURES[2:5]), Policy("clamp")],
        "reference_loss": [Policy(temperature=t) for t in TEMPERATURES[2:5]],
    }
    return [
        Arm(
            kind,
            "mimic" if kind == "cosine" else kind,
            version,
            key(reference, version),
            policy,
            cosine=kind == "cosine",
        )
        for reference in REFERENCES[1:]
        for kind, policies in sets.items()
        for policy in policies
    ]


def outcomes(unit: Unit) -> tuple[list[Row], list[Trained]]:
    """Every arm's accuracy, loss, and share of the steps to SGD's final loss; and the arms whose visits were kept."""
    clean = unit.data.references["clean"]
    noise = {f"noise {b:g}": blurred(clean, b, unit.seed) for b in BLURS}
    data = replace(unit.data, references=unit.data.references | noise)
    asked = [arm for version in unit.versions for arm in arms(version)]
    trained = train(data, asked, unit.recipe, unit.seed)
    rows = [row for version in unit.versions for row in _rows(unit, data, version, trained)]
    return rows, [each for each in trained if each.scores is not None]


def _rows(unit: Unit, data: Data, version: str, trained: list[Trained]) -> Iterator[Row]:
    mine = [each for each in trained if each.arm.labels == version]
    (sgd,) = (each for each in mine if each.arm.name == "SGD")
    shared = {"dataset": unit.name, "labels": version, "seed": unit.seed}
    for each in mine:
        yield shared | {
            "reference": shown(each.arm.reference),
            "arm": each.arm.name,
            "accuracy": 100 * each.accuracy,
            "loss": each.loss,
            "steps": share_of_steps(each, sgd.losses[-1]),
        }
    for name in [*REFERENCES, *(f"noise {b:g}" for b in BLURS if version == SWEPT)]:
        logits = data.references[key(name, version)](data.test_features)
        accuracy = 100 * float((logits.argmax(dim=1) == data.test_labels[""]).float().mean())
        arm = "reference" if name in REFERENCES else f"reference, {name}"
        yield shared | {"reference": name, "arm": arm, "accuracy": accuracy, "loss": np.nan, "steps": np.nan}


def shown(reference: str) -> str:
    """The reference's name in tables."""
    return reference.partition(",")[0]


def share_of_steps(trained: Trained, loss: float) -> float:
    """Share of the steps after which the test loss was first so low, between the points of the curve; NaN if never."""
    steps, losses = [0, *trained.steps], [np.log(trained.head.bias.numel()), *trained.losses]
    for i in range(1, len(steps)):
        if losses[i] <= loss:
            part = (losses[i - 1] - loss) / (losses[i - 1] - losses[i]) if losses[i - 1] > losses[i] else 1.0
            return (steps[i - 1] + part * (steps[i] - steps[i - 1])) / steps[-1]
    return float("nan")


def choice(unit: Unit) -> list[Row]:
    """Every candidate's accuracy on the held-out part, labels as wrong as the rest; nothing else is looked at."""
    asked = [arm for version in unit.versions for arm in candidates(version)]
    return [
        {
            "dataset": unit.name,
            "labels": each.arm.labels,
            "seed": unit.seed,
            "reference": shown(each.arm.reference),
            "kind": each.arm.name,
            "policy": policy_name(each.arm.policy),
            "noisy accuracy": 100 * each.accuracy,
        }
        for each in train(unit.data, asked, replace(unit.recipe, points=1), unit.seed)
    ]


def policy_name(policy: Policy) -> str:
    """The policy with its setting, in words."""
    if policy.name == "softmax":
        return f"softmax, τ = {policy.temperature:g}"
    return f"top {policy.share:g}" if policy.name == "top" else policy.name
