"""Where a pipeline comes from: shipped, a folder of one's own, the Hub, or the shipped one in its place."""

import pytest
from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

from course_utils.interop import find_pipeline, hub

NAME = "google/ddpm-church-256"


@pytest.fixture
def asked(monkeypatch):
    """The Hub as a fake that notes whom it was asked for; nothing is in the cache."""
    names = []

    class Api:
        answer = None

        def model_info(self, name, timeout):
            assert timeout <= 3
            names.append(name)
            if Api.answer:
                raise Api.answer

    monkeypatch.setattr(hub, "HfApi", Api)
    monkeypatch.setattr(hub, "_is_cached", lambda name: False)
    return names, Api


@pytest.fixture
def offline_fake(asked):
    names, api = asked
    api.answer = OSError("no route")
    return names


def test_the_shipped_pipeline_needs_no_network(asked):
    names, _ = asked
    assert find_pipeline("butterflies").endswith("butterflies-32")
    assert names == []


def test_a_folder_of_your_own_is_taken_as_it_is(asked, tmp_path):
    assert find_pipeline(str(tmp_path)) == str(tmp_path)
    assert asked[0] == []


def test_a_name_on_the_hub_that_answers_is_handed_on(asked, capsys):
    assert find_pipeline(NAME) == NAME
    assert asked[0] == [NAME]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("error", "message"),
    [(HFValidationError, "cannot be the name of a model"), (GatedRepoError, "accept its terms")],
)
def test_a_name_that_cannot_be_or_a_model_behind_a_gate_is_told_apart(asked, error, message):
    _, api = asked
    api.answer = error.__new__(error)  # without the answer of a server, which some versions ask for
    with pytest.raises(ValueError, match=message):
        find_pipeline(NAME)


def test_where_the_hub_does_not_answer_one_line_says_what_comes_instead(offline_fake, capsys):
    assert find_pipeline(NAME) == find_pipeline("butterflies")
    out = capsys.readouterr().out
    assert "does not answer" in out
    assert out.count("\n") == 1


def test_what_was_downloaded_before_is_used_without_asking(offline_fake, monkeypatch):
    monkeypatch.setattr(hub, "_is_cached", lambda name: True)
    assert find_pipeline(NAME) == NAME
    assert offline_fake == []


def test_a_cache_counts_only_if_it_holds_weights(monkeypatch, tmp_path):
    monkeypatch.setattr(hub, "snapshot_download", lambda name, local_files_only: str(tmp_path))
    assert not hub._is_cached(NAME)
    (tmp_path / "diffusion_pytorch_model.bin").write_bytes(b"")
    assert hub._is_cached(NAME)


def test_a_name_that_the_hub_does_not_know_is_an_error(asked):
    response = type("Response", (), {"headers": {}, "request": None, "status_code": 404})()
    asked[1].answer = RepositoryNotFoundError("no", response=response)
    with pytest.raises(ValueError, match="has no model"):
        find_pipeline(NAME)


@pytest.mark.parametrize("name", ["moths", "a/b/c", "./nowhere/x", "~/x", "/nowhere"])
def test_what_is_no_pipeline_at_all_is_refused(asked, name):
    with pytest.raises(ValueError, match="is no pipeline"):
        find_pipeline(name)
    assert asked[0] == []
