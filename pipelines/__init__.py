"""From a `Request` to pictures in one denoising pass."""
