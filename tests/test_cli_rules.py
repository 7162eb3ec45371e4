"""`mimic filter` and `mimic compare` as people meet them, on a small published run."""

import json

import numpy as np
import pytest

from mimic.workspace.filters import load_filter
from tests.test_cli_filtering import command  # noqa: F401
from tests.workspace.queries.conftest import forget, known  # noqa: F401

# ruff: noqa: F811 (fixtures are imported by name)


def top(scores: np.ndarray, share: float) -> np.ndarray:
    scored = np.sort(scores[~np.isnan(scores)])[::-1]
    return scores >= scored[int(np.ceil(share * scored.size - 1e-6)) - 1]


def test_a_rule_is_made_from_an_expression(known, command):
    code, said, _ = command("filter", "first", "--rule", "mimic@top50% - fine@bottom15%", "--name", "both")
    assert code == 0
    mimic, fine = known.scores["mimic"], known.scores["fine"]
    kept = top(mimic, 0.5) & top(fine, 0.85)
    missing = np.isnan(fine) & (top(mimic, 0.5) | np.isnan(mimic))  # what the missing score could turn
    dropped = ~kept & ~missing
    assert f"{kept.sum():,} kept, {dropped.sum():,} dropped, {missing.sum():,} not scored" in said
    wrong = (known.wrong & dropped).sum() / (known.judged & dropped).sum()
    assert f"by the truth: {wrong:.1%} of the" in said
    assert load_filter(known.workspace, "both").counts["kept"] == kept.sum()
    assert "fine in the bottom 15%" in said.replace("not fine", "fine")
    code, _, said = command("filter", "first", "--rule", "mimic@top60%", "--name", "both")
    assert (code, said.count("\n")) == (2, 1)
    assert command("filter", "first", "--rule", "mimic@top60%", "--name", "both", "--replace")[0] == 0
    for _ in range(2):  # the same again is the same filter
        vote = "majority(mimic@top60%, fine@mixture, second:fine@mixture)"
        assert command("filter", "first", "--rule", vote, "--name", "vote")[0] == 0


def test_a_rule_comes_from_json_or_is_the_runs_own(known, command, tmp_path):
    code, said, _ = command("filter", "first", "--dry-run")
    assert code == 0
    assert "mimic@mixture" in said
    assert "nothing was saved" in said
    path = tmp_path / "rule.json"
    path.write_text(json.dumps({"kind": "split", "run": "second", "signal": "fine", "by": "two_means"}))
    assert "second:fine@two_means" in command("filter", "first", "--rule-file", path, "--dry-run")[1]
    command("filter", "first", "--rule", "fine >= 0.5", "--name", "plain", "--replace")
    saved = known.workspace.filters_folder / "plain.json"
    assert "fine >= 0.5" in command("filter", "first", "--rule-file", saved, "--dry-run")[1]
    assert "nothing is dropped" in command("filter", "first", "--rule", "mimic >= -1e9", "--dry-run")[1]
    taken_up = command("filter", "first", "--rule", "filter(plain) | mimic@top1%", "--dry-run")[1]
    assert "fine >= 0.5 | mimic@top1%" in taken_up


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--rule", "mimc@top5%"], "no run of data set d has a signal 'mimc': did you mean mimic? There are mimic"),
        (["--rule", "second:mimc@top5%"], "run second has no signal 'mimc'"),
        (["--rule", "third:mimic@top5%"], "no run 'third'"),
        (["--rule", "mimic@top5% -"], "at character 14, at its end"),
        (["--rule", "filter(lost)"], "no filter 'lost'"),
        (["--rule", "visits(first, score@mixture, majority)"], "recorded no visits"),
        (["--rule", "never@top5%"], "no sample of run first has the signal 'never'"),
        (["--rule", "mimic@top5%", "--rule-file", "x.json"], "two rules"),
        (["--rule-file", "lost.json"], "no file lost.json"),
        (["--rule", "mimic@top5%/class{cow 3%}"], "no class 'cow'"),
    ],
)
def test_every_mistake_is_one_sentence(command, options, said):
    code, _, error = command("filter", "first", *options, "--dry-run")
    assert (code, error.count("\n")) == (2, 1)
    assert said in error


