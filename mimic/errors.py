"""The one kind of error a user can mend.

Whatever is wrong with somebody's folder, manifest, checkpoint or flag is raised as a `MimicError`: one sentence that
names the input and what would work. The command line prints it and exits with 2; pages show it; nobody sees a
traceback.
"""


class MimicError(Exception):
    """A mistake in the input or the set-up, said in one sentence that names it and what would work."""


class MissingExtra(MimicError):
    """A feature needs packages that are not installed.

    Args:
        feature: what was asked for, as the user wrote it, e.g. ``"timm:resnet18"``.
        extra: the extra of the distribution that brings it, e.g. ``"models"``.
    """

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f'{feature} needs packages that are not installed: pip install "mimic-score[{extra}]"')
        self._made_of = feature, extra

    def __reduce__(self) -> tuple[type["MissingExtra"], tuple[str, str]]:
        """Pickled by what it was made of: by its sentence, another process could not make it again."""
        return type(self), self._made_of
