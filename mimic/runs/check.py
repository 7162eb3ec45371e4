"""The reference check of a finished run: its parts' numbers, and the mean gradient on some of its samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimic.errors import MimicError
from mimic.evaluation.reference_check import Gradient, check_reference
from mimic.models.related import weights_cosine
from mimic.runs.drawn import batches
from mimic.runs.prepare import Prepared
from mimic.scores.gradient import mean_gradient
from mimic.workspace.layout import Run
from mimic.workspace.publish import read_parts
from mimic.workspace.samples import label_codes

# ‖ḡ‖ and the cosine are shown, not judged by, so they may cost but a small share of the run.
MOST_GRADIENT_SAMPLES, LEAST_GRADIENT_SAMPLES, GRADIENT_SHARE = 512, 64, 32
_SEED = 0
_VIEW = "ref_logprob"  # the reference's own view of the samples
_BATCH, _PAIRS = (
    8,
    32,
)  # several batches: products of different ones tell the mean gradient from the samples' differences


def reference_check(prepared: Prepared, run: Run) -> dict[str, Any]:
    """The check as run.json keeps it, with the class's name beside its code and the seed of the gradient's samples.

    Raises:
        MimicError: fewer than two samples were scored.
    """
    viewed = [_VIEW] if _VIEW in run.signals else []
    table = read_parts(run, ["sample", run.main, "reference_agrees", "start_agrees", *viewed])
    scores = table[run.main].to_numpy()
    known = np.isfinite(scores)
    samples = table["sample"].to_numpy()[known]
    if len(samples) < 2:
        raise MimicError(
            f"{len(samples)} of {len(scores)} samples could be scored (commonest reason: {_commonest_reason(run)}): "
            "at least two are needed"
        )
    labelled = prepared.texts is None
    check = check_reference(
        scores[known],
        table["reference_agrees"].to_numpy()[known],
        table["start_agrees"].to_numpy()[known],
        label_codes(prepared.dataset)[samples] if labelled else None,
        prepared.scorer.directions[0].norm,
        _gradient(prepared, samples),
        weights_cosine(prepared.weights.built.module, prepared.weights.reference_state, has_head=labelled),
        table[_VIEW].to_numpy()[known] if viewed else None,
    )
    code = check.majority_code
    majority = None if code is None else prepared.dataset.classes[code]
    return {**check.facts(), "majority_class": majority, "gradient_seed": _SEED}


def _gradient(prepared: Prepared, samples: NDArray[np.int32]) -> Gradient:
    count = min(MOST_GRADIENT_SAMPLES, max(LEAST_GRADIENT_SAMPLES, len(samples) // GRADIENT_SHARE))
    drawn = np.random.default_rng(_SEED).permutation(len(samples))[:count]
    found = mean_gradient(
        prepared.weights.built.module,
        batches(prepared, np.sort(samples[drawn]), _BATCH if prepared.texts is None else _PAIRS),
        prepared.scorer.directions[0],
        prepared.scorer.loss,
    )
    return Gradient(found.norm, found.cosine, found.samples)


def _commonest_reason(run: Run) -> str:
    counts = read_parts(run, ["reason"])["reason"].drop_null().value_counts().to_pylist()
    return max(counts, key=lambda entry: entry["counts"])["values"] if counts else "none"
