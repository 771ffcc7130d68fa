"""How often what a demo model draws obeys its captions: drawn, read again, counted, and shown on a sheet."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SETTINGS = ("steps", "guidance", "length", "seed")  # options of the command line that ``sample`` takes


def sample(call: Callable[..., Tensor], captions: Sequence[Any], *, seed: int, batch: int) -> Tensor:
    """Draw captions in batches, onto the CPU; number k has the generator seed ``seed + k``.

    Args:
        call: given some captions, and their generators as ``generator``, returns what is drawn of each.
        captions: what is asked for.
        seed: of the first.
        batch: captions per call.
    """
    drawn = []
    for chosen in torch.arange(len(captions)).split(batch):
        numbers = chosen.tolist()
        generators = [torch.Generator().manual_seed(seed + number) for number in numbers]
        drawn.append(call([captions[number] for number in numbers], generator=generators).cpu())
    return torch.cat(drawn)


@dataclass(frozen=True)
class Examination:
    """A demo model, and how it is asked and judged.

    Args:
        model: its name, which is that of its module.
        plural: what it draws.
        shown: how many are on the sheet.
        kinds: of what a caption says.
        draw: a random caption, given a generator and ``held_out``.
        load: the pipeline of a folder.
        sample: what a pipeline draws of captions, given ``SETTINGS``.
        read: what the drawn show.
        obeyed: of a caption and a reading, which kinds are right.
        save_sheet: writes captions and what was drawn to a file.
    """

    model: str
    plural: str
    shown: int
    kinds: Sequence[str]
    draw: Callable[..., Any]
    load: Callable[[Path], Any]
    sample: Callable[..., Tensor]
    read: Callable[[Tensor], Sequence[Any]]
    obeyed: Callable[[Any, Any], dict[str, bool]]
    save_sheet: Callable[[Sequence[Any], Tensor, Path], None]

    def shares(self, captions: Sequence[Any], drawn: Tensor) -> dict[str, float]:
        """Share of what was drawn, in [0, 1], that obeys, for each kind that any caption speaks of."""
        results = [self.obeyed(*pair) for pair in zip(captions, self.read(drawn), strict=True)]
        spoken = {kind: [result[kind] for result in results if kind in result] for kind in self.kinds}
        return {kind: sum(values) / len(values) for kind, values in spoken.items() if values}

    def parser(self, *, count: int, guidance: float, length: int) -> argparse.ArgumentParser:
        """The command line, with these defaults."""
        what, number = self.plural, {"type": int}
        line = argparse.ArgumentParser(
            prog=f"python -m demos.{self.model}.check", description=f"measure how often {what} obey their captions"
        )
        line.add_argument("folder", type=Path, help=f"a {self.model} pipeline, as training writes it")
        for name, kind, default, meaning in (
            ("--count", number, count, what),
            ("--steps", number, 20, "solver steps"),
            ("--guidance", {"type": float}, guidance, "guidance scale"),
            ("--length", number, length, "tokens that captions are padded to"),
            ("--seen", {"action": "store_true"}, False, "captions like those of training, instead of unseen ones"),
            ("--seed", number, 0, f"seed of captions and of the first {what.removesuffix('s')}"),
        ):
            shown = "" if name == "--seen" else " (%(default)s)"
            line.add_argument(name, **kind, default=default, help=meaning + shown)
        line.add_argument(
            "--sheet", type=Path, help=f"write the first {self.shown} {what} with their captions as a PNG"
        )
        return line

    def examine(self, options: argparse.Namespace) -> tuple[Any, dict[str, float]]:
        """Draw, judge and print as the command line asks; return the pipeline and the shares that are right."""
        generator = torch.Generator().manual_seed(options.seed)
        captions = [self.draw(generator, held_out=not options.seen) for _ in range(options.count)]
        pipe = self.load(options.folder)
        pipe.set_progress_bar_config(disable=True)
        drawn = self.sample(pipe, captions, **{name: getattr(options, name) for name in SETTINGS})
        if options.sheet:
            self.save_sheet(captions[: self.shown], drawn[: self.shown], options.sheet)
        shares = self.shares(captions, drawn)
        kind = f"{options.count} {self.plural} of {describe(options)} captions"
        print(f"{kind}, {options.steps} steps, guidance {options.guidance}: share right")
        for name, share in shares.items():
            print(f"    {name:<12}{share:.3f}")
        return pipe, shares


def describe(options: argparse.Namespace) -> str:
    """Which captions the command line asks for."""
    return "seen" if options.seen else "unseen"
