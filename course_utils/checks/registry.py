"""All exercises of the course, in order. A new chapter's module is added to CHAPTERS and nowhere else."""

from course_utils.checks import chapter_01, chapter_02, chapter_03, chapter_04, chapter_05
from course_utils.checks.exercise import Exercise

CHAPTERS = (chapter_01, chapter_02, chapter_03, chapter_04, chapter_05)
EXERCISES: dict[str, Exercise] = {
    exercise.id: exercise for chapter in CHAPTERS for exercise in chapter.EXERCISES
}
