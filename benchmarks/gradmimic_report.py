"""What Grad-Mimic's benchmark writes: the tables of results/gradmimic*.csv and its section of docs/results.md.

Figures are means over splits with their standard errors, paired where two are compared. A share of the gap is
Σ(arm − SGD) / Σ(reference − SGD) over the cells of one split, a cell being a data set with one version of its labels.
"""

from __future__ import annotations

import os
import platform

import numpy as np
import pandas as pd
import torch

from benchmarks.gradmimic_cells import REFERENCES, SWEPT, TEMPERATURES
from benchmarks.gradmimic_filters import RULE
from benchmarks.tables import Section, markdown, write_csv, write_section

CELL = ["dataset", "labels"]
COMMAND = "python -m benchmarks.gradmimic --cache CACHE --cifar PNGS --labels PARQUET --emoji PACKAGE"
Rows = dict[str, list[dict[str, object]]]


def report(rows: Rows, write: bool = True) -> None:
    """Prints every table; also writes them if asked."""
    parts = [
        probe(pd.DataFrame(rows["outcomes"]), write),
        detection(pd.DataFrame(rows["detection"]), write),
        subsets(pd.DataFrame(rows["subsets"]), write),
    ]
    if rows["arms"]:
        parts.append(finetuning(pd.DataFrame(rows["arms"]), pd.DataFrame(rows["scores"]), write))
    seconds = sum(float(str(row["seconds"])) for row in rows["time"])
    parts.append(f"All of it took {seconds / 60:.0f} minutes of processor time: {machine()}.")
    body = "\n\n".join(parts)
    print(body)
    if write:
        print(write_section(Section("gradmimic", "Grad-Mimic: re-weighted training and its filters", COMMAND, body)))


def machine() -> str:
    """Where the figures come from."""
    return (
        f"{os.cpu_count()} cores, {platform.machine()}, one thread, torch {torch.__version__}, numpy {np.__version__}"
    )


def summary(table: pd.DataFrame, keys: list[str], measures: list[str]) -> pd.DataFrame:
    """Mean and standard error over splits, how many there were, and the machine."""
    grouped = table.groupby(keys, sort=False, dropna=False)[measures]
    errors = grouped.sem().add_suffix(" error")
    found = grouped.mean().join(errors).join(grouped.size().rename("seeds")).reset_index()
    return found.assign(machine=machine())


def gap_shares(table: pd.DataFrame, reference: str, arm: str) -> pd.Series:
    """By split: Σ(arm − SGD) / Σ(reference − SGD) over the cells."""
    wide = beside(table, reference, [arm])
    sums = (wide.sub(wide["SGD"], axis=0)).groupby("seed").sum()
    return sums[arm] / sums["reference"]


def beside(table: pd.DataFrame, reference: str, arms: list[str]) -> pd.DataFrame:
    """Accuracy by cell and split: SGD, the reference, and some arms with that reference."""
    mine = table[table.reference.eq(reference) | table.reference.eq("")]
    wide = mine.pivot_table(index=[*CELL, "seed"], columns="arm", values="accuracy", sort=False)
    return wide[list(dict.fromkeys(["SGD", "reference", *arms]))]


def plus_minus(values: pd.Series | np.ndarray, decimals: int = 1) -> str:
    """Mean ± standard error."""
    return f"{np.mean(values):.{decimals}f} ± {pd.Series(values).sem():.{decimals}f}"


def probe(table: pd.DataFrame, write: bool) -> str:
    """The linear probe."""
    if write:
        write_csv("gradmimic", summary(table, [*CELL, "reference", "arm"], ["accuracy", "loss", "steps"]))
    clean, noisy = ((beside(table, name, ["Grad-Mimic"])) for name in ("clean", "noisy"))
    shares = {name: gap_shares(table, name, "Grad-Mimic") for name in REFERENCES[:2]}
    return f"""### Linear probe
Features of EfficientNet-Lite0, a linear head from zero, AdamW 1e-4, batch 32, five epochs as in the paper (25 on digits
and emoji), 4,000 photos to judge (or half of what there is) and as many for the reference; accuracy on test photos with
clean labels, mean of {table.seed.nunique()} splits. References: *clean*, trained on other samples with clean labels;
*noisy*, on other samples as wrong as the judged ones; *same clean*, on the judged samples with clean labels, as the
paper does: an oracle, reported and never claimed. Policy and temperature (softmax, τ = 1) and the rivals' settings were
fixed once, by accuracy on a held-out tenth of the judged half whose labels are as wrong as the rest, mean over all
cells with the clean reference, on a split that is not counted here (`--choose`: results/gradmimic_choice.csv).

- With the clean reference Grad-Mimic is ahead of SGD in {ahead(clean)} and closes {plus_minus(shares["clean"], 2)} of
  the gap between SGD and the reference, pooled over the cells; it is ahead of the reference too in
  {ahead(clean, "reference")}.{behind(clean)} {rivals(table)}
- With the noisy reference it is ahead of SGD in {ahead(noisy)} ({gain(noisy, "SGD")} points) and of the reference
  in {ahead(noisy, "reference")} ({gain(noisy, "reference")} points).{behind(noisy)}
- With the oracle it closes {plus_minus(shares[REFERENCES[0]], 2)} of the gap (the paper's own table: .49 pooled).

{markdown(by_cell(table))}

Every arm, by what it was given: points gained on SGD (mean over cells, paired standard error over splits), share of
the gap closed, cells in which it is ahead of SGD, and the share of SGD's steps after which it reaches SGD's final test
loss (median over cells and splits; – where it mostly never does or the curve was not kept).

{markdown(all_arms(table), 2)}

Settings, on {SWEPT} with the clean reference; *noise b*: b times the spread of its weights added to the reference.

{markdown(swept(table), 1)}"""


