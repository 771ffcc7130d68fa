"""The demo pipeline: handwritten digits by class, from a small DiT sampled with rectified flow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeAlias

import torch
from diffusers import DiffusionPipeline, DiTTransformer2DModel, FlowMatchEulerDiscreteScheduler
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback
from diffusers.pipelines.pipeline_utils import ImagePipelineOutput
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from padecast.zoo.arguments import CLASSES, check_choices, check_generators, check_numbers, read_labels
from padecast.zoo.schedule import set_schedule, step_options

Generators: TypeAlias = torch.Generator | list[torch.Generator] | None
StepCallback: TypeAlias = Callable[..., dict[str, Any]] | PipelineCallback | MultiPipelineCallbacks


class DigitsPipeline(DiffusionPipeline):
    """Class-conditional digits of 16 x 16 pixels.

    The transformer predicts the velocity ``v = noise - image`` of the straight path
    ``x = (1 - sigma) image + sigma noise`` and receives ``timestep = 1000 sigma``. Guidance extrapolates from the
    empty label (10), ``v = v_empty + guidance_scale (v_label - v_empty)``, with both halves in one call of the
    transformer, labels first.

    Args:
        transformer: the denoiser.
        scheduler: integrates the velocity; ``FlowMatchEulerDiscreteScheduler``, or another for flow matching.

    Example:
        >>> import torch
        >>> from padecast import zoo
        >>> pipe = zoo.load("digits")
        >>> pipe.set_progress_bar_config(disable=True)
        >>> pipe([3, 7], num_inference_steps=4, generator=torch.manual_seed(0), output_type="pt").images.shape
        torch.Size([2, 1, 16, 16])

    Reference:
        Peebles and Xie, "Scalable Diffusion Models with Transformers", arXiv:2212.09748;
        Liu, Gong and Liu, "Flow Straight and Fast", arXiv:2209.03003. Ours differs from the first in the
        objective (velocity of a straight path instead of noise and variance) and works on pixels.
    """

    model_cpu_offload_seq = "transformer"
    _callback_tensor_inputs: ClassVar[list[str]] = ["latents"]

    def __init__(self, transformer: DiTTransformer2DModel, scheduler: FlowMatchEulerDiscreteScheduler) -> None:
        super().__init__()
        self.register_modules(transformer=transformer, scheduler=scheduler)
        self._guidance_scale = 1.0
        self._num_timesteps = 0
        self._interrupt = False

    @property
    def guidance_scale(self) -> float:
        """The guidance scale of the current or last call."""
        return self._guidance_scale

    @property
    def do_classifier_free_guidance(self) -> bool:
        """Whether the current or last call evaluates the empty label too."""
        return self._guidance_scale > 1

    @property
    def num_timesteps(self) -> int:
        """How often the current or last call evaluates the transformer."""
        return self._num_timesteps

    @property
    def interrupt(self) -> bool:
        """Whether the remaining steps are skipped; a callback sets ``pipe._interrupt = True``."""
        return self._interrupt

    @torch.no_grad()
    def __call__(
        self,
        class_labels: Sequence[int] | Tensor | int,
        num_inference_steps: int = 20,
        guidance_scale: float = 3.0,
        shift: float = 1.0,
        generator: Generators = None,
        latents: Tensor | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: StepCallback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
    ) -> Any:
        """Draw digits.

        The noise levels are ``linspace(1, 1/n, n)``, moved by ``sigma -> shift sigma / (1 + (shift - 1) sigma)``.

        Args:
            class_labels: the digits to draw, each in 0..9; B of them.
            num_inference_steps: solver steps n, at least 1; default 20. A second-order solver evaluates the
                transformer more than once per step.
            guidance_scale: strength of guidance, default 3.0; at most 1 switches it off and halves the cost.
            shift: above 1 more steps fall to high noise; positive, default 1.0.
            generator: source of the initial noise, or a list of B sources, one per digit.
            latents: initial noise of shape (B, 1, 16, 16) instead; default: drawn from ``generator``.
            output_type: "pt", "np" or "pil" (default).
            return_dict: False for a plain tuple; default True.
            callback_on_step_end: called as ``callback(pipe, index, timestep, tensors)`` after each step; the
                dictionary it returns may replace "latents".
            callback_on_step_end_tensor_inputs: names handed to the callback; only "latents" exists.

        Returns:
            An ``ImagePipelineOutput`` (or a tuple) whose ``images`` are in [0, 1]: "pt" a float32 tensor of shape
            (B, 1, 16, 16), "np" an array (B, 16, 16, 1), "pil" a list of B grey images.

        Raises:
            ValueError: an argument is out of range; the message names the value, the usual cause, a remedy.
        """
        labels = read_labels(class_labels)
        if isinstance(callback_on_step_end, PipelineCallback | MultiPipelineCallbacks):
            callback_on_step_end_tensor_inputs = callback_on_step_end.tensor_inputs
        check_numbers(num_inference_steps, shift)
        check_choices(output_type, callback_on_step_end_tensor_inputs, self._callback_tensor_inputs)
        check_generators(generator, len(labels))
        self._guidance_scale, self._interrupt = guidance_scale, False
        latents = self.prepare_latents(len(labels), generator, latents)
        conditions = self.prepare_labels(labels)
        set_schedule(self.scheduler, num_inference_steps, shift, self._execution_device)
        timesteps = self.scheduler.timesteps
        self._num_timesteps = len(timesteps)
        extra = step_options(self.scheduler, generator)
        with self.progress_bar(total=len(timesteps)) as bar:
            for index, timestep in enumerate(timesteps):
                if self.interrupt:
                    continue
                velocity = self.velocity(latents, timestep, conditions)
                latents = self.scheduler.step(velocity, timestep, latents, return_dict=False, **extra)[0]
                if callback_on_step_end is not None:
                    tensors = {name: latents for name in callback_on_step_end_tensor_inputs}
                    latents = callback_on_step_end(self, index, timestep, tensors).pop("latents", latents)
                bar.update()
        images = self.to_images(latents, output_type)
        self.maybe_free_model_hooks()
        return ImagePipelineOutput(images=images) if return_dict else (images,)

    def velocity(self, latents: Tensor, timestep: Tensor, conditions: Tensor) -> Tensor:
        """The guided velocity, from one call of the transformer.

        Args:
            latents: (B, 1, 16, 16).
            timestep: scalar, 1000 sigma.
            conditions: labels (B,), or (2B,) with guidance.

        Returns:
            (B, 1, 16, 16).
        """
        inputs = torch.cat([latents, latents]) if self.do_classifier_free_guidance else latents
        times = timestep.to(latents.device).expand(len(inputs))
        output: Tensor
        (output,) = self.transformer(inputs, timestep=times, class_labels=conditions, return_dict=False)
        if not self.do_classifier_free_guidance:
            return output
        labelled, empty = output.chunk(2)
        return empty + self.guidance_scale * (labelled - empty)

    def prepare_latents(self, count: int, generator: Generators, latents: Tensor | None) -> Tensor:
        """Initial noise (count, 1, 16, 16) on the pipeline's device, in the transformer's dtype."""
        config = self.transformer.config
        shape = (count, config.in_channels, config.sample_size, config.sample_size)
        device, dtype = self._execution_device, self.transformer.dtype
        if latents is None:
            drawn: Tensor = randn_tensor(shape, generator=generator, device=device, dtype=dtype)
            return drawn
        if tuple(latents.shape) != shape:
            raise ValueError(
                f"latents have shape {tuple(latents.shape)}, but {count} digits need {shape}.\n"
                "Usually the noise was made for another number of labels. Make it with:\n"
                f"    latents = torch.randn{shape}"
            )
        return latents.to(device, dtype)

    def prepare_labels(self, labels: list[int]) -> Tensor:
        """Labels (B,), or with guidance (2B,): labels first, then as many empty ones."""
        empty = [CLASSES] * len(labels) if self.do_classifier_free_guidance else []
        return torch.tensor(labels + empty, device=self._execution_device)

    def to_images(self, latents: Tensor, output_type: str) -> Any:
        """Latents (B, 1, 16, 16) in [-1, 1] as images in [0, 1] of the wanted type."""
        images = (latents.float() / 2 + 0.5).clamp(0, 1)
        if output_type == "pt":
            return images
        arrays = images.cpu().permute(0, 2, 3, 1).numpy()
        return arrays if output_type == "np" else self.numpy_to_pil(arrays)
