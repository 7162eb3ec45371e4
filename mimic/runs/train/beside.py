"""Joins the processes that torchrun has started: one a device, all of them this same command."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from mimic.errors import MimicError


@contextmanager
def joined(device: str) -> Iterator[str]:
    """Inside, `mimic.training.together` knows the others; nothing happens without torchrun.

    Args:
        device: as asked for. Of several GPUs each process takes its own.

    Yields:
        The device for this process.

    Raises:
        MimicError: there are fewer GPUs than processes, or the others cannot be reached.
    """
    count, here = (int(os.environ.get(name, "1")) for name in ("WORLD_SIZE", "LOCAL_RANK"))
    if count < 2 or not torch.distributed.is_torchelastic_launched():
        yield device
        return
    on_gpus = device in ("auto", "cuda") and torch.cuda.is_available()
    if on_gpus:
        if here >= torch.cuda.device_count():
            raise MimicError(
                f"torchrun started a process {here + 1} here for {torch.cuda.device_count()} GPUs: give it "
                f"--nproc-per-node {torch.cuda.device_count()}, or --device cpu"
            )
        device = f"cuda:{here}"
        torch.cuda.set_device(here)
    try:
        torch.distributed.init_process_group("nccl" if on_gpus else "gloo")
    except (RuntimeError, ValueError) as error:
        raise MimicError(f"the processes that torchrun started do not find each other ({error})") from error
    try:
        yield device
    finally:
        torch.distributed.destroy_process_group()