def ahead(wide: pd.DataFrame, against: str = "SGD", arm: str = "Grad-Mimic") -> str:
    """In how many cells the mean over splits is higher."""
    by = (wide[arm] - wide[against]).groupby(CELL).mean()
    return f"{(by > 0).sum()} of {len(by)} cells"


def behind(wide: pd.DataFrame, arm: str = "Grad-Mimic") -> str:
    """The cells in which SGD is ahead, in a sentence; empty if none."""
    by = (wide[arm] - wide["SGD"]).groupby(CELL).mean()
    cells = [f"{' / '.join(cell)} ({lost:+.1f})" for cell, lost in by[by < 0].sort_values().items()]
    return f" It loses to SGD on {', '.join(cells)}." if cells else ""


def rivals(table: pd.DataFrame) -> str:
    """What does better than Grad-Mimic with the clean reference, by the mean over cells, in a sentence."""
    named = table[table.reference.eq("clean")].groupby("arm").labels.nunique()
    arms = [arm for arm in named.index[named == table.labels.nunique()] if arm not in ("Grad-Mimic", "reference")]
    wide = beside(table, "clean", ["Grad-Mimic", *arms])
    leads = wide[arms].sub(wide["Grad-Mimic"], axis=0).groupby("seed").mean()
    better = leads.mean()[leads.mean() > 0].sort_values(ascending=False).index
    told = [f"{arm} ({plus_minus(leads[arm], 2)} points)" for arm in better]
    return f"Better with the same reference: {', '.join(told)}." if told else "No rival does better with it."


def gain(wide: pd.DataFrame, against: str, arm: str = "Grad-Mimic") -> str:
    """Mean over cells with the paired standard error over splits."""
    return plus_minus((wide[arm] - wide[against]).groupby("seed").mean(), 2)


def by_cell(table: pd.DataFrame) -> pd.DataFrame:
    """A row a cell: SGD, then Grad-Mimic and the reference by what the reference was trained on."""
    parts = {"SGD": beside(table, "clean", [])["SGD"]}
    for name in (*REFERENCES[1:], REFERENCES[0]):
        wide = beside(table, name, ["Grad-Mimic"])
        parts |= {f"{name}: Grad-Mimic": wide["Grad-Mimic"], f"{name}: reference": wide["reference"]}
    return pd.DataFrame(parts).groupby(CELL, sort=False).agg(plus_minus).reset_index()


def all_arms(table: pd.DataFrame) -> pd.DataFrame:
    """A row an arm and what it was given, most points gained first within what was given."""
    counts = table.groupby(["reference", "arm"]).labels.nunique()
    rows = []
    for reference in ("clean", "noisy", "", REFERENCES[0]):
        for arm in counts[reference].index if reference in counts.index else []:
            everywhere = counts[reference, arm] == table.labels.nunique()
            if arm == "SGD" or not everywhere:
                continue
            wide = beside(table, reference or "clean", [arm])
            mine = table[table.reference.eq(reference) & table.arm.eq(arm)]
            reached = mine.steps.fillna(np.inf).median()
            rows.append(
                {
                    "given": reference or "nothing",
                    "arm": arm,
                    "points": (wide[arm] - wide["SGD"]).groupby("seed").mean().mean(),
                    "gained": gain(wide, "SGD", arm),
                    "of the gap": plus_minus(gap_shares(table, reference, arm), 2)
                    if reference in REFERENCES[:2]
                    else "–",
                    "ahead": ahead(wide, "SGD", arm),
                    "steps": float(reached) if np.isfinite(reached) else np.nan,
                }
            )
    found = pd.DataFrame(rows)
    order = found.groupby("given", sort=False).ngroup()
    return found.assign(order=order).sort_values(["order", "points"], ascending=[True, False]).drop(
        columns=["order", "points"]
    )  # fmt: skip


