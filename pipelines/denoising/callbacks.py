"""What follows a step: the progress bar, and the user's callback, as diffusers' pipelines have them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback
from torch import Tensor

from twinset.adapters.condition import TextConditioning

Callback = (
    Callable[[Any, int, Tensor, dict[str, Tensor]], dict[str, Tensor]] | PipelineCallback | MultiPipelineCallbacks
)


@dataclass(frozen=True)
class AfterStep:
    """Advances the progress bar and calls the user's callback, which may replace latents, text states or both.

    Attributes:
        pipe: the pipeline, the callback's first argument; it may change its guidance or interrupt it.
        bar: the progress bar of the pass.
        callback: the user's, if any.
        inputs: names of the tensors that the callback gets; diffusers' own callback classes bring theirs.
        pictures: what the ControlNets see.
    """

    pipe: Any
    bar: Any
    callback: Callback | None
    inputs: Sequence[str]
    pictures: list[Tensor]

    def __call__(
        self, step: int, timestep: Tensor, latents: Tensor, words: TextConditioning, empty: TextConditioning
    ) -> tuple[Tensor, TextConditioning, TextConditioning]:
        """What the pass goes on with: latents, words and empty words, each the very same if left alone."""
        self.bar.update()
        if self.callback is None:
            return latents, words, empty
        shown = {"latents": latents, "image": self.pictures[0] if len(self.pictures) == 1 else self.pictures}
        shown |= self._shown(words, empty)
        own = isinstance(self.callback, PipelineCallback | MultiPipelineCallbacks)
        inputs = self.callback.tensor_inputs if own else self.inputs
        given = self.callback(self.pipe, step, timestep, {name: shown[name] for name in inputs})
        self.pipe.attention.renew_text()  # it may have changed a LoRA
        return given.get("latents", latents), *text_after_callback(words, empty, shown, given)

    def _shown(self, words: TextConditioning, empty: TextConditioning) -> dict[str, Any]:
        """Under guidance negative and positive words one after another, as diffusers has them."""
        both = TextConditioning.cat([empty, words]) if self.pipe.do_classifier_free_guidance else words
        added = {f"add_{name}": value for name, value in both.added.items()}  # add_text_embeds, add_time_ids
        return {"prompt_embeds": both.states, "negative_prompt_embeds": empty.states, **added}


def text_after_callback(
    words: TextConditioning, empty: TextConditioning, shown: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[TextConditioning, TextConditioning]:
    """Prompt and negative-prompt states as a callback returned them; the same objects if it returned none.

    Half the rows shown are the words alone (guidance has ended); still fewer are what diffusers' cut-offs leave of
    several pictures' words, which go on as they were.
    """
    for name in ("prompt_embeds", *(f"add_{name}" for name in words.added)):
        said, rows, key = given.get(name, ()), len(words.states), name.removeprefix("add_")
        if len(said) == 2 * rows:
            empty, words = (side.having(key, x) for side, x in zip((empty, words), said.chunk(2), strict=True))
        elif len(said) == rows:
            words = words.having(key, said)
    negative = given.get("negative_prompt_embeds", shown["negative_prompt_embeds"])
    return words, empty if negative is shown["negative_prompt_embeds"] else empty.having("prompt_embeds", negative)
