"""The trainer: `diffusion.training` plus what a GPU, several of them and a long run need."""
