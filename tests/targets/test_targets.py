"""A model class is one entry of data, and every entry fits the class of the installed diffusers that it names."""

from __future__ import annotations

import inspect

import diffusers
import pytest
from tests.tiny import dit
from torch import nn

from padecast import UnsupportedModel, targets
from padecast.targets import HIDDEN, REGISTRY, TEXT_IMAGE, BlockOutput, Target, find, register


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> dict[str, Target]:
    monkeypatch.setattr(targets, "REGISTRY", dict(REGISTRY))
    return targets.REGISTRY


@pytest.mark.parametrize("name", REGISTRY)
class TestDescriptions:
    def test_the_class_exists_and_has_the_timestep(self, name: str) -> None:
        assert REGISTRY[name].timestep in inspect.signature(getattr(diffusers, name).forward).parameters

    def test_the_pipelines_exist(self, name: str) -> None:
        named = [pipeline for pipeline in REGISTRY[name].pipelines if not pipeline.startswith("padecast")]
        assert named
        known = {pipeline.removesuffix("Pipeline") for pipeline in dir(diffusers)}
        assert [pipeline for pipeline in named if pipeline not in known] == []

    def test_every_span_is_made_of_its_lists(self, name: str) -> None:
        target = REGISTRY[name]
        assert target.spans["full"] == tuple(target.blocks)
        assert all(set(span) <= set(target.blocks) for span in target.spans.values())

    def test_it_says_on_what_it_is_tested(self, name: str) -> None:
        assert "random weights" in REGISTRY[name].tested


def test_a_span_that_is_not_last_remembers_every_stream() -> None:
    target = REGISTRY["FluxTransformer2DModel"]
    assert target.streams("double") == ("encoder_hidden_states", "hidden_states")
    assert target.streams("single") == target.streams("full") == ("hidden_states",)


class TestFinding:
    def test_by_class(self) -> None:
        assert find(dit()) is REGISTRY["DiTTransformer2DModel"]

    def test_by_what_it_inherits_from(self, registry: dict[str, Target]) -> None:
        class Base(nn.Module):
            pass

        class Derived(Base):
            pass

        base = register(Target("Base", {"layers": HIDDEN}))
        assert find(Derived()) is base
        derived = register(Target("Derived", {"layers": TEXT_IMAGE}))
        assert (find(Derived()), find(Base())) == (derived, base)

    def test_the_message_names_the_first_list_of_the_model(self) -> None:
        model = nn.Module()
        model.stages = nn.ModuleList([nn.Linear(2, 2)])
        with pytest.raises(UnsupportedModel, match=r'targets.Target\("Module", \{"stages": targets.HIDDEN\}\)'):
            find(model)

    def test_describing_anew(self, registry: dict[str, Target]) -> None:
        register(Target("DiTTransformer2DModel", {"blocks": BlockOutput(("hidden_states",), bare=True)}))
        assert find(dit()).blocks.keys() == {"blocks"}


class TestNamesakes:
    """A class of another library that has the name of a described one: ComfyUI has five, vLLM-Omni seventeen."""

    def namesake(self, library: str = "comfy", base: type[nn.Module] = nn.Module) -> nn.Module:
        def forward(self: nn.Module, x: object, timestep: object, context: object) -> object:
            return x

        module = f"{library}.ldm.qwen_image.model"
        return type("QwenImageTransformer2DModel", (base,), {"forward": forward, "__module__": module})()

    def test_it_is_not_taken_for_it(self) -> None:
        with pytest.raises(UnsupportedModel, match="QwenImageTransformer2DModel of comfy is not that of diffusers"):
            find(self.namesake())

    def test_its_output_can_be_forecast(self) -> None:
        assert find(self.namesake(), "output") == Target("QwenImageTransformer2DModel", {}, timestep="timestep")

    def test_the_line_of_the_message_describes_it(self, registry: dict[str, Target]) -> None:
        with pytest.raises(UnsupportedModel) as caught:
            find(self.namesake("vllm_omni"))
        exec("\n".join(line.strip() for line in str(caught.value).splitlines()[-3:]))
        described = find(self.namesake("vllm_omni"))
        assert (described.library, described.blocks.keys()) == ("vllm_omni", {"transformer_blocks"})
        with pytest.raises(UnsupportedModel, match="of comfy is not"):
            find(self.namesake("comfy"))
        assert registry["QwenImageTransformer2DModel"].library == "diffusers"

    def test_a_class_that_inherits_from_the_described_one_is_described(self) -> None:
        assert find(self.namesake(base=type(dit()))) is REGISTRY["DiTTransformer2DModel"]

    def test_a_description_without_a_library_serves_all(self, registry: dict[str, Target]) -> None:
        target = register(Target("QwenImageTransformer2DModel", {"blocks": HIDDEN}))
        assert find(self.namesake()) is target
