"""One address for the whole course, and `publish`, which changes it everywhere."""

import json
import subprocess
from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from tiny_course import code, prose, save

from course_utils.authoring import repository
from course_utils.authoring.course import CourseError

ROOT = Path(__file__).resolve().parents[1]
OLD, NEW = "OWNER/NAME", "ada-l/noise.course"


@pytest.fixture
def course(tmp_path) -> Path:
    """A small course that nobody has published yet, every kind of place with an address in it."""
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "diffusion-course"\n[project.urls]\n# publish --repo OWNER/NAME changes it\n'
        f'Repository = "https://github.com/{OLD}"\n'
    )
    (tmp_path / "README.md").write_text(
        f"{repository.badge_markdown(OLD, 'notebooks/00.ipynb')}\n\n"
        f"    git clone https://github.com/{OLD}.git course\n\n"
        f"See https://github.com/{OLD}. Then `diffusion-course publish --repo OWNER/NAME`.\n"
        "[diffusers](https://github.com/huggingface/diffusers/issues/8730)\n"
        "[theirs](https://colab.research.google.com/github/huggingface/notebooks/blob/main/a.ipynb)\n"
    )
    card = tmp_path / "course_utils" / "assets" / "butterflies" / "README.md"
    card.parent.mkdir(parents=True)
    card.write_text(f"Made with [the course](https://github.com/{OLD}/tree/main/course_utils).\n")
    for folder in ("notebooks", "solutions"):
        save(
            tmp_path / folder / "00.ipynb",
            prose(
                f"# Τίτλος\n\n{repository.badge_markdown(OLD, folder + '/00.ipynb')}\n\nAims.",
                role="badge",
            ),
            code(repository.bootstrap_source(OLD), role="bootstrap"),
            prose(
                f"Ask [here](https://github.com/{OLD}/issues), not at https://github.com/huggingface/diffusers."
            ),
            "print('OWNER/NAME')",
        )
    return tmp_path


def texts(course: Path) -> dict[str, str]:
    return {
        p.relative_to(course).as_posix(): p.read_text()
        for p in sorted(course.rglob("*"))
        if p.is_file()
    }


def test_publish_changes_every_address_of_ours_and_nothing_else(course):
    before = texts(course)
    changed = repository.publish(NEW, course)
    assert sorted(changed) == sorted(before)
    # The independent rule: our address always follows a host's name, and other mentions of it are words.
    words = {"pyproject.toml": 1, "README.md": 1, "notebooks/00.ipynb": 1, "solutions/00.ipynb": 1}
    for path, text in texts(course).items():
        assert text.replace(NEW, OLD) == before[path]
        assert text.count(OLD) == words.get(path, 0)
    assert repository.repository(course) == NEW


def test_publish_again_changes_nothing_and_back_restores_every_byte(course):
    before = texts(course)
    repository.publish(NEW, course)
    assert repository.publish(NEW, course) == []
    repository.publish(OLD, course)
    assert texts(course) == before


def test_publish_finds_an_address_that_pyproject_has_forgotten(course):
    """Somebody edited pyproject.toml by hand; badges still know the old address, so the links do too."""
    repository.publish("first/fork", course)
    pyproject = course / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace("first/fork", NEW))
    assert len(repository.disagreements(course)) == 4
    repository.publish(NEW, course)
    assert not any("first/fork" in text for text in texts(course).values())


def test_the_title_cell_keeps_what_the_author_wrote_and_gains_a_missing_badge(course):
    path = save(
        course / "notebooks" / "01.ipynb",
        prose("# A title\n\nAims.", role="badge"),
        code("old set-up", role="bootstrap"),
    )
    assert repository.publish(OLD, course) == ["notebooks/01.ipynb"]
    title, setup = nbformat.read(path, as_version=4).cells
    assert (
        title.source
        == f"# A title\n\n{repository.badge_markdown(OLD, 'notebooks/01.ipynb')}\n\nAims."
    )
    assert setup.source == repository.bootstrap_source(OLD)


