"""How far Evaluate can be trusted: estimated quality, the advice, and the intervals, each against what is true.

python -m benchmarks.evaluate quality  --cache C [--packages P] --images I --labels L    about ten minutes
python -m benchmarks.evaluate advice   --cache C [--packages P] --images I --labels L    about an hour; it goes on
python -m benchmarks.evaluate coverage                                                   about five minutes
python -m benchmarks.evaluate time                                                       about five minutes

Sources, and where they come from: benchmarks/quality_frozen.py. The rules were fixed on Fashion-MNIST; CIFAR-10, its
annotators' labels and digits are what they are graded on. The reference never sees the judged samples.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks import synthetic
from benchmarks.evaluate_cells import (
    BUDGETS,
    RATES,
    SAMPLE,
    SOURCES,
    Part,
    parts,
    retrained,
    sample_cell,
    signals,
    versions,
)
from benchmarks.tables import Section, markdown, write_csv, write_section
from mimic.evaluation import bands
from mimic.evaluation.advice import Advice, Evidence, advise
from mimic.evaluation.quality import fit_quality
from mimic.evaluation.retraining import curves
from mimic.evaluation.truth import judge
from mimic.runs.retrain import keeping
from mimic.runs.retrain_fits import Bench, Fit, fit_features
from mimic.workspace.layout import Workspace

JUDGED = 2000
ADVISED = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
CHECK = {  # what a run's reference check would say here; the sentences are not graded
    "verdict": "Good", "samples": 3000, "reference_agreement": 0.0, "start_agreement": 0.0,
    "mean": 0.0, "mean_low": 0.0, "mean_high": 0.0,
}  # fmt: skip
DIFFERENT = 0.05


# --- quality --------------------------------------------------------------------------------------------------------
def quality(asked: argparse.Namespace) -> None:
    """Estimated against true share of right labels, and pairs of data sets ranked."""
    sources = [name for name in asked.sources if name != SAMPLE]
    rows = [row for name in sources for part in parts(name, asked, asked.splits) for row in estimates(part)]
    table = pd.DataFrame(rows)
    summary = table.groupby(["source", "labels"], sort=False).apply(summarised, include_groups=False).reset_index()
    symmetric = table[table["rate"].notna()]
    grades = symmetric.groupby("source", sort=False).apply(graded, include_groups=False).reset_index()
    print(grades.round(4).to_string(index=False))
    print(summary.round(4).to_string(index=False))
    others = summary[~summary["labels"].str.startswith("symmetric")]
    body = f"""The reference, a linear head on frozen features, learnt other samples with clean labels;
{asked.splits} splits. Symmetric noise {RATES[0]}, {RATES[1]} … {RATES[-1]}:
mean and largest absolute error of the estimated share, how often
the 95 % interval held the true one, its width, how often 0 noise was called noisy (the whole interval below 1),
Pearson's correlation with the noise rate, and of pairs of noisy sets of a source whose true share differs by
{DIFFERENT} or more the share that was ranked rightly. Everything was fixed on Fashion-MNIST.

{markdown(grades)}

Where the assumption does not hold as well (mistakes class by class) or not at all (annotators' mistakes, which are made
on hard pictures: the estimate is too high there, and only an audit shows it):

