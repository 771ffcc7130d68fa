"""Where in the Hub: ``hub:ORG/NAME``, or ``hub:ORG/NAME@REVISION``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from padecast._errors import InvalidOption, quote

SCHEME = "hub:"
PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
REPO = re.compile(f"{PART}/{PART}")
REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,254}")


@dataclass(frozen=True)
class Address:
    """A repository of models, and a branch, tag or commit of it.

    Args:
        repo: ``ORG/NAME``.
        revision: ``None`` for what is newest.

    Example:
        >>> print(Address.read("hub:org/flux@v1"), Address.read("org/flux"))
        hub:org/flux@v1 hub:org/flux
    """

    repo: str
    revision: str | None = None

    @classmethod
    def read(cls, text: str, revision: str | None = None) -> Address:
        """Read an address as it is written, with or without ``hub:``.

        Args:
            text: ``ORG/NAME`` or ``ORG/NAME@REVISION``.
            revision: In place of the one in the text.

        Raises:
            InvalidOption: If it is none, or has another revision than was given.
        """
        repo, at, inline = text.removeprefix(SCHEME).partition("@")
        if at and revision not in (None, inline):
            raise InvalidOption(
                f"{text!r} names the revision {inline!r}, and revision={revision!r} another: leave one out."
            )
        revision = inline if at else revision
        if (
            not REPO.fullmatch(repo)
            or "--" in repo
            or ".." in repo
            or not (revision is None or REVISION.fullmatch(revision))
        ):
            raise InvalidOption(
                f"{quote(text)} is neither a folder that is there nor a repository of the Hub: "
                "write hub:ORG/NAME or hub:ORG/NAME@REVISION."
            )
        return cls(repo, revision)

    def __str__(self) -> str:
        return f"{SCHEME}{self.repo}" + (f"@{self.revision}" if self.revision else "")


def is_repo(text: object) -> bool:
    """Whether this can be the name of a repository.

    Example:
        >>> is_repo("black-forest-labs/FLUX.1-dev"), is_repo("/home/me/flux"), is_repo(None)
        (True, False, False)
    """
    return isinstance(text, str) and REPO.fullmatch(text) is not None


def slug(text: str) -> str:
    """Return what a file may be called after a text: small letters, digits, points and dashes.

    Example:
        >>> slug("FLUX.1 dev, 1024"), slug("…")
        ('flux.1-dev-1024', 'unnamed')
    """
    plain = re.sub(r"[^a-z0-9.]+", "-", text.lower())[:60].strip("-.")
    return plain or "unnamed"
