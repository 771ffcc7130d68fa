"""``padecast methods``, ``models`` and ``cite``: what is registered."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import typer

import padecast
from padecast import forecasters, policies, targets
from padecast.citations import BIBTEX
from padecast.cli._files import as_json
from padecast.cli._shell import stdout
from padecast.cli._tables import new_table
from padecast.methods import DEFAULT, Method

JSON = typer.Option(False, "--json", help="Print JSON for scripts.")


def methods(json: bool = JSON) -> None:
    """List the methods: when they compute, with what they forecast, and where they come from."""
    rows = [_method(method) for method in padecast.methods().values()]
    if json:
        return typer.echo(as_json(rows))
    table = new_table("method", "computes", "forecasts by", "needs", "source", "what it is")
    for row in rows:
        source = "; ".join(row["sources"]) or "padecast"
        table.add_row(row["name"], row["policy"], row["forecaster"], ", ".join(row["needs"]), source, row["summary"])
    console = stdout()
    console.print(table, highlight=False, markup=False)
    console.print(f"default: {DEFAULT}; options are written tc-pade:every=3", style="dim", highlight=False)


def models(json: bool = JSON) -> None:
    """List the model classes that are described, their spans, where they occur and on what they are tested."""
    rows: list[dict[str, Any]] = [
        {
            "model": target.model,
            "spans": target.spans,
            "pipelines": list(target.pipelines),
            "tested": target.tested,
        }
        for target in targets.REGISTRY.values()
    ]
    if json:
        return typer.echo(as_json(rows))
    table = new_table("model class", "span", "block lists", "pipelines", "tested on")
    for row in rows:
        for place, (span, lists) in enumerate(row["spans"].items()):
            blocks = ", ".join(name or "the model itself" for name in lists)
            of_class = (row["model"], ", ".join(row["pipelines"]), row["tested"]) if place == 0 else ("", "", "")
            table.add_row(of_class[0], span, blocks, *of_class[1:])
    console = stdout()
    console.print(table, highlight=False, markup=False)
    also = f'{len(rows)} classes. Of any other model, span="output" or "difference" forecasts what it returns.'
    console.print(also, style="dim", highlight=False)


def cite(method: str = typer.Argument(help="A registered method, such as tc-pade.")) -> None:
    """Print whom to cite for a method, as BibTeX."""
    typer.echo(padecast.cite(method))


def _method(method: Method) -> dict[str, Any]:
    entries = [BIBTEX[key] for key in method.cites]
    return {
        "name": method.name,
        "summary": method.summary,
        "policy": _part(method.policy, policies.REGISTRY, number=True),
        "forecaster": _part(method.forecaster, forecasters.REGISTRY),
        "span": method.span,
        "sources": [f"arXiv:{found[1]}" for entry in entries if (found := re.search(r"arXiv:(\d+\.\d+)", entry))],
        "needs": list(method.needs),
        "cites": list(method.cites),
    }


def _part(part: Any, registry: Any, *, number: bool = False) -> str:
    """Write a part as ``name:option=value``: the options that are not its defaults, and its first number if wanted."""
    name = next((name for name in registry if registry[name] is type(part)), type(part).__name__)
    plain = type(part)()
    options = {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    first = next((key for key, value in options.items() if number and isinstance(value, int | float)), None)
    changed = [
        f"{key}={value}".lower() for key, value in options.items() if key == first or value != getattr(plain, key)
    ]
    return f"{name}:{','.join(changed)}" if changed else str(name)