def test_two_are_compared_at_the_same_budget(known, command):
    code, said, _ = command("compare", "first", "fine", "--keep", 0.8)
    assert code == 0
    a, b = known.scores["mimic"], known.scores["fine"]
    both = ~np.isnan(a) & ~np.isnan(b)
    keep = [np.sort(side[~np.isnan(side)])[::-1][round(0.8 * (~np.isnan(side)).sum()) - 1] for side in (a, b)]
    low_a, low_b = a < keep[0], b < keep[1]
    assert f"compared    {both.sum():,} samples" in said
    rows = {line.strip().rsplit(maxsplit=3)[0]: line.split()[-3] for line in said.splitlines() if "drop" in line[:15]}
    assert rows["both drop"] == str((low_a & low_b & both).sum())
    assert rows["only A drops"] == str((low_a & ~low_b & both).sum())
    assert "At other budgets" in said


def test_where_ties_keep_more_it_is_said(known, command):
    code, said, _ = command("compare", "first", "flat", "--keep", 0.8)
    assert code == 0
    scored = int((~np.isnan(known.scores["flat"])).sum())
    assert f"{scored:,} instead of {round(0.8 * scored):,}: what ties with the last one is kept too" in said
    assert "ranks       none: all scores of one are the same" in said
    assert "ties are never split" in said
    shown = {
        line.split()[0]: line.split()[1:3] for line in said.splitlines() if line.strip()[:1].isdigit() and "%" in line
    }
    for share in (0.5, 0.9, 0.98):
        rising = np.sort(known.scores["mimic"][~np.isnan(known.scores["mimic"])])
        kept = (rising >= rising[-round(share * rising.size)]).sum()
        assert shown[f"{share:.0%}"] == [str(kept), str(scored)]
    said = command("compare", "first:fine", "second:fine")[1]
    assert "A keeps" not in said
    assert "ties" not in said


def test_several_are_compared_with_a_filter_among_them(known, command):
    command("filter", "first", "--rule", "mimic@top50% - fine@bottom15%", "--name", "of", "--replace")
    code, said, _ = command("compare", "first", "second:fine", "of", "--by-class")
    assert code == 0
    assert "nan" not in said
    for words in ("Dropped by exactly these", "Two by two", "nobody", "most disputed first", "ABC"):
        assert words in said
    code, said, _ = command("compare", "first", "of")
    assert code == 0
    assert "by chance" in said
    kept = load_filter(known.workspace, "of").counts["kept"]
    assert abs(int(said.split(" kept")[0].split()[-1].replace(",", "")) - kept) <= 60  # ties, and what is not scored
    code, _, said = command("compare", "first", "first:mimic")
    assert (code, said.count("\n")) == (2, 1)
    assert "the same thing twice" in said


def test_an_audit_of_a_rule_draws_from_both_sides(known, command, tmp_path):
    command("filter", "first", "--rule", "mimic@top50% & second:fine@top50%", "--name", "joined", "--replace")
    path = tmp_path / "judge.csv"
    code, said, _ = command("audit", "joined", "--draw", 300, "--out", path)
    assert code == 0
    assert "150 samples that joined drops and 150 that it keeps" in said
    lines = path.read_text().splitlines()
    marked = [line + ("bad" if known.wrong[int(line.split(",")[1][:-4])] else "good") for line in lines[1:]]
    path.write_text("\n".join([lines[0], *marked]) + "\n")
    code, said, _ = command("audit", "joined", "--verdicts", path)
    assert (code, "recorded    300 verdicts" in said) == (0, True)
    assert "the rule: " in said
    keeps = [known.scores["mimic"], known.second_scores["fine"]]
    dropped = np.logical_or.reduce([~np.isnan(side) & ~top(side, 0.5) for side in keeps])
    low, high = said.split("precision ")[1].split("(")[1].split(")")[0].replace("%", "").split(" to ")
    assert float(low) <= 100 * known.wrong[dropped].mean() <= float(high)
    code, _, said = command("audit", "joined", "--verdicts", path, "--at", 0.3)
    assert (code, said.count("\n")) == (2, 1)
    assert "leave out other lines" in said
    forget(known)
    command("filter", "first", "--rule", "mimic@top50% & second:fine@top40%", "--name", "joined", "--replace")
    code, _, said = command("audit", "joined", "--draw", 300)
    assert code == 2
    assert "choose another name" in said