@pytest.mark.parametrize(
    ("file", "found", "put"),
    [
        ("README.md", f"github/{NEW}/blob", "github/else/where/blob"),
        ("README.md", f"clone https://github.com/{NEW}", f"clone https://github.com/{OLD}"),
        (
            "solutions/00.ipynb",
            f"git+https://github.com/{NEW}",
            "git+https://github.com/else/where",
        ),
        ("notebooks/00.ipynb", f"github/{NEW}/blob", "github/else/where/blob"),
        ("notebooks/00.ipynb", "notebooks/00.ipynb)", "notebooks/99.ipynb)"),
        ("notebooks/00.ipynb", "--no-deps ", ""),
        ("course_utils/assets/butterflies/README.md", NEW, OLD),
    ],
)
def test_each_way_of_disagreeing_is_found(course, file, found, put):
    repository.publish(NEW, course)
    assert repository.disagreements(course) == []
    path = course / file
    assert found in path.read_text()
    path.write_text(path.read_text().replace(found, put))
    assert f"{file} needs `publish`" in repository.disagreements(course)


@pytest.mark.parametrize("role", ["badge", "bootstrap"])
def test_a_notebook_without_badges_or_bootstrap_is_found(course, role):
    path = course / "notebooks" / "00.ipynb"
    nb = json.loads(path.read_text())
    nb["cells"] = [c for c in nb["cells"] if c["metadata"].get("course", {}).get("role") != role]
    path.write_text(json.dumps(nb))
    assert (
        f"notebooks/00.ipynb has 0 cells of the role {role!r}, not one"
        in repository.disagreements(course)
    )


def test_the_course_itself_names_one_address_everywhere():
    assert repository.disagreements(ROOT) == []


@pytest.mark.parametrize(
    "given",
    [
        "ada-l/noise.course",
        " https://github.com/ada-l/noise.course/ ",
        "https://github.com/ada-l/noise.course.git",
        "https://token@github.com/ada-l/noise.course.git",
        "git@github.com:ada-l/noise.course.git",
        "ssh://git@github.com/ada-l/noise.course",
        "github.com/ada-l/noise.course",
    ],
)
def test_an_address_is_understood_in_every_form_that_git_and_github_give(given):
    assert repository.checked(given) == NEW


@pytest.mark.parametrize(
    "given",
    [
        *("", "ada", "ada/", "/noise", "a/b/c", "ada/no ise", "ada/noise\nx"),
        *("-ada/noise", "ada-/noise", "a--b/noise", "a" * 40 + "/noise", "ada/..", "ada/n.git"),
        *("https://gitlab.com/ada/noise", "https://github.com/ada"),
    ],
)
def test_what_is_no_address_is_refused_by_name_and_changes_nothing(course, given):
    before = texts(course)
    with pytest.raises(CourseError, match="OWNER/NAME"):
        repository.checked(given)
    with pytest.raises(CourseError):
        repository.publish(given or " ", course)
    assert texts(course) == before


def test_without_a_name_the_clone_s_origin_counts(course):
    def git(*arguments):
        subprocess.run(["git", "-C", str(course), *arguments], check=True, capture_output=True)

    git("init")
    with pytest.raises(CourseError, match="no remote named origin"):
        repository.publish(root=course)
    git("remote", "add", "origin", f"git@github.com:{NEW}.git")
    repository.publish(root=course)
    assert repository.repository(course) == NEW


def run_bootstrap(monkeypatch, installed: bool, environment: dict[str, str]) -> list[str]:
    """Run the bootstrap cell as IPython would; the %pip lines that it ran."""
    ran = []

    class Shell:
        def run_line_magic(self, name, line):
            ran.append(f"{name} {line}")

    source = TransformerManager().transform_cell(repository.bootstrap_source(NEW))
    for name in ("COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if installed else None)
    exec(compile(source, "bootstrap", "exec"), {"get_ipython": Shell})
    return ran


def test_the_bootstrap_cell_does_nothing_where_the_course_is_installed(monkeypatch):
    assert run_bootstrap(monkeypatch, installed=True, environment={}) == []
    assert run_bootstrap(monkeypatch, installed=True, environment={"COLAB_RELEASE_TAG": "1"}) == []


@pytest.mark.parametrize("variable", ["COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"])
def test_on_colab_and_kaggle_it_installs_the_course_and_no_other_package(monkeypatch, variable):
    (line,) = run_bootstrap(monkeypatch, installed=False, environment={variable: "x"})
    assert line == f'pip install -q --no-deps "diffusion-course @ git+https://github.com/{NEW}"'


def test_elsewhere_it_says_what_to_run(monkeypatch):
    with pytest.raises(ModuleNotFoundError, match="make lab"):
        run_bootstrap(monkeypatch, installed=False, environment={})


def test_the_bootstrap_cell_is_short():
    lines = repository.bootstrap_source(OLD).split("\n")
    assert len(lines) <= 9
    assert max(map(len, lines)) <= 100
