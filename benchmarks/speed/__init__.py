"""Work and time of one pass against plain Stable Diffusion, other ways, and training steps."""
