"""What the chapters derive, as plain functions on tensors. Imports torch and nothing else."""
