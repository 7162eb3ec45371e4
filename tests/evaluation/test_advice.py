"""Advice: keep everything where nothing speaks against it, else a filter; and every number comes from somewhere."""

import re

import pandas as pd
import pytest

from mimic.evaluation.advice import PREFERRED, WITHOUT_REFERENCE, Evidence, advise
from mimic.evaluation.quality import Quality
from mimic.evaluation.retraining import Best
from mimic.scores import FURTHER_SIGNALS, SIGNALS

CHECK = {
    "verdict": "Good",
    "samples": 3000,
    "reference_agreement": 0.715,
    "start_agreement": 0.556,
    "mean": 0.618,
    "mean_low": 0.605,
    "mean_high": 0.631,
}


def quality(share: float, low: float, high: float) -> Quality:
    return Quality(share, low, high, 3000, "reference", "alike", 1.0, "")


def best(beats: bool) -> Best:
    return Best("knn", 0.7, "kept", 0.03, 0.01 if beats else -0.01, 0.05, 2, beats, "What was found.")


def test_every_preferred_signal_is_one_of_ours():
    assert set(PREFERRED) | set(WITHOUT_REFERENCE) <= set(SIGNALS) | set(FURTHER_SIGNALS)


def test_clean_data_is_kept_whole():
    given = advise(Evidence(["mimic", "ref_logprob"], quality(0.998, 0.985, 1.0), CHECK))
    assert given.everything
    assert given.signal is None
    assert "keep everything" in given.paragraph


def test_noisy_data_gets_a_signal_and_a_range():
    given = advise(Evidence(["mimic", "ref_logprob"], quality(0.8, 0.78, 0.91), CHECK))
    assert given.signal == "ref_logprob"
    assert (given.keep, given.low, given.high) == pytest.approx((0.74, 0.624, 0.91))
    assert "mimic evaluate retrain" in given.paragraph
    assert "verdicts would bring" in given.paragraph


def test_a_check_by_few_samples_is_said_to_be_one():
    given = advise(Evidence(["mimic"], quality(0.8, 0.78, 0.91), CHECK | {"samples": 50}))
    assert given.paragraph.startswith("As far as 50 samples can say, the reference is fit to judge these labels: ")


def test_a_retraining_that_cannot_be_done_is_not_advised():
    given = advise(Evidence(["ref_logprob"], quality(0.8, 0.78, 0.91), CHECK, needed="import it with a column split"))
    assert "mimic evaluate retrain" not in given.paragraph
    assert "no score has seen can show: import it with a column split." in given.paragraph


def test_a_refused_reference_is_not_relied_on():
    refused = CHECK | {"verdict": "Do not use"}
    given = advise(Evidence(["mimic", "ref_logprob", "margin"], quality(0.8, 0.79, 0.81), refused))
    assert given.signal == "margin"
    assert "not fit" in given.paragraph
    nothing = advise(Evidence(["sharpness"], quality(0.8, 0.79, 0.81), None))
    assert nothing.signal is None


def test_truth_and_retraining_overrule_the_default():
    table = pd.DataFrame([{"signal": "knn", "auroc": 0.91, "auroc_low": 0.9, "auroc_high": 0.92}])
    assert advise(Evidence(["ref_logprob", "knn"], quality(0.8, 0.79, 0.81), CHECK, table)).signal == "knn"
    won = advise(Evidence(["ref_logprob", "knn"], quality(0.8, 0.79, 0.81), CHECK, None, best(True)))
    assert (won.signal, won.keep) == ("knn", 0.7)
    open_still = advise(Evidence(["ref_logprob", "knn"], quality(0.8, 0.79, 0.81), CHECK, table, best(False)))
    assert (open_still.signal, open_still.keep) == ("knn", 0.7)
    assert "still the one to try first" in open_still.paragraph
    lost = advise(Evidence(["ref_logprob", "knn"], quality(0.999, 0.98, 1.0), CHECK, None, best(False)))
    assert lost.everything


def test_without_anything_nothing_is_claimed():
    given = advise(Evidence(["mimic"]))
    assert given.everything
    assert "not known" in given.paragraph


def test_every_number_comes_from_the_evidence():
    given = advise(Evidence(["ref_logprob"], quality(0.8123, 0.7811, 0.8434), CHECK))
    known = {
        "71.5",
        "55.6",
        "0.618",
        "0.605",
        "0.631",
        "81",
        "78",
        "84",
    }  # and the range: 92.5% of the share, 80% of the interval's lower end
    known |= {"75", "62"}
    ours = {"2.5"} | set(re.findall(r"about ([\d,]+) verdicts", given.paragraph))
    said = set(re.findall(r"\d[\d,]*\.?\d*", given.paragraph.replace("%", "").replace(". ", " ")))
    assert {number.rstrip(".,") for number in said} <= known | ours
    assert all(sentence.source for sentence in given.sentences)
