"""ComfyUI: forecast steps of any model with any sampler.

It hooks on where ComfyUI asks for the predictions of all conditionings, through the wrappers that ComfyUI offers, and
imports nothing of ComfyUI. Nodes that call it are in ``comfyui/`` of the repository; a node of your own is two lines::

    from padecast.integrations import comfy

    model = comfy.attach(model, "adaptive")  # a clone of the ModelPatcher, which samples as any other
"""

from __future__ import annotations

from padecast.integrations.comfy.attach import attach, report_of

__all__ = ["attach", "report_of"]
