"""Writes the pages of the documentation that are tables of result files.

    python benchmarks/pages.py

docs/other-caches.md from benchmarks/results/runs-of-others.json, docs/costs.md from overhead.json and history.json.
"""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

from common import RESULTS

from padecast import files

DOCS = Path(__file__).parent.parent / "docs"


def main() -> None:
    """Write every page."""
    pages = {"other-caches.md": other_caches(read("runs-of-others.json"))}
    pages["costs.md"] = costs(read("overhead.json")["parts"], read("history.json"))
    for name, text in pages.items():
        files.write(DOCS / name, text)
        print(f"written: docs/{name}")


def read(name: str) -> dict[str, Any]:
    """Read a result file."""
    return files.read_json(RESULTS / name)  # type: ignore[no-any-return]


def other_caches(found: dict[str, Any]) -> str:
    """Write what every library did in every kind of run."""
    libraries = list(found["libraries"])
    versions = found["provenance"]["versions"]
    cells = {(f["scenario"], f["library"]): f for f in found["findings"]}
    lines = [
        "# The same runs with other caches",
        "",
        "<!-- written by benchmarks/pages.py from benchmarks/results/runs-of-others.json -->",
        "",
        f"`python benchmarks/runs_of_others.py`; diffusers {versions['diffusers']}, cache-dit {found['cache_dit']}, "
        "tiny pipelines with random weights, eight steps. A number is the largest difference of a wrong image from "
        "the right one (values reach about 2); an arrow leads to what a further call or option of that library "
        "gives. *By design* means that a threshold looks at the whole batch, as its authors say.",
        "",
        f"| kind of run | {' | '.join(libraries)} |",
        f"|---|{'---|' * len(libraries)}",
    ]
    for name, scenario in found["scenarios"].items():
        row = [cell(cells.get((name, library))) for library in libraries]
        lines.append(f"| {scenario['title']} | {' | '.join(row)} |")
    lines += ["", "## What the right answer is", ""]
    lines += [f"- **{s['title']}**: {s['right']}." for s in found["scenarios"].values()]
    lines += ["", "## What was measured where it was not right", ""]
    for f in found["findings"]:
        if f["verdict"] != "right":
            remedy = f.get("remedy")
            more = f" With {remedy['what']}: {remedy['verdict']}." if remedy else ""
            note = f" ({f['note']})" if f["note"] else ""
            lines.append(f"- {f['library']}, {f['scenario']}: {f['verdict']}: {f['measured']}{note}.{more}")
    lines += ["", "## How each was switched on", ""]
    lines += [f"- {name}: `{how}`" for name, how in found["libraries"].items()]
    return "\n".join([*lines, ""])


def cell(f: dict[str, Any] | None) -> str:
    """Write a verdict in a word or a number."""
    if f is None:
        return ""
    told = f"{f['difference']:.2g}" if f["verdict"] == "wrong image" else f["verdict"]
    return f"{told} → {cell({**f['remedy'], 'remedy': None})}" if f.get("remedy") else told


# Costs ----------------------------------------------------------------------------------------------------------------


def costs(parts: dict[str, Any], history: dict[str, Any]) -> str:
    """Write what padecast itself costs."""
    machine = parts["digits"]["provenance"]
    lines = [
        "# What it costs",
        "",
        "<!-- written by benchmarks/pages.py from benchmarks/results/overhead.json and history.json -->",
        "",
        f"`python benchmarks/overhead.py` and `python benchmarks/history.py`, on {machine['device']} "
        f"(torch {machine['versions']['torch']}). Times are compared within one process; runs alternate.",
        "",
        "## Efficiency",
        "",
        "Speedup of the denoiser over steps / NFE: 1 is all that leaving steps out can give. The bound leaves the "
        "blocks out and puts nothing in their place. Medians; single runs differ by about a tenth.",
        "",
    ]
    for part in ("digits", "flux", "wan"):
        rows = parts[part]["rows"]
        lines += [f"**{rows[0]['model']}** ({rows[0]['about']}, {rows[0]['steps']} steps)", ""]
        lines += table(["cache", "NFE", "speedup", "of", "efficiency"], [efficiency(row) for row in rows])
    lines += arithmetic(parts["forecast"]["rows"], parts["products"]["rows"])
    lines += ["## Memory", ""]
    lines += table(["model", "plan", "declared", "over uncached", "ratio"], [held(r) for r in parts["memory"]["rows"]])
    lines += ["## Full-size models on a CUDA device", ""]
    lines += table(["model", "efficiency", "note"], [[r["model"], "", r["note"]] for r in parts["cuda"]["rows"]])
    return "\n".join([*lines, *placement(history), ""])


def arithmetic(forecasts: list[dict[str, Any]], inner: list[dict[str, Any]]) -> list[str]:
    """Write what forecasts and inner products cost by themselves."""
    wanted = ("Memory.add, weights (K,)", "Session.forecast")
    rows = [forecast(row) for row in forecasts if row["what"] in wanted]
    return [
        "## A forecast step over its floor",
        "",
        "The floor: reading the input and K residuals and writing the output, at the rate at which torch copies the "
        "same tensors. A CPU keeps small features in its cache, where starting an operation costs more than the bytes.",
        "",
        *table(["features", "dtype", "K", "what", "ms", "times the floor"], rows),
        "## Inner products",
        "",
        *table(["features", "dtype", "ms", "of a computed step"], [products(row) for row in inner]),
    ]


def efficiency(row: dict[str, Any]) -> list[str]:
    """Write one cache's speed."""
    if "error" in row:
        return [row["way"], "", "", "", row["error"]]
    numbers = f"{row['speedup']:.2f}", f"{row['ideal']:.2f}", f"{row['efficiency']:.3f}"
    return [row["way"], str(row["nfe"]), *numbers]


def forecast(row: dict[str, Any]) -> list[str]:
    """Write the cost of one forecast."""
    return [
        row["shape"],
        row["dtype"],
        str(row["kept"]),
        f"`{row['what']}`",
        f"{1e3 * row['seconds']:.2f}",
        f"{row['over_floor']:.2f}",
    ]


def products(row: dict[str, Any]) -> list[str]:
    """Write the cost of the inner products of one computed step."""
    share = "" if row["products_over_step"] is None else f"{row['products_over_step']:.2%}"
    return [row["shape"], row["dtype"], f"{1e3 * row['products_seconds']:.2f}", share]


def held(row: dict[str, Any]) -> list[str]:
    """Write the memory of one run."""
    sizes = mega(row["declared_bytes"]), mega(row["over_uncached_bytes"])
    return [row["model"], f"`{row['plan']}`", *sizes, f"{row['over_declared']:.3f}"]


def placement(history: dict[str, Any]) -> list[str]:
    """Write what a history in fewer bytes costs in fidelity."""
    lines = ["## The history in fewer bytes", ""]
    for setting, rows in history["settings"].items():
        methods = list(next(iter(rows.values()))["psnr"])
        lines += [
            f"digits, {setting}: mean PSNR in dB over 32 test seeds, and bytes of tc-pade's history",
            "",
        ]
        lines += table(
            ["history", "bytes", *methods],
            [[n, mega(r["bytes"]), *(f"{fmean(r['psnr'][m]):.2f}" for m in methods)] for n, r in rows.items()],
        )
    return lines


def mega(size: float) -> str:
    """Write bytes in millions."""
    return f"{size / 1e6:.2f} MB"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Write a Markdown table and the blank line after it."""
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)] + [""]


if __name__ == "__main__":
    main()
