"""Mimic Score: how far a descent step on this sample would carry the model towards the reference. Higher is better.

m_i = ⟨−∇ℓ_i(θ), v⟩ / ‖v‖ with v = θ_ref − θ over a scope; unit: loss per unit of weight distance. Positive: the step
leads towards the reference; negative: away from it. The sign and the scale belong to the method (Huang et al. 2025,
arXiv 2501.06708, section 3); how the derivative is taken is `mimic.scores.differentiate`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from mimic.losses import NO_LABEL, Loss, get_loss
from mimic.models.calling import Inputs
from mimic.models.direction import Direction
from mimic.scores.differentiate import Differentiator, Method


def mimic_scores(
    model: nn.Module,
    images: Inputs,
    labels: Tensor | None,
    direction: Direction,
    loss: str | Loss = "cross_entropy",
    method: Method = "auto",
) -> Tensor:
    """The Mimic Score of every sample of a batch.

    Args:
        model: the model at θ; scored in eval mode, and left in the mode it had.
        images: (B, …), what the model takes, on its device; (images, texts) for a loss of pairs.
        labels: what the loss takes: (B,) integers 0 … K−1, or −1 for a sample without a label; (B, K) where samples
            have several labels; None for a loss of pairs.
        direction: from θ towards the reference, see `Direction.between`.
        loss: a name in `mimic.losses.LOSSES`, or a function (logits, labels) → (B,).
        method: ``"closed"``, ``"jvp"``, ``"difference"``, or ``"auto"``: the first of these that fits.

    Returns:
        (B,) float32, higher is better; NaN where the sample has no label or its score is not finite.

    Raises:
        MimicError: a label without an output, a model without (B, K) logits, a method that does not fit.

    Example:
        >>> import torch
        >>> from mimic import Direction, mimic_scores
        >>> model, reference = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
        >>> for each, diagonal in ((model, 0.0), (reference, 2.0)):
        ...     _ = each.load_state_dict({"weight": diagonal * torch.eye(2), "bias": torch.zeros(2)})
        >>> direction = Direction.between(model, reference.state_dict(), scope="last")
        >>> images, labels = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1])
        >>> mimic_scores(model, images, labels, direction)  # the second label is not what the reference sees
        tensor([ 0.3536, -0.3536])
    """
    return _scores(Differentiator(model, [direction], get_loss(loss), method), images, labels)


def iter_scores(
    model: nn.Module,
    loader: Iterable[tuple[Inputs, Tensor | None]],
    direction: Direction,
    loss: str | Loss = "cross_entropy",
    method: Method = "auto",
) -> Iterator[Tensor]:
    """The Mimic Scores of a whole loader, a batch at a time; the method is chosen once.

    Args:
        model: as for `mimic_scores`.
        loader: gives what `mimic_scores` takes, (images, labels) as a rule; moved to the model's device here.
        direction: as for `mimic_scores`.
        loss: as for `mimic_scores`.
        method: as for `mimic_scores`.

    Yields:
        (B,) float32 for every batch, in the loader's order.

    Raises:
        MimicError: as for `mimic_scores`.

    Example:
        >>> import torch
        >>> from mimic import Direction, iter_scores
        >>> _ = torch.manual_seed(0)
        >>> model, reference = torch.nn.Linear(3, 4), torch.nn.Linear(3, 4)
        >>> data = torch.utils.data.TensorDataset(torch.randn(10, 3), torch.randint(4, (10,)))
        >>> loader = torch.utils.data.DataLoader(data, batch_size=4)
        >>> direction = Direction.between(model, reference.state_dict())
        >>> torch.cat(list(iter_scores(model, loader, direction))).shape
        torch.Size([10])
    """
    differentiate = Differentiator(model, [direction], get_loss(loss), method)
    device = next(iter(direction.tensors.values())).device
    for images, labels in loader:
        # torch's own collation turns a tuple into a list
        here = tuple(each.to(device) for each in images) if isinstance(images, tuple | list) else images.to(device)
        yield _scores(differentiate, here, None if labels is None else labels.to(device))


def finite(values: Tensor, labels: Tensor | None) -> Tensor:
    """Scores as they are stored: float32, NaN for whatever is not finite or has no label."""
    values = values.float()
    known = values.isfinite()
    if labels is not None and labels.ndim == 1:
        known = known & (labels != NO_LABEL)
    return torch.where(known, values, torch.nan)


def _scores(differentiate: Differentiator, images: Inputs, labels: Tensor | None) -> Tensor:
    (slope,) = differentiate(images, labels, outputs=False).slopes
    return finite(-slope, labels)
