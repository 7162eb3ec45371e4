"""One number a sample, float32, higher is better. What each is called and means, without loading torch.

A quantity whose natural sign is the other way is stored negated and called neg_…; docs/signals.md has the formulas.
"""

from collections.abc import Iterable, Mapping

from mimic.data import Task

# Part of a run's id: raised whenever any score's value changes for the same input.
VERSION = "2"

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
# Of these the scores by a direction: with several scopes, NAME is that of the first and NAME_SCOPE of each further one.
BY_SCOPE = ("mimic", "mimic_path")
# Of these and of captions' below: what the start alone says.
OF_THE_START = ("logprob", "margin", "neg_el2n", "neg_grad_norm", "alignment_self", "clip_start")
DEFAULT_SIGNALS: tuple[str, ...] = ("mimic", "ref_logprob", "logprob", "margin", "mimic_path")

# Losses of images with captions: contrastive, each pair within its batch. The signals of these, as above.
PAIR_LOSSES = ("clip", "siglip")
PAIR_SIGNALS: dict[str, str] = {
    "mimic": "Mimic Score: how far a descent step on the pair carries the start towards the reference",
    "clip": "cosine of image and caption under the reference (CLIP score)",
    "neg_clip_loss": "CLIP score less what the batch's other captions and images come to, under the reference",
    "ref_logprob": "log-probability of the pair among its batch under the reference, in nats",
    "mimic_path": "Mimic Score averaged along the straight path to the reference: the loss it would save, by distance",
    "logprob": "log-probability of the pair among its batch under the start, in nats",
    "rho": "reducible loss: the start's loss minus the reference's, in nats",
    "clip_start": "cosine of image and caption under the start",
    "neg_draw_error": "minus the standard error of the Mimic Score over the draws of batches; 0 where they agree",
}
# Where several draws of batches were averaged, the run says how much they differed.
DRAW_ERROR = "neg_draw_error"
DEFAULT_PAIR_SIGNALS: tuple[str, ...] = ("mimic", "clip", "neg_clip_loss", "ref_logprob", "mimic_path")

# The same for what `mimic signal add` adds: of the picture alone (`mimic.scores.image`), or of the whole set at
# once (`mimic.scores.table`).
FURTHER_SIGNALS: dict[str, str] = {
    "ensemble": "how likely the given label is the meant one, by the reference and the data together; needs no truth",
    "margin_mean": "mean margin over the visits of a head trained on the given labels (area under the margin)",
    "forgetting": "minus how often that head learnt the sample and lost it again",
    "confident": "confident learning: cleanlab's label quality, cross-validated",
    "knn": "share of the nearest neighbours in feature space that were given the same label",
    "dense": "cosine to the 50th nearest neighbour: low for outliers",
    "clip": "cosine of the picture and a sentence that names its label, under a CLIP model (--clip)",
    "duplicate": "minus how many earlier samples the picture nearly repeats",
    "sharpness": "variance of the Laplacian of luminance",
    "brightness": "mean luminance, 0 to 1",
    "contrast": "standard deviation of luminance",
    "aspect": "shorter side by longer side",
    "resolution": "pixels: width times height",
    "file_size": "bytes of the file",
}

# The same for captions (`mimic.scores.captions`), with what is said of the picture alone.
CAPTION_SIGNALS: dict[str, str] = {
    "caption_knn": "whether the captions of similar pictures are alike, and the pictures of similar captions",
    "basic": "share of DataComp's basic rules that hold: English, length, shape and size",
    "english": "share of the caption's characters in words as English is written",
    "caption_length": "words of the caption",
    "specificity": "minus the logarithm of how many samples have the same caption",
}
OF_THE_PICTURE = ("sharpness", "brightness", "contrast", "aspect", "resolution", "file_size")
FURTHER_PAIR_SIGNALS: dict[str, str] = CAPTION_SIGNALS | {name: FURTHER_SIGNALS[name] for name in OF_THE_PICTURE}


def meanings(names: Iterable[str], of: Mapping[str, str]) -> dict[str, str]:
    """What each name says, of those that `of` knows by themselves or without their scope.

    >>> meanings(["mimic_full", "logprob", "my_own"], {"mimic": "a score", "logprob": "another"})
    {'mimic_full': 'a score, of scope full', 'logprob': 'another'}
    """
    found = {}
    for name in names:
        family = max((one for one in BY_SCOPE if name.startswith(f"{one}_") and one in of), key=len, default="")
        if name in of:
            found[name] = of[name]
        elif family:
            found[name] = f"{of[family]}, of scope {name.removeprefix(f'{family}_')}"
    return found


def rests_on_reference(signal: str, task: Task) -> bool:
    """Whether a signal goes by the reference, and is worth no more than that is.

    >>> [name for name in ("mimic_last", "margin", "knn", "ensemble", "clip") if rests_on_reference(name, "labels")]
    ['mimic_last', 'ensemble']
    """
    if signal in (FURTHER_PAIR_SIGNALS if task == "captions" else FURTHER_SIGNALS):
        return signal == "ensemble"
    return signal not in OF_THE_START
