"""Several processes that train one model together: torch.distributed in the few words that a training needs.

Alone, every function gives back what it was given. The processes must come to each call in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from mimic.errors import MimicError


def processes() -> int:
    """How many train together."""
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if distributed else 1


def rank() -> int:
    """Which of them this one is, from 0; the first writes and speaks for all."""
    return torch.distributed.get_rank() if processes() > 1 else 0


def leads() -> bool:
    """Whether this is the first."""
    return rank() == 0


def part(count: int) -> slice:
    """This process's share of so many samples: pieces in the processes' order, their lengths one apart at most."""
    here, all_ = rank(), processes()
    return slice(count * here // all_, count * (here + 1) // all_)


def wait() -> None:
    """Returns once every process has come here.

    Raises:
        MimicError: another process has ended.
    """
    if processes() > 1:
        _said(torch.distributed.barrier)


def total(tensor: Tensor) -> Tensor:
    """The sum over the processes; shapes are the same in all.

    Raises:
        MimicError: another process has ended.
    """
    if processes() > 1:
        tensor = tensor.clone()
        _said(lambda: torch.distributed.all_reduce(tensor))
    return tensor


def gathered(tensor: Tensor) -> tuple[Tensor, slice]:
    """Everybody's rows, in the processes' order, and where one's own are.

    Args:
        tensor: (B,), B not the same everywhere.

    Raises:
        MimicError: another process has ended.
    """
    if processes() == 1:
        return tensor, slice(0, len(tensor))
    sizes = torch.zeros(processes(), dtype=torch.int64, device=tensor.device)
    sizes[rank()] = len(tensor)
    ends = total(sizes).cumsum(0).tolist()
    own = slice(ends[rank()] - len(tensor), ends[rank()])
    whole = tensor.new_zeros(ends[-1])
    whole[own] = tensor
    return total(whole), own


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Puts every gradient's mean over the processes in its place, as DistributedDataParallel does.

    Raises:
        MimicError: another process has ended.
    """
    gradients = [each.grad for each in parameters if each.grad is not None]
    if processes() == 1 or not gradients:
        return
    means = total(torch.cat([each.reshape(-1) for each in gradients])) / processes()
    first = 0
    for gradient in gradients:
        gradient.copy_(means[first : first + gradient.numel()].view_as(gradient))
        first += gradient.numel()


def _said(call: Callable[[], object]) -> None:
    try:
        call()
    except RuntimeError as error:
        raise MimicError(
            "another process of this training has ended or is out of reach, so this one ends too: the same command "
            "goes on from the last checkpoint"
        ) from error