def swept(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracy by setting and data set, and the mean."""
    mine = table[table.labels.eq(SWEPT)]
    plain = mine[mine.arm.eq("SGD") | (mine.arm.eq("reference") & mine.reference.eq("clean"))]
    order = r"softmax", r"top \d", r"clamp$", r"noise", r"reference, noise"
    settings = pd.concat([plain, *(mine[mine.arm.str.match(each)] for each in order)])
    wide = settings.pivot_table(index="arm", columns="dataset", values="accuracy", sort=False)
    wide["mean"] = wide.mean(axis=1)
    temperatures = [f"softmax, τ = {t:g}" for t in TEMPERATURES]
    rest = [each for each in wide.index if each not in ("SGD", "reference", *temperatures)]
    wide = wide.loc[[each for each in ("SGD", "reference", *temperatures, *rest) if each in wide.index]]
    return wide.reset_index().rename(columns={"arm": "setting"})


def kind_of(labels: pd.Series) -> pd.Series:
    """Symmetric, asymmetric, or by people."""
    return labels.str.extract(r"^(symmetric|asymmetric)", expand=False).fillna("people")


def detection(table: pd.DataFrame, write: bool) -> str:
    """The filters."""
    keys = [*CELL, "reference", "binariser", "aggregator"]
    measures = ["f1", "best f1", "auroc", "dropped", "wrong", "mean score"]
    if write:
        write_csv("gradmimic_detection", summary(table, keys, measures))
    rule = table[table.binariser.eq(RULE[0]) & table.aggregator.eq(RULE[1])].assign(kind=kind_of(table.labels))
    honest = rule[rule.reference.eq("clean")]
    graded = honest[honest.dataset.isin(["cifar10", "emoji"]) & honest.kind.eq("symmetric")]
    symmetric, oracle = (each[each.kind.eq("symmetric")] for each in (honest, rule[rule.reference.ne("clean")]))
    return f"""### Filters from visits
F1 of finding the wrong labels (per cent) from the scores and weights that Grad-Mimic's training recorded. The rule, a
line at zero through the mean score, was fixed on Fashion-MNIST and digits, on a split that is not counted; CIFAR-10 and
emoji grade it. *Best*: the line through the mean score that the truth would pick.

- Clean reference, symmetric noise: mean F1 {by_seed(symmetric, "f1")} by the rule, {by_seed(symmetric, "best f1")} by
  the best line{on_graded(graded)}; at most {worst(symmetric)}.
- The oracle, symmetric noise, Dawid-Skene over visits, to stand beside the paper: {beside_paper(table)}. The rule:
  {by_seed(oracle, "f1")}.

{markdown(grid(table), 1)}

The rule by cell, with the clean reference:

{markdown(by_rule(honest), 1)}"""


def beside_paper(table: pd.DataFrame) -> str:
    """The paper's three ways to binarise, ours by theirs."""
    mine = table[table.reference.eq(REFERENCES[0]) & table.aggregator.eq("Dawid-Skene")]
    mine = mine[kind_of(mine.labels).eq("symmetric")]
    theirs = {"mixture": 95.6, "weight ≥ 1/b": 94.7, "two means": 89.1}
    told = [f"{name} {by_seed(mine[mine.binariser.eq(name)], 'f1')} ({f1})" for name, f1 in theirs.items()]
    return "; ".join(told)


def by_seed(table: pd.DataFrame, measure: str) -> str:
    """Mean over cells ± standard error over splits."""
    return plus_minus(table.groupby("seed")[measure].mean())


def on_graded(graded: pd.DataFrame) -> str:
    """The same on the data sets that grade the rule."""
    if graded.empty:
        return ""
    return f" (on the graded sets {by_seed(graded, 'f1')} and {by_seed(graded, 'best f1')})"


def worst(table: pd.DataFrame) -> str:
    """The cell in which the rule loses most."""
    lost = (table["best f1"] - table["f1"]).groupby([table.dataset, table.labels]).mean()
    return f"{lost.max():.1f} points are lost ({' / '.join(lost.idxmax())})"


def grid(table: pd.DataFrame) -> pd.DataFrame:
    """Binariser and aggregator by reference and kind of mistakes: mean F1 over cells and splits, and the loss."""
    table = table.assign(kind=kind_of(table.labels), lost=table["best f1"] - table["f1"])
    column = table.reference.replace({"clean": "clean reference", REFERENCES[0]: "oracle"}) + ", " + table.kind
    wide = table.assign(column=column).pivot_table(index=["binariser", "aggregator"], columns="column", values="f1")
    honest = table[table.reference.eq("clean")].groupby(["binariser", "aggregator"]).lost
    wide["lost to the best, clean reference"] = honest.mean()
    return wide.sort_values(wide.columns[-1]).reset_index()


def by_rule(honest: pd.DataFrame) -> pd.DataFrame:
    """A row a cell."""
    measures = ["wrong", "dropped", "f1", "best f1", "auroc", "mean score"]
    found = honest.groupby(CELL, sort=False)[measures].mean()
    found[["auroc", "mean score"]] = found[["auroc", "mean score"]].map("{:.3f}".format)
    return found.reset_index()


def subsets(table: pd.DataFrame, write: bool) -> str:
    """Clean subsets."""
    if write:
        write_csv("gradmimic_subsets", summary(table, ["dataset", "signal", "share"], ["accuracy", "loss"]))
    everything = table[table.signal.eq("everything")].set_index(["dataset", "seed"]).accuracy
    some = table[table.signal.ne("everything")]
    lost = some.accuracy.to_numpy() - everything.loc[list(zip(some.dataset, some.seed, strict=True))].to_numpy()
    seeds = some.assign(lost=lost).groupby(["signal", "share", "seed"], sort=False).lost.mean()
    wide = seeds.groupby(["signal", "share"], sort=False).apply(plus_minus).unstack("share")
    wide = wide[sorted(wide.columns, reverse=True)]
    order = seeds.groupby("signal").mean().sort_values(ascending=False).index
    shown = wide.loc[order].rename(columns="best {:.0%}".format).reset_index()
    return f"""### Subsets of clean data
The judged half with clean labels, only the best 80 … 50 % of it by a signal, for as many passes over the data: points
of accuracy against training on all of it, mean over the data sets. All labels are right here, so a score of label
quality has nothing to find: what it calls best is what is easy.

{markdown(shown)}"""


def finetuning(arms: pd.DataFrame, scores: pd.DataFrame, write: bool) -> str:
    """Full fine-tuning."""
    keys = ["dataset", "network", "labels"]
    arms = arms.assign(exhausted=arms.exhausted.astype(float))  # nothing but None, where it never happened
    if write:
        write_csv("gradmimic_finetune", summary(arms, [*keys, "arm"], ["accuracy", "exhausted"]))
        write_csv("gradmimic_scores", summary(scores, [*keys, "epoch", "score"], ["auroc", "mean"]))
    accuracy = arms.assign(cell=arms.dataset + ", " + arms.network + ", " + arms.labels).pivot_table(
        index="arm", columns="cell", values="accuracy", sort=False
    )
    accuracy["mean"] = accuracy.mean(axis=1)
    wide = scores.pivot_table(index=["network", "score"], columns=["labels", "epoch"], values="auroc", sort=False)
    wide.columns = [f"{labels}, {when(epoch)}" for labels, epoch in wide.columns]
    means = scores.pivot_table(index=["network", "score"], columns="epoch", values="mean", sort=False)
    means.columns = [f"mean score, {when(epoch)}" for epoch in means.columns]
    mimic = [each for each in wide.index if not each[1].startswith(("log-prob", "RHO"))]
    spent = arms[arms.exhausted.notna() & arms.arm.str.startswith("Grad-Mimic")].groupby("arm").exhausted.median()
    return f"""### Full fine-tuning
A small network, all parameters: a start of two epochs on 2,000 clean photos, a reference that went on from it for six
with 2,000 others, and every arm fine-tuning the start on 2,000 further photos with noisy labels: four epochs of AdamW,
1e-3 falling to 0, batch 64. Accuracy on test photos; splits: {arms.seed.nunique()}. `convnet` keeps running statistics,
`convnet-group` has none.

{markdown(accuracy.reset_index(), 1)}

AUROC of finding the wrong labels at the start and as plain fine-tuning goes on, mean over both data sets:

{markdown(wide.reset_index())}

The mean of the same scores, positive while the reference lies downhill:

{markdown(means.loc[mimic].reset_index())}

Epochs after which the mean score over 50 steps was not positive any more, median where that happened:
{"; ".join(f"{arm}: {epochs:.1f}" for arm, epochs in spent.items()) or "it never happened"}."""


def when(epoch: int) -> str:
    """In words."""
    return "start" if epoch == 0 else f"epoch {epoch}"


def report_choice(rows: list[dict[str, object]]) -> None:
    """Prints the candidates by kind, best first, and writes results/gradmimic_choice.csv."""
    table = pd.DataFrame(rows)
    wide = table.pivot_table(index=["kind", "policy"], columns="reference", values="noisy accuracy").reset_index()
    wide = wide.sort_values(["kind", "clean"], ascending=[True, False])
    print(wide.round(2).to_string(index=False))
    print(write_csv("gradmimic_choice", wide.assign(machine=machine())))
