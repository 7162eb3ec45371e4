"""An export in somebody's training: ids, weights, and torch's own Subset and WeightedRandomSampler, in one line each.

train = mimic.load_filter("kept.parquet").subset(dataset)
loader = DataLoader(dataset, batch_size=64, sampler=mimic.load_filter("kept.parquet").sampler())
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.json as pjson
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mimic.errors import MimicError
from mimic.workspace.spreadsheets import original

if TYPE_CHECKING:
    import torch
    from torch.utils.data import Dataset, Subset, WeightedRandomSampler

_NEEDED = ("id", "label", "score", "kept")


@dataclass(frozen=True, repr=False)
class LoadedFilter:
    """An exported filter: a row a sample, in the data set's order.

    Attributes:
        ids: (N,) the samples' ids.
        labels: (N,) class names after relabelling; None where there is none.
        scores: (N,) float32, NaN = not scored.
        kept: (N,) bool.
        weights: (N,) float64: 0 where dropped; the kept ones have mean 1.
    """

    ids: list[str]
    labels: list[str | None]
    scores: NDArray[np.float32]
    kept: NDArray[np.bool_]
    weights: NDArray[np.float64]

    def indices(self, ids: Sequence[str] | None = None) -> list[int]:
        """Places of the kept samples in a data set whose items have these ids, in that order; by default in the export.

        Raises:
            MimicError: an id that the export does not know.
        """
        kept = self.kept if ids is None else self.kept[self._rows(ids)]
        return [int(place) for place in np.flatnonzero(kept)]

    def subset(self, dataset: Dataset[Any], ids: Sequence[str] | None = None) -> Subset[Any]:
        """The kept part of a torch data set.

        Args:
            dataset: its items are the export's rows in their order, or those of `ids`.
            ids: the id of each item, where order or number differ from the export's.

        Raises:
            MimicError: the data set has another length than the ids; an id that the export does not know.
        """
        from torch.utils.data import Subset

        length, expected = len(dataset), len(self.ids if ids is None else ids)  # type: ignore[arg-type]
        if length != expected:
            raise MimicError(
                f"the data set has {length:,} items and the filter {expected:,} rows: give the id of each item as ids="
            )
        return Subset(dataset, self.indices(ids))

    def sampler(
        self, ids: Sequence[str] | None = None, *, count: int | None = None, generator: torch.Generator | None = None
    ) -> WeightedRandomSampler:
        """A sampler that draws with replacement by weight, and never a dropped sample.

        Args:
            ids: as in `subset`.
            count: draws an epoch; by default as many as are kept.
        """
        from torch.utils.data import WeightedRandomSampler

        weights = self.weights if ids is None else self.weights[self._rows(ids)]
        draws = int(np.count_nonzero(weights)) if count is None else count
        if not draws or not np.count_nonzero(weights):
            raise MimicError("the filter keeps none of these samples, so there is nothing to draw from")
        return WeightedRandomSampler(weights.tolist(), draws, replacement=True, generator=generator)

    def _rows(self, ids: Sequence[str]) -> list[int]:
        rows = {name: row for row, name in enumerate(self.ids)}
        unknown = [name for name in ids if name not in rows]
        if unknown:
            raise MimicError(f"the filter does not know {len(unknown):,} of the ids, e.g. {unknown[0]!r}")
        return [rows[name] for name in ids]


def load_filter(path: str | Path, temperature: float | None = None) -> LoadedFilter:
    """Read an export made as parquet, csv or jsonl.

    Args:
        path: the exported file; its ending says what it is.
        temperature: weights are softmax(score / temperature) over the kept samples, Grad-Mimic's stage 1 over the whole
            set at once; one not scored has the neutral weight 1. By default every kept sample weighs the same.

    Raises:
        MimicError: no such file, another ending, or not an export of ours.
    """
    path = Path(path)
    if temperature is not None and not temperature > 0:
        raise MimicError(f"temperature must be above 0, not {temperature}")
    table = _read(path)
    missing = [name for name in _NEEDED if name not in table.column_names]
    if missing:
        raise MimicError(f"{path} has no column {missing[0]}: give what `mimic export` made as parquet, csv or jsonl")
    scores = table["score"].cast(pa.float32()).to_numpy().astype(np.float32)
    kept = np.asarray(table["kept"].to_numpy(), dtype=np.bool_)
    ids, labels = table["id"].to_pylist(), table["label"].to_pylist()
    if path.suffix.lower() == ".csv":
        ids = [original(text) for text in ids]
        labels = [None if text is None else original(text) for text in labels]
    return LoadedFilter(ids, labels, scores, kept, _weights(scores, kept, temperature))


def _weights(scores: NDArray[np.float32], kept: NDArray[np.bool_], temperature: float | None) -> NDArray[np.float64]:
    weights = kept.astype(np.float64)
    scored = kept & ~np.isnan(scores)
    if temperature is not None and scored.any():
        exponents = scores[scored].astype(np.float64) / temperature
        powers = np.exp(exponents - exponents.max())
        weights[scored] = powers / powers.mean()
    return weights


def _read(path: Path) -> pa.Table:
    reader = {".parquet": _parquet, ".csv": _csv, ".jsonl": pjson.read_json}.get(path.suffix.lower())
    if reader is None:
        raise MimicError(f"{path} is no .parquet, .csv or .jsonl: load_filter reads these three exports")
    try:
        return reader(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise MimicError(f"{path} cannot be read ({str(error).splitlines()[0]}): export it again") from None


def _parquet(path: Path) -> pa.Table:
    return pq.ParquetFile(path).read()


def _csv(path: Path) -> pa.Table:
    texts = {name: pa.string() for name in ("id", "path", "label", "given_label", "decision")}
    return pcsv.read_csv(
        path,
        parse_options=pcsv.ParseOptions(newlines_in_values=True),
        convert_options=pcsv.ConvertOptions(
            column_types={**texts, "score": pa.float32(), "kept": pa.bool_()},
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            null_values=[""],
        ),
    )
