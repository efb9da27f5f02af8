"""The library behind the course *Diffusion from scratch*. Importing it loads nothing heavy."""
