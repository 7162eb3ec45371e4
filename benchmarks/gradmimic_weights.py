"""What an arm does with a batch: every rival's way from gradients and losses to the weights of a batch's samples.

All arms are linear heads on the same features, so a batch brings everything that any of them needs: for sample i with
features h_i, probabilities p_i and the label's one-hot vector y_i the gradient is (p_i − y_i) ⊗ (h_i, 1), and
V h_i + v_b is the reference's logits minus ours. Weights are ≥ 0 and sum to 1 over a batch; policies are those of
`mimic.training.weights`. Shapes: A arms, B samples, K classes, D features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from mimic.training.weights import Policy

RIDGE = 0.5  # of Grad-Match, relative to the mean squared length of a gradient


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Attributes:
        name: what it is called in tables.
        kind: a key of `WEIGHERS`.
        labels: which version of the labels it is trained on.
        reference: which reference, validation samples or kept samples it is given; "" for none.
        policy: how what it measures becomes weights.
        scope: "last", or "last-weight" without the bias.
        cosine: whether scores are divided by the gradient's length too.
        taught: share of the reference's probabilities in what is taught, 0 … 1.
        record: whether its visits are kept.
    """

    name: str
    kind: str
    labels: str
    reference: str = ""
    policy: Policy = field(default_factory=Policy)
    scope: str = "last"
    cosine: bool = False
    taught: float = 0.0
    record: bool = False

    @property
    def group(self) -> str:
        """Arms of a group are weighed together."""
        return f"{self.kind} {bool(self.reference)} {self.policy} {self.scope} {self.cosine}"


@dataclass
class Batch:
    """One step of the arms of a kind.

    Attributes:
        arms: A of them.
        rows: (B,), positions of the samples in the data.
        features: (B, D), shared.
        logits: (A, B, K).
        errors: (A, B, K), softmax(logits) − onehot(label), the losses' gradient by the logits.
        losses: (A, B).
        lead: (A, B, K), the reference's logits minus ours; only of arms with a reference.
        own: (A, K, D) and (A, K), the heads.
        theirs: (A, K, D) and (A, K), the references.
        compare: gives the features and labels that an arm may compare with.
        kept: gives an arm's (N,) samples that are trained on.
    """

    arms: list[Arm]
    rows: Tensor
    features: Tensor
    logits: Tensor
    errors: Tensor
    losses: Tensor
    lead: Tensor | None
    own: tuple[Tensor, Tensor]
    theirs: tuple[Tensor, Tensor] | None
    compare: Callable[[Arm], tuple[Tensor, Tensor]]
    kept: Callable[[Arm], Tensor]

    @property
    def lengths(self) -> Tensor:
        """‖g_i‖ (A, B)."""
        return self.errors.norm(dim=2) * (self.features.square().sum(dim=1) + 1).sqrt()

    def compared_gradients(self) -> tuple[Tensor, Tensor]:
        """The mean gradient (A, K, D) and (A, K) of each arm's samples to compare with, at the arm's own head."""
        compared = [self.compare(arm) for arm in self.arms]
        weights, biases = torch.empty_like(self.own[0]), torch.empty_like(self.own[1])
        for each in {id(features): features for features, _ in compared}.values():
            mine = [i for i, (features, _) in enumerate(compared) if features is each]
            labels = torch.stack([compared[i][1] for i in mine], dim=1)  # (M, A)
            weight, bias = self.own[0][mine], self.own[1][mine]
            logits = torch.addmm(bias.flatten(), each, weight.flatten(0, 1).T).view(len(each), *bias.shape)
            errors = logits.softmax(dim=2).scatter_add(2, labels[:, :, None], -torch.ones_like(logits[:, :, :1]))
            weights[mine] = (errors.flatten(1).T @ each).view_as(weight) / len(each)
            biases[mine] = errors.mean(dim=0)
        return weights, biases

    def agreement(self) -> Tensor:
        """⟨g_i, ḡ⟩ (A, B) with the mean gradient ḡ of the samples to compare with."""
        weight, bias = self.compared_gradients()
        slopes = (self.features @ weight.flatten(0, 1).T).view(len(self.features), *bias.shape).transpose(0, 1)
        return (self.errors * (slopes + bias[:, None])).sum(dim=2)


def mimic_scores(batch: Batch) -> Tensor:
    """m_i (A, B), of arms with the same scope; divided by ‖g_i‖ for the cosine."""
    assert batch.lead is not None
    assert batch.theirs is not None
    arm = batch.arms[0]
    lead, bias = batch.lead, batch.theirs[1] - batch.own[1]
    square = (batch.theirs[0] - batch.own[0]).square().sum(dim=(1, 2))
    if arm.scope == "last-weight":
        lead = lead - bias[:, None]
    else:
        square = square + bias.square().sum(dim=1)
    scores = -(batch.errors * lead).sum(dim=2) / square.sqrt()[:, None]
    return scores / batch.lengths.clamp_min(1e-12) if arm.cosine else scores


