"""What is sent to a repository: these files, all of them listed, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from padecast.files.hub.address import Address
from padecast.files.hub.download import library
from padecast.files.hub.failures import explain, need_hub

INSTEAD = "or keep it here, and share it later: save_pretrained(FOLDER)"
"""What else would do for what cannot be sent."""


@dataclass(frozen=True)
class Parcel:
    """Files on their way to a repository.

    Args:
        address: Where they go.
        contents: Bytes by name.
        is_new: Whether the repository has to be made first.
        facts: What the page says of the first of them.
    """

    address: Address
    contents: Mapping[str, bytes]
    is_new: bool = False
    facts: Mapping[str, str] = field(default_factory=dict)

    def send(
        self,
        message: str,
        *,
        private: bool | None = None,
        token: str | bool | None = None,
        create_pr: bool | None = None,
    ) -> str:
        """Send the files in one commit.

        Args:
            message: Of the commit.
            private: Whether a repository that is made is private; by default as its owner's settings say.
            token: By default that of ``hf auth login`` or ``HF_TOKEN``.
            create_pr: Whether to open a pull request in place of a commit.

        Returns:
            The address of the commit, or of the pull request, for a browser.

        Raises:
            HubError: If they cannot be sent; the message says why, and what would do.
            MissingPackage: If ``huggingface_hub`` is not installed.
        """
        hub = need_hub()
        api = hub.HfApi(token=token, **library())
        with explain(self.address, f"try again with a network, {INSTEAD}"):
            if self.is_new:
                api.create_repo(self.address.repo, private=private, exist_ok=True)
            operations = [hub.CommitOperationAdd(name, content) for name, content in self.contents.items()]
            commit = api.create_commit(
                self.address.repo,
                operations,
                commit_message=message,
                revision=self.address.revision,
                create_pr=create_pr,
            )
        return str(commit.pr_url or commit.commit_url)
