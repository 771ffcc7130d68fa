"""Finds a pipeline: a demo model by name, a folder, or a model of the hub."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from padecast import files, zoo
from padecast._errors import DamagedFile, InvalidOption, PadecastError, UnknownName, UnwritableFile, missing, unknown
from padecast.cli._shell import Failure
from padecast.files.hub import Address, explain, is_silence

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
KINDS = "A pipeline is a demo model, a folder with a model_index.json, or owner/name on the hub."
REMEDY = "try again with a network, or give a folder: what pipe.save_pretrained(FOLDER) wrote"
OFFLOADS = ("none", "model", "group")


def load(name: str, *, device: str | None = None, dtype: str | None = None, offload: str = "none") -> Any:
    """Load a pipeline.

    Args:
        name: A demo model such as ``digits``, a folder with a ``model_index.json``, or ``owner/name`` on the hub.
        device: Where to; an accelerator if there is one.
        dtype: Of the weights; ``float32`` on the host and for demo models, otherwise ``bfloat16``.
        offload: ``"model"`` has one component at a time on the accelerator, ``"group"`` a few layers of each at a time.
            Default ``"none"``: all of the pipeline lies there.

    Raises:
        UnknownName: If there is no such demo model, folder, dtype or way to offload.
        InvalidOption: If the device cannot be had.
        MissingPackage: If diffusers is not installed.
        Failure: If the pipeline could not be loaded.
    """
    place = _device(device)
    if dtype is not None and dtype not in DTYPES:
        raise unknown("dtype", dtype, DTYPES)
    _check_offload(offload, place)
    try:
        return _offload(_find(name, torch.device("cpu") if offload != "none" else place, place, dtype), place, offload)
    except PadecastError:
        raise
    except Exception as error:
        if files.is_full(error):
            raise UnwritableFile(
                f"the pipeline {name!r} could not be loaded: {error}.\nThe disk is full: make room, and try again."
            ) from error
        if isinstance(error.__cause__, Exception) and is_silence(error.__cause__):  # as diffusers says it, at length
            with explain(Address.read(name), REMEDY):
                raise error.__cause__ from None
        raise Failure(f"the pipeline {name!r} could not be loaded: {error}") from error


def _check_offload(offload: str, device: torch.device) -> None:
    if offload not in OFFLOADS:
        raise unknown("--offload", offload, OFFLOADS)
    if offload != "none" and device.type == "cpu":
        raise InvalidOption(
            f"--offload {offload} keeps weights in host memory, and --device is the host.\n"
            "Usual cause: no GPU that this torch sees. Leave --offload out, or name one: --device cuda"
        )


def _offload(pipe: Any, device: torch.device, offload: str) -> Any:
    """Switch on the pipeline's own offloading, if any is asked for."""
    if offload == "model":
        pipe.enable_model_cpu_offload(device=device)
    elif offload == "group":
        if not hasattr(pipe, "enable_group_offload"):
            raise InvalidOption(
                "--offload group needs pipelines that can do it, and those of this diffusers cannot.\n"
                "Upgrade: pip install -U diffusers, or take --offload model"
            )
        pipe.enable_group_offload(onload_device=device, offload_type="leaf_level", use_stream=device.type == "cuda")
    return pipe


def _find(name: str, device: torch.device, runs_on: torch.device, dtype: str | None) -> Any:
    folder = files.locate(name, "the pipeline")
    if "/" not in name:
        try:
            return zoo.load(name, dtype=DTYPES[dtype or "float32"], device=device)
        except UnknownName as error:
            if not name or not os.path.isdir(folder):
                raise UnknownName(f"{error}\n{KINDS}") from None
    if not os.path.isdir(folder) and (name[0] in "./~" or name.count("/") != 1):
        raise UnknownName(f"there is no folder {name!r}.\n{KINDS}")
    torch_dtype = DTYPES[dtype or ("float32" if runs_on.type == "cpu" else "bfloat16")]
    return _load_saved(folder if os.path.isdir(folder) else name, torch_dtype).to(device)


def _load_saved(source: Path | str, dtype: torch.dtype) -> Any:
    try:
        from diffusers import DiffusionPipeline, __version__
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "diffusers":
            raise
        raise missing("diffusers", "padecast[diffusers]", "loading a pipeline") from error
    renamed = tuple(map(int, __version__.split(".")[:2])) >= (0, 42)
    precision = {"dtype" if renamed else "torch_dtype": dtype, "use_safetensors": True}
    if isinstance(source, Path) and _class_of(source) == "DigitsPipeline":
        from padecast.zoo.digits import DigitsPipeline

        return DigitsPipeline.from_pretrained(source, **precision)
    return DiffusionPipeline.from_pretrained(source, **precision)


def _class_of(folder: Path) -> str | None:
    index = folder / "model_index.json"
    if not index.is_file():
        raise InvalidOption(
            f"the folder {folder} has no model_index.json, so it is not a pipeline.\n"
            "Usual cause: the folder of one of its parts. Save a pipeline with: pipe.save_pretrained(folder)"
        )
    try:
        content = files.read_json(index)
    except DamagedFile as error:
        raise Failure(f"{files.line(index, 400)} is damaged: {error.fact}.\nSave the pipeline anew.") from error
    return content.get("_class_name") if isinstance(content, dict) else None


def _device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InvalidOption(f"--device {name!r} is no device: expected cpu, cuda, cuda:1 or mps.") from error
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(device.type, True):
        raise InvalidOption(f"--device {name!r} is not available to this torch {torch.__version__}.\nUse --device cpu")
    return device
