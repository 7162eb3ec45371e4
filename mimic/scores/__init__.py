"""One number a sample, float32, higher is better. What each is called and means, without loading torch."""

# Part of a run's id: raised whenever any score's value changes for the same input.
VERSION = "1"

# name → what it says, in one line; `mimic.scores.logits` and `mimic.scores.mimic` compute them.
SIGNALS: dict[str, str] = {
    "mimic": "Mimic Score: how far a descent step on the sample carries the start towards the reference",
    "ref_logprob": "log-probability of the given label under the reference, in nats",
    "logprob": "log-probability of the given label under the start, in nats",
    "margin": "the given label's logit minus the highest other one, under the start; positive when it agrees",
    "mimic_path": "Mimic Score averaged along the straight path to the reference: the loss it would save, by distance",
}
DEFAULT_SIGNALS: tuple[str, ...] = tuple(SIGNALS)
