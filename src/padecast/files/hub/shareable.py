"""The three methods that users know from other libraries, for whatever is one file of ours."""

from __future__ import annotations

import abc
import os
import re
import tempfile
from pathlib import Path
from typing import ClassVar, TypeVar

from padecast._errors import CalibrationMismatch, DamagedFile, InvalidOption, MissingFile, PadecastError, check
from padecast.files.hub.address import Address, is_repo
from padecast.files.hub.card import README, Section, picture_of, write_card
from padecast.files.hub.download import Source, is_ours, list_files
from padecast.files.hub.failures import MissingRepository
from padecast.files.hub.parcel import INSTEAD, Parcel
from padecast.files.hub.picture import draw
from padecast.files.reading import locate, read_bytes, read_text
from padecast.files.text import line
from padecast.files.writing import write

WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,63}")
Thing = TypeVar("Thing", bound="Shareable")


class Shareable(abc.ABC):
    """Something of one JSON file that is saved to, loaded from and pushed to a folder or a repository with a page."""

    _kind: ClassVar[str]
    _pattern: ClassVar[str]
    _without: ClassVar[str] = ""

    @abc.abstractmethod
    def save(self, path: str | Path) -> Path:
        """Write the file."""

    @classmethod
    @abc.abstractmethod
    def load(cls: type[Thing], path: str | Path) -> Thing:
        """Read the file."""

    @abc.abstractmethod
    def _name_file(self) -> str:
        """Return what its file is called among others."""

    @abc.abstractmethod
    def _describe(self) -> Section:
        """Return what a page says of it."""

    @abc.abstractmethod
    def _explain_use(self, repo: str) -> str:
        """Return how files of its kind are used, in Markdown."""

    def _find_base(self) -> str | None:
        """Return the repository of the model that it belongs to, if it is known."""
        return None

    def save_pretrained(
        self,
        folder: str | Path,
        *,
        filename: str | None = None,
        base_model: str | None = None,
        license: str | None = None,
    ) -> Path:
        """Write the file to a folder with a page that describes all files of its kind there, and a picture.

        Args:
            folder: Made if need be. Of a page that is there already, the part that describes these files is replaced.
            filename: By default made of name, steps and guidance: one setting has one file.
            base_model: Repository of the model that it belongs to, ``ORG/NAME``, for the page. Default what it knows.
            license: For the page, a word of the Hub such as ``"apache-2.0"``. Default none is named.

        Returns:
            The path of the file.

        Raises:
            InvalidOption: If an option is no name.
            UnwritableFile: If a file cannot be written.
        """
        return _save(self, locate(folder, "folder"), "ORG/NAME", filename, base_model, license)

    @classmethod
    def from_pretrained(
        cls: type[Thing],
        repo_or_dir: str | Path,
        *,
        filename: str | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
    ) -> Thing:
        """Load it from a folder, or from a repository of the Hub.

        Args:
            repo_or_dir: A folder, or ``ORG/NAME``.
            filename: Which file. Default the only one of its kind.
            revision: Branch, tag or commit. Default what is newest.
            token: For private repositories; by default that of ``hf auth login`` or ``HF_TOKEN``.
            cache_dir: Where downloads are kept. Default the cache of the Hub.
            force_download: Whether to fetch what is in the cache already. Default false.
            local_files_only: Whether to look in the cache alone. Default false.

        Raises:
            InvalidOption: If there are several files and none is named: the message lists them.
            MissingFile: If there is none.
            HubError: If the repository cannot be read; the message is one line that says what would do.
            MissingPackage: If ``huggingface_hub`` is needed and not installed.
            CalibrationMismatch: If it is no calibration, is damaged, or of a later release.
            DamagedFile: If it is no lesson, is damaged, or of a later release.
        """
        where = locate(repo_or_dir, "folder")
        if where.is_dir():
            return _load(cls, _choose(cls, where, str(repo_or_dir), filename), "")
        if where.is_file():
            raise InvalidOption(
                f"{line(where, 400)} is a file, and from_pretrained takes a folder or a repository.\n"
                f'Load it: {cls.__name__}.load("{line(where.name)}")'
            )
        address = Address.read(str(repo_or_dir), revision)
        source = Source(address, token, cache_dir, force_download, local_files_only)
        if filename is not None:
            return _load(cls, source.fetch(_check_name(filename)), str(address))
        return _load(cls, _choose(cls, source.fetch_all(cls._pattern), str(address), None), str(address))

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        create_pr: bool | None = None,
        commit_message: str | None = None,
        filename: str | None = None,
        base_model: str | None = None,
        license: str | None = None,
    ) -> str:
        """Send it to a repository of the Hub, which is made if need be, with a page that describes what lies there.

        Sent are its file, its picture and the page; the command ``padecast share`` shows them and asks first.

        Args:
            repo_id: ``ORG/NAME``.
            private: Whether a repository that is made is private; by default as its owner's settings say.
            token: By default that of ``hf auth login`` or ``HF_TOKEN``.
            revision: Branch to send to. Default ``main``.
            create_pr: Whether to open a pull request in place of a commit.
            commit_message: By default one that names the file.
            filename: See :meth:`save_pretrained`, and so are base_model and license.
            base_model: Repository of the model that it belongs to.
            license: A word of the Hub.

        Returns:
            The address of the commit or of the pull request.

        Raises:
            InvalidOption: If an option is no name.
            HubError: If the repository cannot be reached or written; the message is one line that says what would do.
            MissingPackage: If ``huggingface_hub`` is not installed.
        """
        address = Address.read(repo_id, revision)
        parcel = pack(self, address, filename=filename, base_model=base_model, license=license, token=token)
        message = commit_message or f"Add {next(iter(parcel.contents))}"
        return parcel.send(message, private=private, token=token, create_pr=create_pr)


