"""The one kind of error a user can mend.

Whatever is wrong with somebody's folder, manifest, checkpoint or flag is raised as a `MimicError`: one sentence that
names the input and what would work. The command line prints it and exits with 2; pages show it; nobody sees a
traceback.
"""

from __future__ import annotations

from typing import Any


class MimicError(Exception):
    """A mistake in the input or the set-up, said in one sentence that names it and what would work."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as it is: of its sentence alone another process could not make one that is made of other things."""
        return _arrived, (type(self), self.args, vars(self))


class MissingExtra(MimicError):
    """A feature needs packages that are not installed.

    Args:
        feature: what was asked for, as the user wrote it, e.g. ``"timm:resnet18"``.
        extra: the extra of the distribution that brings it, e.g. ``"models"``.
    """

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f'{feature} needs packages that are not installed: pip install "mimic-score[{extra}]"')


def _arrived(kind: type[MimicError], args: tuple[Any, ...], attributes: dict[str, Any]) -> MimicError:
    error = kind.__new__(kind, *args)
    vars(error).update(attributes)
    return error
