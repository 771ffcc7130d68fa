"""Calibrations and lessons in folders and in repositories of a Hub on this machine: no test reaches a network."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from tests.files.loopback import Hub, direct, serve
from torch import Tensor

import padecast
from padecast import Calibration, HubError, InvalidOption, zoo
from padecast.files.hub import Address, Section, load_all, pack
from padecast.files.hub.card import write_card
from padecast.files.hub.download import Source
from padecast.lessons import Gains, Identity, Lesson, Library
from padecast.lessons.analytic import make_look

pytest.importorskip("huggingface_hub", reason="of the extra hub")
CLOSED = "http://127.0.0.1:9"  # a port at which nobody answers


@pytest.fixture
def calibration() -> Calibration:
    return zoo.calibration("digits", "hard")


@pytest.fixture(scope="module")
def pipe() -> Any:
    pipe = zoo.load("digits")
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def lesson() -> Lesson:
    identity = Identity("DiT", weights="abcdef0123", pipeline="DiTPipeline", guidance=3.0, adapters=(("style|x", 0.8),))
    return Lesson(identity, (make_look(20), make_look(8)), Gains((0.9, 0.1), (1.0, 2.0), (1.0, 1.0)))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with serve() as server:
        direct(monkeypatch, server.url, tmp_path / "cache")
        yield server


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    direct(monkeypatch, CLOSED, tmp_path / "cache")


def other(calibration: Calibration, **changes: Any) -> Calibration:
    """One of another setting."""
    return Calibration.from_dict({**calibration.to_dict(), **changes})


def is_same(one: Lesson, another: Lesson) -> bool:
    """Whether two lessons say the same, but for the rounding of files."""
    looks = list(zip(one.looks, another.looks, strict=True))
    return (one.identity, one.runs, one.gains) == (another.identity, another.runs, another.gains) and all(
        np.allclose(a.singles, b.singles, atol=1e-5) and a.levels == pytest.approx(b.levels) for a, b in looks
    )


def front(page: str) -> dict[str, Any]:
    """What the Hub reads of a page."""
    loaded: dict[str, Any] = yaml.safe_load(page.split("---\n")[1])
    return loaded


# Folders -------------------------------------------------------------------------------------------------------------


def test_a_folder_gives_back_what_it_was_given(tmp_path: Path, calibration: Calibration, lesson: Lesson) -> None:
    path = calibration.save_pretrained(tmp_path)
    lesson.save_pretrained(str(tmp_path))
    assert Calibration.from_pretrained(tmp_path).to_dict() == calibration.to_dict()
    assert is_same(Lesson.from_pretrained(str(tmp_path)), lesson)
    assert Calibration.from_pretrained(tmp_path, filename=path.name).to_dict() == Calibration.load(path).to_dict()


def test_a_page_says_what_was_measured_and_on_what(tmp_path: Path, calibration: Calibration) -> None:
    path = calibration.save_pretrained(tmp_path, base_model="org/digits", license="apache-2.0")
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert front(page) == {
        "library_name": "padecast",
        "tags": ["padecast", "diffusion-acceleration"],
        "base_model": "org/digits",
        "base_model_relation": "adapter",
        "license": "apache-2.0",
    }
    for point in calibration.curve():
        assert f"| {point.computed} of 20 | {point.speedup:.2f}x | {point.psnr:.1f} | {point.held_out:.1f} |" in page
    for word in (
        "FlowMatchEulerDiscreteScheduler, 20 steps, guidance 5",
        "48 samples, 16 of them held out",
        "torch 2.",
    ):
        assert word in page
    (picture,) = re.findall(r"!\[[^]]*\]\((.*?)\)", page)
    drawing = (tmp_path / picture).read_text(encoding="utf-8")
    computed = sum(calibration.budgets)
    assert picture == path.with_suffix(".svg").name
    assert drawing.count("<rect") == 1 + computed + len(calibration.budgets)
    assert drawing.count("<circle") == 20 * len(calibration.budgets) - computed


def test_the_base_model_is_the_one_that_a_calibration_knows(tmp_path: Path, calibration: Calibration) -> None:
    known = other(calibration, provenance={**calibration.provenance, "base_model": "org/known"})
    known.save_pretrained(tmp_path)
    assert front((tmp_path / "README.md").read_text())["base_model"] == "org/known"
    hostile = other(calibration, provenance={"base_model": "x\nlicense: mit", "command": "<script> | `a`"})
    hostile.save_pretrained(tmp_path / "hostile")
    page = (tmp_path / "hostile" / "README.md").read_text()
    assert {*front(page)} == {"library_name", "tags"} and "<script>" not in page


@pytest.mark.parametrize(
    ("place", "base"),
    [
        ("org/flux", {"base_model": "org/flux"}),
        ("src/padecast", {}),
        ("/home/me/flux", {}),
        ("../flux", {}),
        (None, {}),
    ],
)
def test_a_folder_of_this_machine_is_no_base_model(
    place: str | None, base: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from padecast.calibration.sharing import note_base

    monkeypatch.chdir(Path(__file__).parents[2])
    pipe = SimpleNamespace(transformer=torch.nn.Identity(), name_or_path=place)
    assert note_base(pipe) == base


def test_settings_lie_side_by_side_and_one_has_to_be_named(tmp_path: Path, calibration: Calibration) -> None:
    first = calibration.save_pretrained(tmp_path)
    second = other(calibration, guidance=7.0).save_pretrained(tmp_path)
    assert first != second and calibration.save_pretrained(tmp_path) == first
    page = (tmp_path / "README.md").read_text()
    assert page.count("### `") == 2 and page.count("## Calibrations") == 1
    with pytest.raises(InvalidOption, match=r"2 files that may be calibrations: .*\n.*filename="):
        Calibration.from_pretrained(tmp_path)
    assert Calibration.from_pretrained(tmp_path, filename=second.name).guidance == 7.0


def test_what_people_wrote_on_a_page_stays(tmp_path: Path, calibration: Calibration, lesson: Lesson) -> None:
    calibration.save_pretrained(tmp_path)
    page = tmp_path / "README.md"
    page.write_text(page.read_text().replace("\n# ", "\nBefore.\n\n# ") + "After.\n")
    other(calibration, guidance=7.0).save_pretrained(tmp_path)
    lesson.save_pretrained(tmp_path)
    text = page.read_text()
    assert "Before." in text and "After." in text and "guidance 7" in text and "## Lessons" in text
    page.write_text("# A page of somebody else\n")
    lesson.save_pretrained(tmp_path)
    assert page.read_text() == "# A page of somebody else\n"


def test_the_page_of_a_lesson_says_that_it_holds_no_image(tmp_path: Path, lesson: Lesson) -> None:
    lesson.save_pretrained(tmp_path)
    page = (tmp_path / "README.md").read_text()
    assert "no image, no prompt" in page and "| 20 | 1 to 0.00816 | 1 | 2 |" in page and "style&#124;x" in page
    Lesson(Identity("DiT")).save_pretrained(tmp_path / "empty")
    assert not list((tmp_path / "empty").glob("*.svg"))


def test_files_of_other_libraries_are_none_of_ours(tmp_path: Path, calibration: Calibration) -> None:
    for name in ("config.json", "model_index.json", "tokenizer.json", "x.safetensors.index.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(padecast.MissingFile, match="has no calibration"):
        Calibration.from_pretrained(tmp_path)
    calibration.save_pretrained(tmp_path)
    assert Calibration.from_pretrained(tmp_path).steps == 20


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"base_model": "no repo"}, "base_model"),
        ({"license": "mit\nx: 1"}, "license"),
        ({"filename": "../a.json"}, "filename"),
        ({"filename": "a.txt"}, "filename"),
        ({"filename": "a.lesson.json"}, "found again"),
        ({"filename": "config.json"}, "found again"),
    ],
)
def test_names_that_are_none_are_refused(
    tmp_path: Path, calibration: Calibration, options: dict[str, Any], word: str
) -> None:
    with pytest.raises(InvalidOption, match=word):
        calibration.save_pretrained(tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_a_lesson_has_an_ending_of_its_own(tmp_path: Path, lesson: Lesson) -> None:
    with pytest.raises(InvalidOption, match=r"\*\.lesson\.json"):
        lesson.save_pretrained(tmp_path, filename="mine.json")


def test_a_file_is_no_folder(tmp_path: Path, calibration: Calibration) -> None:
    path = calibration.save_pretrained(tmp_path)
    with pytest.raises(InvalidOption, match=r"Calibration\.load\("):
        Calibration.from_pretrained(path)


# Repositories --------------------------------------------------------------------------------------------------------


def test_what_is_pushed_comes_back(hub: Hub, calibration: Calibration, lesson: Lesson) -> None:
    url = calibration.push_to_hub("org/flux", private=True, base_model="org/base")
    repository = hub.repositories["org/flux"]
    assert url == f"{hub.url}/org/flux/commit/{repository.refs['main']}" and hub.visibility in ([True], ["private"])
    assert {Path(name).suffix for name in repository.files} == {".json", ".svg", ".md"} and len(repository.files) == 3
    assert 'accelerate(pipe, "hub:org/flux"' in repository.files["README.md"].decode()
    assert Calibration.from_pretrained("org/flux").to_dict() == calibration.to_dict()
    assert Calibration.from_pretrained("hub:org/flux").to_dict() == calibration.to_dict()
    lesson.push_to_hub("org/flux", token="hf_mine")
    assert is_same(Lesson.from_pretrained("org/flux", token="hf_mine"), lesson)
    assert Calibration.from_pretrained("org/flux").to_dict() == calibration.to_dict()


def test_a_second_setting_keeps_the_first_and_its_page(hub: Hub, calibration: Calibration) -> None:
    calibration.push_to_hub("org/flux")
    first = dict(hub.repositories["org/flux"].files)
    other(calibration, guidance=7.0).push_to_hub("org/flux")
    files = hub.repositories["org/flux"].files
    assert len(files) == 5 and all(files[name] == first[name] for name in first if name != "README.md")
    assert files["README.md"].decode().count("### `") == 2 and len(hub.visibility) == 1


def test_a_pull_request_leaves_main_alone(hub: Hub, calibration: Calibration) -> None:
    hub.new("org/flux", {"README.md": b"# Weights of somebody\n"})
    url = calibration.push_to_hub("org/flux", create_pr=True)
    assert url.endswith("/discussions/1") and set(hub.repositories["org/flux"].files) == {"README.md"}
    (state,) = [files for files in hub.repositories["org/flux"].commits.values() if len(files) > 1]
    assert state["README.md"] == b"# Weights of somebody\n"


def test_a_revision_is_a_state(hub: Hub, calibration: Calibration) -> None:
    calibration.push_to_hub("org/flux", filename="a.json")
    repository = hub.repositories["org/flux"]
    repository.refs["v1"] = repository.refs["main"]
    other(calibration, name="newer").push_to_hub("org/flux", filename="a.json")
    assert Calibration.from_pretrained("org/flux").name == "newer"
    for address, options in (
        ("org/flux", {"revision": "v1"}),
        ("org/flux@v1", {}),
        (f"org/flux@{repository.refs['v1']}", {}),
    ):
        assert Calibration.from_pretrained(address, **options).name == calibration.name
    assert Calibration.from_pretrained("org/flux", filename="a.json", revision="v1").name == calibration.name
    with pytest.raises(HubError, match="no such revision"):
        Calibration.from_pretrained("org/flux", revision="v2")
    with pytest.raises(InvalidOption, match="names the revision 'v1'"):
        Calibration.from_pretrained("org/flux@v1", revision="v2")


def test_the_hub_is_told_which_library_asks(hub: Hub, calibration: Calibration) -> None:
    calibration.push_to_hub("org/flux", filename="a.json")
    Calibration.from_pretrained("org/flux", filename="a.json")
    agents = {
        agent.partition(";")[0] for _, path, agent in hub.asked if "validate" not in path and "harness" not in path
    }
    assert agents == {f"padecast/{padecast.__version__}"}


def test_what_was_fetched_is_there_without_a_network(
    hub: Hub, calibration: Calibration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibration.push_to_hub("org/flux", filename="a.json")
    Calibration.from_pretrained("org/flux", cache_dir=tmp_path / "mine")
    count = len(hub.asked)
    for options in ({}, {"filename": "a.json"}):
        loaded = Calibration.from_pretrained("org/flux", cache_dir=tmp_path / "mine", local_files_only=True, **options)
        assert loaded.to_dict() == calibration.to_dict()
    assert len(hub.asked) == count
    direct(monkeypatch, CLOSED, tmp_path / "mine")
    assert Calibration.from_pretrained("org/flux").to_dict() == calibration.to_dict()


@pytest.mark.parametrize(
    ("content", "error", "word"),
    [
        (b'{"kind": "padecast cal', padecast.CalibrationMismatch, "is not a calibration that can be used"),
        (b'{"kind": "padecast lesson"}', padecast.CalibrationMismatch, 'no "kind": "padecast calibration"'),
        (b'{"kind": "padecast calibration", "schema": 99}', padecast.CalibrationMismatch, "pip install -U padecast"),
        (b'{"weight": 1}', padecast.CalibrationMismatch, 'no "kind"'),
    ],
)
def test_what_is_no_calibration_is_refused_in_words(
    hub: Hub, content: bytes, error: type[Exception], word: str
) -> None:
    hub.new("org/flux", {"a.json": content})
    for options in ({}, {"filename": "a.json"}):
        with pytest.raises(error, match=f"(?s){re.escape(word)}.*a.json of hub:org/flux: force_download=True"):
            Calibration.from_pretrained("org/flux", **options)


@pytest.mark.parametrize(
    "content", [b"{", b'{"kind": "padecast calibration"}', b'{"kind": "padecast lesson", "schema": 99}']
)
def test_what_is_no_lesson_is_refused_in_words(hub: Hub, content: bytes) -> None:
    hub.new("org/flux", {"a.lesson.json": content})
    with pytest.raises(padecast.DamagedFile, match=r"a\.lesson\.json of hub:org/flux"):
        Lesson.from_pretrained("org/flux")


def test_a_damaged_neighbour_is_on_no_page_and_stays(hub: Hub, calibration: Calibration) -> None:
    hub.new("org/flux", {"broken.json": b"{"})
    calibration.push_to_hub("org/flux")
    files = hub.repositories["org/flux"].files
    assert files["broken.json"] == b"{" and len(files) == 4


# Failures in words ---------------------------------------------------------------------------------------------------

CALLS: dict[str, Callable[[Any], Any]] = {
    "calibration": lambda pipe: Calibration.from_pretrained("org/flux"),
    "file": lambda pipe: Calibration.from_pretrained("org/flux", filename="a.json"),
    "lesson": lambda pipe: Lesson.from_pretrained("org/flux"),
    "cache": lambda pipe: Calibration.from_pretrained("org/flux", local_files_only=True),
    "cached file": lambda pipe: Calibration.from_pretrained("org/flux", filename="a.json", local_files_only=True),
    "push": lambda pipe: zoo.calibration("digits", "hard").push_to_hub("org/flux"),
    "push of a lesson": lambda pipe: Lesson(Identity("DiT")).push_to_hub("org/flux"),
    "accelerate": lambda pipe: padecast.accelerate(pipe, "hub:org/flux", computed=8),
    "enable": lambda pipe: padecast.enable(pipe, "hub:org/flux@v1", computed=8),
}


@pytest.mark.parametrize("name", CALLS)
def test_without_a_network_every_call_fails_in_one_line_that_says_what_would_do(
    no_network: None, pipe: Any, name: str
) -> None:
    with pytest.raises(HubError) as caught:
        CALLS[name](pipe)
    text = str(caught.value)
    assert "\n" not in text and text.startswith("hub:org/flux") and "cannot be reached" in text and len(text) < 400
    assert ("leave local_files_only out" if "cache" in name else "with a network") in text
    assert ("keep it here, and share it later" in text) is ("push" in name)


@pytest.mark.parametrize("name", CALLS)
def test_nobody_is_asked_where_that_is_forbidden_and_the_line_says_so(
    no_network: None, pipe: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubError) as caught:
        CALLS[name](pipe)
    text = str(caught.value)
    assert "\n" not in text and ("cache" in name or "since HF_HUB_OFFLINE is set" in text) and len(text) < 200


def test_a_hub_that_does_not_answer_is_asked_once(
    no_network: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(seconds: float) -> None:
        raise AssertionError(f"waited for {seconds} s")

    monkeypatch.setattr("time.sleep", refuse)
    with pytest.raises(HubError, match="Connection refused"):
        Calibration.from_pretrained("org/flux", filename="a.json")
    assert caplog.records == []


def test_a_file_that_was_fetched_is_there_when_the_hub_is_gone(
    hub: Hub, calibration: Calibration, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calibration.push_to_hub("org/flux", filename="a.json")
    Calibration.from_pretrained("org/flux", filename="a.json")
    direct(monkeypatch, CLOSED, tmp_path / "cache")
    assert Calibration.from_pretrained("org/flux", filename="a.json").to_dict() == calibration.to_dict()
    with pytest.raises(HubError, match="cannot be reached"):
        Calibration.from_pretrained("org/flux", filename="a.json", force_download=True)
    with pytest.raises(HubError, match=r"org/flux cannot be reached .*Connection refused"):
        Calibration.from_pretrained("org/flux", filename="b.json")


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(("status", "word"), [(403, "log in with a token"), (500, "cannot be reached")])
def test_a_hub_that_refuses_is_said_in_one_line(hub: Hub, pipe: Any, name: str, status: int, word: str) -> None:
    hub.refuses = status
    with pytest.raises(HubError) as caught:
        CALLS[name](pipe)
    text = str(caught.value)
    assert "\n" not in text and ("cach" in name or word in text)


def test_what_is_not_there_is_told_apart(hub: Hub) -> None:
    hub.new("org/flux")
    with pytest.raises(HubError, match=r"org/none is not there, or private: .*hf auth login"):
        Calibration.from_pretrained("org/none")
    with pytest.raises(HubError, match=r"no file 'a\.json'"):
        Calibration.from_pretrained("org/flux", filename="a.json")
    with pytest.raises(padecast.MissingFile, match="hub:org/flux has no calibration"):
        Calibration.from_pretrained("org/flux")


@pytest.mark.parametrize(
    "text", ["flux", "a/b/c", "./nowhere", "/nowhere/at/all", "org/", "org/na me", "org/x@", "https://x/y"]
)
def test_what_is_neither_folder_nor_repository_is_refused(text: str) -> None:
    with pytest.raises(InvalidOption, match="neither a folder that is there nor a repository"):
        Calibration.from_pretrained(text)


def test_without_the_package_the_command_to_install_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(padecast.MissingPackage, match=r'pip install "padecast\[hub\]"'):
        Calibration.from_pretrained("org/flux")


# In place of a method ------------------------------------------------------------------------------------------------


def sample(pipe: Any, steps: int = 20, guidance: float = 5.0) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    options = {"guidance_scale": guidance, "shift": 3.0, "output_type": "pt", "generator": generator}
    return pipe([3], num_inference_steps=steps, **options).images


def test_a_repository_is_as_good_as_its_calibration(hub: Hub, pipe: Any, calibration: Calibration) -> None:
    calibration.push_to_hub("org/flux")
    hub.repositories["org/flux"].refs["v1"] = hub.repositories["org/flux"].refs["main"]
    images = []
    for method in (calibration, "hub:org/flux", "hub:org/flux@v1"):
        with padecast.accelerate(pipe, method, computed=5) as run:
            images.append(sample(pipe))
        assert run.report.plan == calibration.method(computed=5).policy.steps
    assert torch.equal(images[0], images[1]) and torch.equal(images[0], images[2])
    with padecast.accelerate(pipe, "hub:org/flux", computed=5, otherwise="fora:every=2") as run:
        sample(pipe, 6)
        assert run.report.method == "fora"


def test_of_several_files_the_one_that_fits_the_run_serves_it(hub: Hub, pipe: Any, calibration: Calibration) -> None:
    plans = calibration.to_dict()["plans"]
    weaker = {"guidance": 2.0, "plans": {n: plans[n] for n in ("6", "7")}}
    foreign = {"model": {**calibration.model, "config": "0" * 16}}
    for number, changes in enumerate((foreign, weaker, {})):
        other(calibration, **changes).push_to_hub("org/flux", filename=f"{number}.json")
    with padecast.accelerate(pipe, "hub:org/flux", computed=6) as run:
        sample(pipe)
        sample(pipe, guidance=2.0)
        with pytest.raises(padecast.CalibrationMismatch, match="guidance"):
            sample(pipe, guidance=3.0)
    assert run.report.plan == calibration.method(computed=6).policy.steps
    with padecast.accelerate(pipe, "hub:org/flux", computed=5):
        sample(pipe)
    with pytest.raises(InvalidOption, match="no plan of the calibration"):
        padecast.accelerate(pipe, "hub:org/flux", computed=19)
    with pytest.raises(InvalidOption, match="needs exactly one"):
        padecast.accelerate(pipe, "hub:org/flux")


def test_a_repository_of_other_models_is_refused(hub: Hub, pipe: Any, calibration: Calibration) -> None:
    other(calibration, model={**calibration.model, "config": "0" * 16}).push_to_hub("org/flux")
    with pytest.raises(padecast.CalibrationMismatch, match="configuration"):
        padecast.accelerate(pipe, "hub:org/flux", computed=8)


@pytest.mark.parametrize("text", ["hub:", "hub:flux", "hub:a/b/c", "hub:org/x@"])
def test_an_address_that_is_none_is_refused(pipe: Any, text: str) -> None:
    with pytest.raises(InvalidOption, match="hub:ORG/NAME"):
        padecast.accelerate(pipe, text, computed=8)


def test_a_library_takes_what_was_loaded(hub: Hub, lesson: Lesson) -> None:
    lesson.push_to_hub("org/flux")
    library = Library(False)
    library.take(Lesson.from_pretrained("org/flux"))
    assert library.take(Lesson.from_pretrained("org/flux")).runs == lesson.runs
    assert library.get(lesson.identity) is not None


# Parts ---------------------------------------------------------------------------------------------------------------


def test_a_parcel_lists_all_that_is_sent_and_looking_sends_nothing(hub: Hub, calibration: Calibration) -> None:
    parcel = pack(calibration, Address.read("org/flux"), filename="a.json")
    assert list(parcel.contents) == ["a.json", "a.svg", "README.md"] and parcel.is_new and not hub.sent()
    parcel.send("Add it")
    assert hub.repositories["org/flux"].files == dict(parcel.contents)
    again = pack(calibration, Address.read("org/flux"), filename="a.json")
    assert list(again.contents) == ["a.json", "a.svg"] and not again.is_new


def test_all_files_of_a_kind_are_loaded(hub: Hub, calibration: Calibration, lesson: Lesson) -> None:
    calibration.push_to_hub("org/flux")
    lesson.push_to_hub("org/flux")
    source = Source(Address.read("org/flux"))
    assert [len(load_all(kind, source)) for kind in (Calibration, Lesson)] == [1, 1]


def test_a_table_cell_holds_no_mark() -> None:
    page = write_card(None, "lesson", "", {"a`|.json": Section({"fact": "a|b\n# c"}, ["x"], [["<b>|"]])}, None, None)
    assert "\n# c" not in page and "<b>" not in page and "| &lt;b&gt;&#124; |" in page


def test_a_process_of_its_own_follows_the_endpoint_that_it_is_told(
    hub: Hub, calibration: Calibration, tmp_path: Path
) -> None:
    calibration.push_to_hub("org/flux")
    script = "import padecast; print(padecast.Calibration.from_pretrained('org/flux').steps)"
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path)}
    # The endpoint is on this machine, so it answers where the suite itself runs offline.
    environment |= {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "20\n", done.stderr


def test_the_page_of_the_documentation_runs(no_network: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    page = (Path(__file__).parents[2] / "docs" / "hub.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    words = io.StringIO()
    for code in re.findall(r"^```python\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE):
        with contextlib.redirect_stdout(words):
            exec(compile(code, "hub.md", "exec", dont_inherit=True), names)
    for text in (
        "C....C..C..C..C.C.CC",
        "['.json', '.md', '.svg']",
        "hub:ORG/NAME cannot be reached",
        "1 run, 2 samples",
    ):
        assert text in words.getvalue()
