"""The denoising loop and what each of its steps needs."""