def pack(
    thing: Shareable,
    address: Address,
    *,
    filename: str | None = None,
    base_model: str | None = None,
    license: str | None = None,
    token: str | bool | None = None,
) -> Parcel:
    """Return what would be sent to a repository, after a look at what lies there; nothing is sent.

    Args:
        thing: What is shared; its file is the first of the parcel.
        address: Where.
        filename: See :meth:`Shareable.save_pretrained`, and so are base_model and license.
        base_model: Repository of the model that it belongs to.
        license: A word of the Hub.
        token: For the look.

    Raises:
        HubError: If the repository cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="padecast-") as name:
        folder, is_new = Path(name), False
        try:
            there = Source(address, token, instead=INSTEAD).fetch_all(README, thing._pattern)
        except MissingRepository:
            is_new = True
        else:
            for path in [*list_files(there, README), *list_files(there, thing._pattern, thing._without)]:
                write(folder / path.name, read_bytes(path))
        before = {path.name: read_bytes(path) for path in folder.iterdir()}
        saved = _save(thing, folder, address.repo, filename, base_model, license)
        names = [saved.name, picture_of(saved.name), README]
        contents = {name: read_bytes(folder / name) for name in names if (folder / name).is_file()}
        if contents.get(README) == before.get(README):
            del contents[README]
    return Parcel(address, contents, is_new, thing._describe().facts)


def load_all(cls: type[Thing], source: Source) -> list[Thing]:
    """Load all files of a kind that lie in a repository.

    Raises:
        MissingFile: If there is none.
        HubError: If the repository cannot be read.
    """
    folder = source.fetch_all(cls._pattern)
    paths = list_files(folder, cls._pattern, cls._without)
    if not paths:
        raise _refuse_empty(cls, str(source.address))
    return [_load(cls, path, str(source.address)) for path in paths]


def _save(
    thing: Shareable, folder: Path, repo: str, filename: str | None, base_model: str | None, license: str | None
) -> Path:
    check(base_model is None or is_repo(base_model), "base_model", base_model, "ORG/NAME, a repository of the Hub")
    check(license is None or WORD.fullmatch(license) is not None, "license", license, "a word of the Hub")
    name = thing._name_file() if filename is None else _check_name(filename)
    ours = is_ours(name, thing._pattern, thing._without)
    check(ours, "filename", name, f"{thing._pattern}, and none that other libraries give, so that it is found again")
    path = thing.save(folder / name)
    things = {each.name: loaded for each in _list(type(thing), folder) if (loaded := _try_load(type(thing), each))}
    sections = {each: loaded._describe() for each, loaded in things.items()}
    section = sections.get(name) or thing._describe()
    if section.bars:
        write(folder / picture_of(name), draw(section.title, section.note, section.bars))
    page = folder / README
    before = read_text(page) if page.is_file() else None
    base = base_model or thing._find_base()
    write(page, write_card(before, thing._kind, thing._explain_use(repo), sections, base, license))
    return path


def _list(cls: type[Shareable], folder: Path) -> list[Path]:
    return list_files(folder, cls._pattern, cls._without)


def _choose(cls: type[Shareable], folder: Path, where: str, filename: str | None) -> Path:
    """Return the file of that name, or the only one.

    Raises:
        InvalidOption: If there are several.
        MissingFile: If there is none.
    """
    if filename is not None:
        return folder / _check_name(filename)
    paths = _list(cls, folder)
    if not paths:
        raise _refuse_empty(cls, where)
    if len(paths) > 1:
        names = ", ".join(line(path.name, 100) for path in paths[:20])
        raise InvalidOption(
            f"{line(where, 400)} has {len(paths)} files that may be {cls._kind}s: {names}.\n"
            f'Name one: filename="{line(paths[0].name, 100)}"'
        )
    return paths[0]


def _load(cls: type[Thing], path: Path, where: str) -> Thing:
    """Load a file; of one of a repository, an error says which and how to have another."""
    try:
        return cls.load(path)
    except (CalibrationMismatch, DamagedFile) as error:
        if not where or isinstance(error, MissingFile):
            raise
        raise type(error)(
            f"{error}\nIt is {line(path.name, 100)} of {where}: force_download=True fetches it anew, revision= takes "
            "another state of it."
        ) from error


def _try_load(cls: type[Thing], path: Path) -> Thing | None:
    """Load a file that lies beside another; one that cannot be used is on no page."""
    try:
        return cls.load(path)
    except PadecastError:
        return None


def _refuse_empty(cls: type[Shareable], where: str) -> MissingFile:
    return MissingFile(
        f"{line(where, 400)} has no {cls._kind}: no file {cls._pattern} at its top.\n"
        f"Usual cause: another repository or folder. What save_pretrained or push_to_hub wrote has one."
    )


def _check_name(name: str) -> str:
    plain = isinstance(name, str) and name == os.path.basename(name) and name.isprintable()
    check(plain and name.endswith(".json") and "\\" not in name, "filename", name, "a name that ends in .json, no path")
    return name
