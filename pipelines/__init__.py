"""The room for generation: a Request becomes pictures in one denoising pass."""