{markdown(others)}
"""
    print(write_csv("quality_estimate", table))
    print(write_section(Section("quality_estimate", "Estimated quality", command(asked), body)))


def estimates(part: Part) -> Iterator[dict[str, object]]:
    """A row a version of the labels."""
    views = part.views(part.reference, part.judged)
    for name, labels in versions(part, RATES).items():
        given = labels[part.judged]
        found = fit_quality(views, given).quality
        true = float((given == part.truth[part.judged]).mean())
        yield {
            "source": part.name, "labels": name, "split": part.split,
            "rate": float(name.split()[1]) if name.startswith("symmetric") else np.nan,
            "true": true, "share": found.share, "low": found.low, "high": found.high,
            "covers": found.low <= true <= found.high, "noisy": found.noisy,
            "pattern": found.pattern, "temperature": found.temperature,
        }  # fmt: skip
    print(f"{part.name}, split {part.split}: done", flush=True)


def summarised(rows: pd.DataFrame) -> pd.Series:
    """What came of one version of the labels, over splits."""
    return pd.Series(
        {
            "true": rows["true"].mean(),
            "estimate": rows["share"].mean(),
            "error": (rows["share"] - rows["true"]).abs().mean(),
            "covered": rows["covers"].mean(),
            "width": (rows["high"] - rows["low"]).mean(),
        }
    )


def graded(rows: pd.DataFrame) -> pd.Series:
    """What is asked of the estimate, over all rates and splits of a source."""
    error = (rows["share"] - rows["true"]).abs()
    pairs = list(combinations(rows.itertuples(), 2))
    apart = [(a, b) for a, b in pairs if abs(a.true - b.true) >= DIFFERENT]
    right = [(a.share > b.share) == (a.true > b.true) for a, b in apart]
    clean = rows[rows["rate"] == 0]
    return pd.Series(
        {
            "mean error": error.mean(),
            "largest": error.max(),
            "covered": rows["covers"].mean(),
            "width": (rows["high"] - rows["low"]).mean(),
            "clean called noisy": clean["noisy"].mean(),
            "Pearson": np.corrcoef(rows["rate"], rows["share"])[0, 1],
            "pairs": len(apart),
            "ranked rightly": float(np.mean(right)),
        }
    )


# --- advice ---------------------------------------------------------------------------------------------------------
def advice(asked: argparse.Namespace) -> None:
    """Whether the advice names what a retraining of everything then shows to be best, or within a standard error."""
    rows = []
    for name in asked.sources:
        if name == SAMPLE:
            facts = {"source": SAMPLE, "labels": "symmetric 0.2", "split": 0}
            rows.append(hit(facts, *sample_cell(asked.cache, BUDGETS)))
            print(rows[-1], flush=True)
            continue
        for part in parts(name, asked, asked.splits, JUDGED):
            reference = part.reference
            for version, labels in versions(part, ADVISED).items():
                facts = {"source": name, "labels": version, "split": part.split}
                rows.append(hit(facts, *cell(asked.cache, part, version, labels[part.judged], reference)))
                print(f"{name}, split {part.split}, {version}: {rows[-1]}", flush=True)
    table = pd.DataFrame(rows)
    hits = table.groupby("source", sort=False)[["hit", "hit_own"]].agg(["mean", "size"])
    print(hits)
    grouped = table.groupby(["source", "labels"], sort=False)[["hit", "everything", "accuracy", "best"]].mean()
    by_source = ", ".join(
        f"{name} {rows['hit'].sum()} of {len(rows)}" for name, rows in table.groupby("source", sort=False)
    )
    clean = table[table["labels"] == "symmetric 0.0"]
    budgets = ", ".join(f"{budget:g}" for budget in BUDGETS)
    body = f"""Before any retraining the advice names a signal and a share to keep. Then every signal is retrained at
