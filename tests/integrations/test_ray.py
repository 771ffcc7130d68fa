"""An experiment on a local Ray cluster, with a worker killed in the middle."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from padecast import InvalidOption, MissingPackage
from padecast.integrations.ray import Cluster, do
from padecast.lab.cells import Cell, cells
from padecast.lab.experiment import Experiment, Setting, Source
from padecast.lab.shelf import Shelf

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, num_gpus=0, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield ray
    ray.shutdown()


def load(source: Source) -> Any:
    """The demo model, in a worker that dies the first time that it is asked for it."""
    from padecast import zoo

    marker = Path(source.source)
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return zoo.load("digits")


def work(folder: Path) -> list[Cell]:
    return cells(
        Experiment(
            name="two methods",
            pipelines=(Source("digits", str(folder / "died")),),
            settings=(Setting("easy", steps=4),),
            methods=("tc-pade:every=2", "fora:every=2"),
            seeds=(1, 2),
            flops=False,
        )
    )


def test_a_killed_worker_loses_nothing(ray: Any, tmp_path: Path) -> None:
    shelf, told = Shelf(tmp_path / "cells"), list[str]()
    left = work(tmp_path)
    failures = do(left, shelf, load, Cluster(workers=1), lambda cell: told.append(cell.name))
    assert failures == [] and sorted(told) == sorted(cell.name for cell in left)
    assert (tmp_path / "died").exists() and all(shelf.holds(cell) for cell in left)


def test_a_cell_whose_worker_always_dies_is_told_and_the_others_are_done(ray: Any, tmp_path: Path) -> None:
    def deadly(source: Source) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    left = work(tmp_path)[:1]
    failures = do(left, Shelf(tmp_path / "cells"), deadly, Cluster(workers=1, tries=2))
    assert failures == [f"{left[0].name}: its worker died 2 times"]


def test_what_goes_wrong_in_a_cell_is_told_in_its_words(ray: Any, tmp_path: Path) -> None:
    def wrong(source: Source) -> Any:
        raise InvalidOption(f"there is no {source.name}")

    left = work(tmp_path)
    failures = do(left, Shelf(tmp_path / "cells"), wrong, Cluster(workers=2))
    assert len(failures) == len(left) and all("there is no digits" in line for line in failures)


def test_the_command(ray: Any, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from padecast.cli import app

    file = tmp_path / "two.toml"
    file.write_text(
        'methods = ["fora:every=2"]\nseeds = "1-2"\nflops = false\n'
        '[[pipelines]]\nname = "digits"\nsource = "digits"\n[[settings]]\nname = "easy"\nsteps = 4\n'
    )
    arguments = ["lab", "run", str(file), "--out", str(tmp_path / "cells"), "--ray", "--workers", "1"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert len(list((tmp_path / "cells").glob("*.json"))) == 1
    assert "skipped" in CliRunner().invoke(app, arguments).output


@pytest.mark.parametrize("options", [{"workers": 0}, {"gpus": -1.0}, {"tries": 0}])
def test_numbers_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption, match=next(iter(options))):
        Cluster(**options)


def test_without_ray_the_message_has_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingPackage, match=r"padecast-lab\[ray\]"):
        do([], Shelf(tmp_path), load)
