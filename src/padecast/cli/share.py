"""``padecast share``: a calibration or a lesson for a repository of the Hub, shown before anything is sent."""

from __future__ import annotations

from pathlib import Path

import typer

from padecast import files
from padecast._errors import InvalidOption
from padecast.calibration import Calibration
from padecast.cli._shell import FAILED, ending, stderr, stdout
from padecast.cli._tables import new_table
from padecast.files.hub import Address, Parcel, Shareable, pack
from padecast.lessons import Lesson
from padecast.lessons.file import KIND as LESSON

PURPOSES = {
    ".json": "what was measured or learnt",
    ".svg": "its picture",
    ".md": "the page, which names what is in the files",
}


def share(
    file: Path = typer.Argument(help="A calibration, or a lesson: padecast lessons export KEY FILE."),
    repo: str = typer.Argument(metavar="ORG/NAME", help="Repository of the Hub; made if need be."),
    private: bool | None = typer.Option(
        None, "--private/--public", help="Of a repository that is made; as your settings say if neither."
    ),
    base_model: str | None = typer.Option(None, metavar="ORG/NAME", help="Repository of the model it belongs to."),
    license: str | None = typer.Option(None, help='For the page: a word of the Hub, such as "apache-2.0".'),
    name: str | None = typer.Option(None, help="Of the file there; made of model, steps and guidance unless given."),
    revision: str | None = typer.Option(None, help="Branch to send to; main unless given."),
    pull_request: bool = typer.Option(False, "--pull-request", help="Open a pull request in place of a commit."),
    message: str | None = typer.Option(None, help="Of the commit."),
    yes: bool = typer.Option(False, "--yes", "-y", help="Do not ask."),
) -> None:
    """Send a calibration or a lesson to a repository of the Hugging Face Hub.

    Says first which files would be sent, and asks. Needs the extra hub, and to be logged in: hf auth login.
    """
    thing, address = _load(file), Address.read(repo, revision)
    parcel = pack(thing, address, filename=name, base_model=base_model, license=license)
    _show(parcel, private)
    if not yes and not _confirm(f"send {'this' if len(parcel.contents) == 1 else 'these'} to {address}?"):
        ending("nothing was sent", FAILED)
    words = message or f"Add {next(iter(parcel.contents))}"
    url = parcel.send(words, private=private, create_pr=pull_request or None)
    stderr().print(f"sent: {url}", soft_wrap=True)


def _load(file: Path) -> Shareable:
    """Read a file of either kind; one of neither is refused as a calibration."""
    document = files.read_json(file) if file.is_file() else None
    is_lesson = isinstance(document, dict) and document.get("kind") == LESSON
    return Lesson.load(file) if is_lesson else Calibration.load(file)


def _show(parcel: Parcel, private: bool | None) -> None:
    """Say what would be sent, and what the page says of it: of the machine too, and of the command."""
    console = stdout()
    who = {True: "private", False: "public", None: "private or public as your settings say"}[private]
    state = f"a new repository, {who}" if parcel.is_new else "a repository that is there"
    table = new_table("file", ">size", "what it is", title=f"{parcel.address}, {state}")
    for name, content in parcel.contents.items():
        table.add_row(name, f"{len(content) / 1024:.1f} kB", PURPOSES.get(Path(name).suffix, ""))
    console.print(table)
    for fact, text in parcel.facts.items():
        if text:
            console.print(f"{fact}: {files.line(text, 4000)}", soft_wrap=True)
    note = "Nothing else is sent: no weights, no image, no latent."
    if parcel.facts.get("command"):
        note += " The command above is in the file, with a prompt if one stood in it."
    console.print(note, soft_wrap=True)


def _confirm(question: str) -> bool:
    """Ask on a terminal, or read the answer that was piped in.

    Raises:
        InvalidOption: If nobody answers.
    """
    try:
        return typer.confirm(question, err=True)
    except typer.Abort as error:
        raise InvalidOption(
            "nobody answered whether to send it, and nothing was sent.\nSay so beforehand: --yes"
        ) from error
