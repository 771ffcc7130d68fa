"""Nodes of padecast for ComfyUI: the model is run at some of the steps, and forecast at the others."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .demo import DEMO_NODES
from .nodes import NODES

WEB_DIRECTORY = "./web"


class PadecastExtension(ComfyExtension):
    """All nodes of the pack."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Return the nodes, in the order of the menu."""
        return [*NODES, *DEMO_NODES]


async def comfy_entrypoint() -> ComfyExtension:
    """Return the pack, as ComfyUI asks for it."""
    return PadecastExtension()


__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