def weigh(policy: Policy, scores: Tensor) -> Tensor:
    """The policy on each arm's batch, (A, B)."""
    return torch.vmap(policy)(scores)


def uniform(batch: Batch) -> Tensor:
    """Plain SGD."""
    return torch.full_like(batch.losses, 1 / batch.losses.shape[1])


def subset(batch: Batch) -> Tensor:
    """Plain SGD on the arm's own samples: what a batch holds of them, equally."""
    mine = torch.stack([batch.kept(arm)[batch.rows] for arm in batch.arms]).float()
    return mine / mine.sum(dim=1, keepdim=True).clamp_min(1)


def mimic(batch: Batch) -> Tensor:
    """Grad-Mimic."""
    return weigh(batch.arms[0].policy, mimic_scores(batch))


def grand(batch: Batch) -> Tensor:
    """More weight for long gradients (GraNd, Paul et al. 2021): softmax over the batch of ‖g_i‖ / their mean."""
    lengths = batch.lengths
    return weigh(batch.arms[0].policy, lengths / lengths.mean(dim=1, keepdim=True))


def short(batch: Batch) -> Tensor:
    """The opposite: more weight for short gradients."""
    lengths = batch.lengths
    return weigh(batch.arms[0].policy, -lengths / lengths.mean(dim=1, keepdim=True))


def agra(batch: Batch) -> Tensor:
    """Leaves out what points away from the mean gradient of another batch (AGRA, Sedova et al. 2023)."""
    kept = (batch.agreement() > 0).float()
    return kept / kept.sum(dim=1, keepdim=True).clamp_min(1)


def influence(batch: Batch) -> Tensor:
    """Weight by how far a step would lower the loss of validation samples, to first order (Ren et al. 2018)."""
    return weigh(batch.arms[0].policy, batch.agreement())


def grad_match(batch: Batch) -> Tensor:
    """A third of the batch, weighted to match the validation samples' mean gradient (Killamsetty et al. 2021)."""
    inner = batch.features @ batch.features.T + 1
    gram = batch.errors @ batch.errors.transpose(1, 2) * inner
    return matching(gram, batch.agreement(), -(-len(inner) // 3))


def matching(gram: Tensor, aim: Tensor, picks: int) -> Tensor:
    """Orthogonal matching pursuit with weights that are not negative, scaled to sum to 1.

    Args:
        gram: (A, B, B), inner products of the samples' gradients.
        aim: (A, B), their inner products with the gradient to match.
        picks: how many samples are taken.

    Returns:
        (A, B); uniform where no sample points the right way.
    """
    size = aim.shape[1]
    ridge = RIDGE * gram.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None]
    taken, weights = torch.zeros_like(aim, dtype=torch.bool), torch.zeros_like(aim)
    for _ in range(picks):
        residual = (aim - (gram @ weights[:, :, None]).squeeze(2)).masked_fill(taken, -torch.inf)
        taken.scatter_(1, residual.argmax(dim=1, keepdim=True), True)
        both = taken[:, :, None] & taken[:, None, :]
        system = gram * both + torch.diag_embed(torch.where(taken, ridge, 1.0))
        weights = torch.linalg.solve(system, (aim * taken)[:, :, None]).squeeze(2).clamp_min(0)
    total = weights.sum(dim=1, keepdim=True)
    return torch.where(total > 0, weights / total.clamp_min(1e-30), 1 / size)


def rho(batch: Batch) -> Tensor:
    """By the reducible loss ℓ_i(θ) − ℓ_i(θ_ref) (Mindermann et al. 2022)."""
    return weigh(batch.arms[0].policy, batch.losses - _reference_losses(batch))


def reference_loss(batch: Batch) -> Tensor:
    """By −ℓ_i(θ_ref)."""
    return weigh(batch.arms[0].policy, -_reference_losses(batch))


def _reference_losses(batch: Batch) -> Tensor:
    assert batch.lead is not None
    given = batch.logits.softmax(dim=2) - batch.errors  # one-hot
    return -(given * F.log_softmax(batch.logits + batch.lead, dim=2)).sum(dim=2)


WEIGHERS: dict[str, Callable[[Batch], Tensor]] = {
    "uniform": uniform,
    "subset": subset,
    "mimic": mimic,
    "grand": grand,
    "short": short,
    "agra": agra,
    "influence": influence,
    "grad_match": grad_match,
    "rho": rho,
    "reference_loss": reference_loss,
}