every budget ({budgets}): {JUDGED:,} judged samples at most, a linear head, four seeds, tested on
samples that nothing has seen. A hit is advice (its share rounded to the nearest budget) whose accuracy is the best of
all, or within one standard error of it: {by_source}.
On clean data "keep everything" was advised in {clean["everything"].sum()} of {len(clean)} cells. The share of the
labels estimated to be right that is kept was fixed on Fashion-MNIST (`benchmarks.evaluate_budget`, and split 0
here), after two other rules had been graded on split 0 of CIFAR-10 and three splits of digits: the ensemble keeping
as many as are estimated to be right (3 of 8 without the annotators' labels, 18 of 21), and the reference's
log-probability keeping a tenth of all less (9 of 10, 15 of 21). On digits the reference has seen hardly more than what
is judged, and dropping right labels that it doubts costs more. Shares of splits:

{markdown(grouped.reset_index())}
"""
    print(write_csv("evaluate_advice", table))
    print(write_section(Section("evaluate_advice", "Advice", command(asked), body)))


def cell(
    cache: Path, part: Part, version: str, labels: NDArray[np.int64], reference: object
) -> tuple[pd.DataFrame, Advice]:
    """Curves of all retrainings, from the cache or worked out, and the advice without them."""
    folder = cache / "evaluate"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{part.name}, {part.split}, {version}.parquet"
    if not path.exists():
        table = curves(retrained(part, labels, signals(part, labels, reference)))  # type: ignore[arg-type]
        table.to_parquet(path.with_suffix(".tmp"))
        path.with_suffix(".tmp").replace(path)
    table = pd.read_parquet(path)
    views = part.views(reference, part.judged)  # type: ignore[arg-type]
    return table, advised(table, views, labels)


def advised(table: pd.DataFrame, views: NDArray[np.float32], labels: NDArray[np.int64]) -> Advice:
    """The advice on a made-up cell, by what its signals are called and the reference's views alone."""
    names = sorted(set(table.loc[table["arm"] == "kept", "filter"]))
    return advise(Evidence(names, fit_quality(views, labels).quality, CHECK))


def hit(facts: dict[str, object], table: pd.DataFrame, given: Advice) -> dict[str, object]:
    """The advice against what was best."""
    kept = table[table["arm"].isin(["kept", "everything"])]
    top = kept.iloc[int(kept["accuracy"].argmax())]
    if given.everything:
        chosen = kept[kept["arm"] == "everything"].iloc[0]
    else:
        own = kept[kept["filter"] == given.signal]
        chosen = own.iloc[int((own["budget"] - given.keep).abs().argmin())]
    gap = float(top["accuracy"] - chosen["accuracy"])
    # one standard error of the best, over seeds and test samples; and, stricter, of its lead over everything
    return facts | {
        "advised": given.signal or "everything",
        "keep": given.keep, "accuracy": chosen["accuracy"], "best_signal": top["filter"] or "everything",
        "best_keep": top["budget"], "best": top["accuracy"], "error": top["error"], "gain_error": top["gain_error"],
        "hit": gap <= top["error"], "hit_own": gap <= max(top["gain_error"], chosen["gain_error"]),
        "everything": given.everything,
    }  # fmt: skip


# --- coverage -------------------------------------------------------------------------------------------------------
def coverage(asked: argparse.Namespace, repeats: int = 1000) -> None:
    """How often nominal 95 % intervals of detection hold the truth: simple draws, audits, paired differences."""
    rng = np.random.default_rng(0)
    n = 400_000
    wrong = rng.random(n) < 0.2
    hard = rng.normal(size=n)
    scores = {
        name: (hard + rng.normal(size=n) - gap * wrong).astype(np.float32) for name, gap in (("a", 2.2), ("b", 2))
    }
    truth = bands.detect(scores, known(np.arange(n), wrong), drop=0.2)
    line = np.quantile(scores["a"], 0.2)
    zones = [np.flatnonzero(scores["a"] < line), np.flatnonzero(scores["a"] >= line)]
    rows = []
    for seed in range(repeats):
        simple = rng.integers(0, n, 600)
        audit = np.concatenate([rng.choice(zone, 150, replace=False) for zone in zones])
        weight = np.repeat([len(zone) / 150 for zone in zones], 150)
        for kind, drawn, what in (
            ("600 at random", simple, known(simple, wrong)),
            ("audit of 300, weighted", audit, known(audit, wrong, weight, np.repeat([0, 1], 150))),
        ):
            found = bands.detect({name: each[drawn] for name, each in scores.items()}, what, drop=0.2, seed=seed)
            one = bands.table(found).set_index("signal").loc["a"]
            for figure in bands.FIGURES:
                true = truth["a"].point[figure]
                rows.append((kind, figure, one[f"{figure}_low"] <= true <= one[f"{figure}_high"]))
                pair = bands.differences(found, "b", figure).iloc[0]
                gap = true - truth["b"].point[figure]
                rows.append((kind, f"{figure}, difference", pair.low <= gap <= pair.high))
    table = pd.DataFrame(rows, columns=["draw", "figure", "covered"])
    wide = table.pivot_table(index="figure", columns="draw", values="covered", sort=False).reset_index()
    print(wide.round(3).to_string(index=False))
    body = f"""How often the nominal 95 % interval held the truth, in {repeats:,} draws from 400,000 made-up samples, a
fifth of them wrong (± {200 * np.sqrt(0.05 * 0.95 / repeats):.1f} points).

{markdown(wide)}
"""
    print(write_csv("evaluate_coverage", wide))
    print(write_section(Section("evaluate_coverage", "Coverage of detection's intervals", command(asked), body)))


def known(
    samples: NDArray[np.int64],
    wrong: NDArray[np.bool_],
    weight: NDArray[np.float64] | None = None,
    stratum: NDArray[np.int64] | None = None,
) -> bands.Known:
    """Some samples of a made-up set."""
    size = len(samples)
    ones = np.ones(size) if weight is None else weight
    return bands.Known(samples, wrong[samples], ones, np.zeros(size, int) if stratum is None else stratum, "truth")


# --- time -----------------------------------------------------------------------------------------------------------
def times(asked: argparse.Namespace) -> None:
    """Detection on ten million rows, and a retraining on features."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        synthetic.build(workspace, 10_000_000)
        run = workspace.runs()[0]
        began = time.perf_counter()
        bands.table(judge(workspace, [run.id]).found())
        rows.append(("detect: 5 signals, 10,000,000 rows", time.perf_counter() - began))
    rng = np.random.default_rng(0)
    size = (3000, 1280)
    bench = Bench(
        np.arange(size[0], dtype=np.int32), rng.normal(size=size).astype(np.float32), rng.integers(0, 10, size[0]),
        None,
        np.arange(500, dtype=np.int32), rng.normal(size=(500, size[1])).astype(np.float32), rng.integers(0, 10, 500),
        10, 10, Path(), None,
    )  # fmt: skip
    columns = rng.normal(size=(10, size[0])).astype(np.float32)
    began = time.perf_counter()
    for seed in range(5):
        budgets = (0.95, 0.9, 0.8, 0.7, 0.6)
        fit_features(
            bench, [Fit("kept", str(i), b, seed, keeping(c, b)) for i, c in enumerate(columns) for b in budgets]
        )
    rows.append(("retrain on features: 10 filters, 5 budgets, 5 seeds, 3,000 samples", time.perf_counter() - began))
    table = pd.DataFrame(rows, columns=["what", "seconds"])
    print(table.to_string(index=False))
    print(write_csv("evaluate_time", table))
    body = f"One process; a retraining takes half of it with two.\n\n{markdown(table, 1)}"
    print(write_section(Section("evaluate_time", "What evaluating costs", command(asked), body)))


def command(asked: argparse.Namespace) -> str:
    """What makes the section."""
    needs = {"quality", "advice"}
    return f"python -m benchmarks.evaluate {asked.command}" + (
        f" --splits {asked.splits} --cache CACHE --images PNGS --labels PARQUET" if asked.command in needs else ""
    )


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "quality": quality,
    "advice": advice,
    "coverage": coverage,
    "time": times,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--cache", type=Path, help="folder for features and finished cells")
    parser.add_argument("--packages", type=Path, help="where the backbone's packages were installed into")
    parser.add_argument("--images", type=Path, help="CIFAR-10: folder of the PNGs")
    parser.add_argument("--labels", type=Path, help="CIFAR-10: the Parquet file of labels")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--sources", nargs="+", choices=[*SOURCES, SAMPLE], default=[*SOURCES, SAMPLE])
    asked = parser.parse_args()
    asked.better = False  # one backbone, as benchmarks/quality_frozen.py has it by default
    if asked.command in ("quality", "advice"):
        if asked.cache is None and set(asked.sources) != {"digits"}:
            parser.error(f"{asked.command} needs --cache")
        if "cifar10n" in asked.sources and not (asked.images and asked.labels):
            parser.error("cifar10n needs --images and --labels, or leave it out of --sources")
    COMMANDS[asked.command](asked)


if __name__ == "__main__":
    main()
