"""``padecast share``: it shows, it asks, and it sends what it has shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.files.loopback import Hub, direct, serve
from typer.testing import CliRunner, Result

from padecast import zoo
from padecast.cli import app
from padecast.lessons import Identity, Lesson
from padecast.lessons.analytic import make_look

pytest.importorskip("huggingface_hub", reason="of the extra hub")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with serve() as server:
        direct(monkeypatch, server.url, tmp_path / "cache")
        yield server


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return zoo.calibration("digits", "hard").save(tmp_path / "hard.json")


def share(*arguments: object, answer: str | None = None) -> Result:
    return CliRunner().invoke(app, ["share", *map(str, arguments)], input=answer, env={"COLUMNS": "120"})


def test_nothing_is_sent_before_somebody_says_so(hub: Hub, file: Path) -> None:
    result = share(file, "org/flux", "--name", "a.json", answer="n\n")
    assert result.exit_code == 1 and "nothing was sent" in result.stderr and "org/flux?" in result.stderr
    for word in ("hub:org/flux, a new repository", "a.json", "a.svg", "README.md", "kB", "Nothing else is sent"):
        assert word in result.stdout
    assert not hub.sent() and not hub.repositories
    silent = share(file, "org/flux", answer="")
    assert silent.exit_code == 2 and "--yes" in silent.stderr and not hub.sent()


def test_what_was_shown_is_what_is_sent(hub: Hub, file: Path) -> None:
    result = share(file, "org/flux", "--name", "a.json", "--private", "--base-model", "org/base", answer="y\n")
    assert result.exit_code == 0, result.output
    assert set(hub.repositories["org/flux"].files) == {"a.json", "a.svg", "README.md"}
    assert hub.repositories["org/flux"].files["a.json"] == file.read_bytes()
    assert f"sent: {hub.url}/org/flux/commit/" in result.stderr and hub.visibility in ([True], ["private"])
    assert 'base_model: "org/base"' in hub.repositories["org/flux"].files["README.md"].decode()


def test_scripts_need_not_answer(hub: Hub, file: Path) -> None:
    assert share(file, "org/flux", "--yes").exit_code == 0
    result = share(file, "org/flux", "--yes", "--pull-request", "--license", "mit")
    assert result.exit_code == 0 and "/discussions/1" in result.stderr and "that is there" in result.stdout


def test_a_command_that_the_file_holds_is_shown(hub: Hub, file: Path) -> None:
    result = share(file, "org/flux", answer="n\n")
    command = zoo.calibration("digits", "hard").provenance["command"]
    assert f"command: {command}" in result.stdout and "with a prompt if one stood in it" in result.stdout


def test_a_lesson_is_shared_too(hub: Hub, tmp_path: Path) -> None:
    path = Lesson(Identity("DiT\x1b[31m", guidance=3.0), (make_look(20),)).save(tmp_path / "mine.json")
    result = share(path, "org/flux", "--yes")
    assert result.exit_code == 0 and "no image, no prompt" in result.stdout and "\x1b" not in result.stdout
    assert any(name.endswith(".lesson.json") for name in hub.repositories["org/flux"].files)


@pytest.mark.parametrize(
    ("content", "word"), [("{", "is not JSON"), ("{}", "not a calibration"), (None, "cannot be read")]
)
def test_what_cannot_be_shared_is_refused_before_anything_is_asked(
    hub: Hub, tmp_path: Path, content: str | None, word: str
) -> None:
    path = tmp_path / "x.json"
    if content is not None:
        path.write_text(content)
    result = share(path, "org/flux", "--yes")
    assert result.exit_code == 1 and word in result.stderr and not hub.asked


def test_without_a_network_it_ends_in_one_line(file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    direct(monkeypatch, "http://127.0.0.1:9", tmp_path / "cache")
    result = share(file, "org/flux", "--yes")
    assert result.exit_code == 1 and result.stderr.count("\n") == 1 and "cannot be reached" in result.stderr


@pytest.mark.parametrize("offline", [False, True])
@pytest.mark.parametrize(
    "command",
    [
        ["plan", "hub:org/flux", "--computed", "8"],
        ["lessons", "import", "hub:org/flux"],
        ["generate", "digits", "--steps", "4", "--calibration", "hub:org/flux", "--computed", "2"],
        ["generate", "org/flux"],
        ["compare", "org/flux"],
        ["calibrate", "org/flux"],
        ["measure", "org/flux", "--dry-run"],
    ],
)
def test_every_command_that_asks_the_hub_ends_in_one_line(
    command: list[str], offline: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    direct(monkeypatch, "http://127.0.0.1:9", tmp_path / "cache")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, command)
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("padecast: ")]
    reason = "since HF_HUB_OFFLINE is set" if offline else "Connection refused"
    assert result.exit_code == 1 and line.startswith("padecast: hub:org/flux cannot be reached") and reason in line
    assert result.stderr.rstrip().endswith(line) and "try again with a network, or give a folder" in line
    assert list(tmp_path.iterdir()) == []


def test_commands_take_a_repository_in_place_of_a_file(hub: Hub, file: Path, tmp_path: Path) -> None:
    calibration, lesson = zoo.calibration("digits", "hard"), Lesson(Identity("DiT"), (make_look(20),))
    calibration.push_to_hub("org/flux")
    lesson.push_to_hub("org/flux")
    shown = CliRunner().invoke(app, ["plan", "hub:org/flux", "--computed", "8"])
    assert shown.exit_code == 0 and "C....C..C..C..C.C.CC" in shown.output
    folder = tmp_path / "lessons"
    done = CliRunner().invoke(app, ["lessons", "import", "hub:org/flux", "--lessons", str(folder)])
    assert done.exit_code == 0 and [path.name for path in folder.glob("*.json")] == [
        f"{lesson.identity.key}.lesson.json"
    ]
