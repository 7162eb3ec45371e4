"""One number a sample, float32, higher is better. What each is called and means, without loading torch.

A quantity whose natural sign is the other way is stored negated and called neg_…; docs/signals.md has formulas and sources.
"""

# Part of a run's id: raised whenever any score's value changes for the same input.
VERSION = "1"

# name → what it says, in one line. What `mimic score` computes, a batch at a time: `mimic.scores.scorer`.
SIGNALS: dict[str, str] = {
    "mimic": "Mimic Score: how far a descent step on the sample carries the start towards the reference",
    "ref_logprob": "log-probability of the given label under the reference, in nats",
    "logprob": "log-probability of the given label under the start, in nats",
    "margin": "the given label's logit minus the highest other one, under the start; positive when it agrees",
    "mimic_path": "Mimic Score averaged along the straight path to the reference: the loss it would save, by distance",
    "ref_margin": "the given label's logit minus the highest other one, under the reference",
    "rho": "reducible loss: the start's loss minus the reference's, in nats",
    "neg_el2n": "minus the distance of the start's probabilities from the given label (EL2N)",
    "neg_grad_norm": "minus the length of the loss's gradient by the start's last layer",
    "alignment_self": "cosine of the sample's descent direction and the start's own last layer",
}
DEFAULT_SIGNALS: tuple[str, ...] = ("mimic", "ref_logprob", "logprob", "margin", "mimic_path")
