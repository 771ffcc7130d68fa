"""What can go wrong between here and the Hub, in one line each that says what would do."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

from padecast._errors import HubError, PadecastError, missing
from padecast.files.hub.address import Address
from padecast.files.text import line

TRANSPORTS = ("httpx", "httpx2", "requests", "urllib3")
"""Packages by which releases of the Hub's client speak to it."""


class MissingRepository(HubError):
    """A repository that is not there, or not to be seen without a token."""


def need_hub() -> Any:
    """Import ``huggingface_hub``.

    Raises:
        MissingPackage: If it is not installed; the message has the command.
    """
    try:
        return importlib.import_module("huggingface_hub")
    except ModuleNotFoundError as error:
        if error.name != "huggingface_hub":
            raise
        raise missing("huggingface_hub", "padecast[hub]", "the Hugging Face Hub") from error


@contextlib.contextmanager
def explain(address: Address, remedy: str, file: str = "") -> Iterator[None]:
    """Turn what the client of the Hub raises into an error of one line.

    Args:
        address: Which repository.
        remedy: What would do without a network.
        file: Which of its files, if it was a single one.

    Raises:
        HubError: Of whatever went wrong.
    """
    try:
        yield
    except PadecastError:
        raise
    except Exception as error:  # those of its transport differ with its releases, and some are no OSError
        raise _translate(error, address, remedy, file) from error


def is_silence(error: Exception) -> bool:
    """Whether an error says that the Hub did not answer, or is out of order, and nothing of what lies there.

    Example:
        >>> is_silence(ConnectionRefusedError()), is_silence(ValueError())
        (True, False)
    """
    status = getattr(getattr(error, "response", None), "status_code", None)
    transport = type(error).__module__.partition(".")[0] in TRANSPORTS
    return status >= 500 if status is not None else transport or isinstance(error, (ConnectionError, TimeoutError))


def _translate(error: Exception, address: Address, remedy: str, file: str) -> HubError:
    errors = importlib.import_module("huggingface_hub.errors")
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.GatedRepoError):
        return HubError(f"{address} is gated: accept its terms on its page, and log in: hf auth login, or token=.")
    if isinstance(error, errors.RepositoryNotFoundError):
        return MissingRepository(
            f"{address} is not there, or private: look for a typo, or log in: hf auth login, or token=."
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return HubError(f"{address} has no such revision: leave it out for what is newest, or take one of its page.")
    if isinstance(error, errors.LocalEntryNotFoundError):  # nothing in the cache; why it was looked at is its cause
        cause = error.__cause__
        return _translate(cause, address, remedy, file) if isinstance(cause, Exception) else _absent(address, remedy)
    if isinstance(error, errors.EntryNotFoundError):
        return HubError(f"{address} has no file {file!r}: leave filename= out, and an error lists what there is.")
    if status in (401, 403):
        return HubError(
            f"{address} does not allow it ({status}): log in with a token that may: hf auth login, or token=."
        )
    return _unreachable(error, address, remedy)


def _absent(address: Address, remedy: str) -> HubError:
    return HubError(f"{address} cannot be reached, and the cache does not have it: {remedy}.")


def _unreachable(error: BaseException, address: Address, remedy: str) -> HubError:
    if type(error).__name__ == "OfflineModeIsEnabled":
        return HubError(f"{address} cannot be reached, since HF_HUB_OFFLINE is set: {remedy}.")
    fact = line(str(error) or type(error).__name__, 160).split("\\n")[0].rstrip(".")
    return HubError(f"{address} cannot be reached ({type(error).__name__}: {fact}): {remedy}.")
