"""For every test, those in notebooks included: the learner's progress file is never touched, and threads that wait
sleep, so that a busy machine is not slowed down many times over."""

import os
import tempfile

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is first imported


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    folder = tempfile.TemporaryDirectory(prefix="course-progress-")
    os.environ["COURSE_PROGRESS_FILE"] = os.path.join(folder.name, "progress.json")
    config.add_cleanup(folder.cleanup)
