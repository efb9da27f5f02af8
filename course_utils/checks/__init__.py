"""Checks for the exercises: they receive your function, say what they saw, and name the mistake."""

from course_utils.checks.commands import check, hint, progress

__all__ = ["check", "hint", "progress"]
