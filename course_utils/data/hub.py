"""A data set of the Hugging Face Hub as parquet files on this machine."""

import re
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from json import JSONDecodeError
from pathlib import Path, PurePosixPath

from course_utils.data.folder import SUFFIXES
from course_utils.data.parquet import count_rows

PATIENCE = (
    8.0  # seconds for the Hub's first answer; a learner with no network should not wait longer
)
PREFIXES = ("hf://datasets/", "hf:", "https://huggingface.co/datasets/")


def dataset_name(source: object) -> str | None:
    """ "owner/name" if the source can be read as a Hub data set, else None.

    With one of PREFIXES it is one for certain, and the owner may be left out, as in "hf:mnist".
    """
    if not isinstance(source, str):
        return None
    for prefix in PREFIXES:
        if source.startswith(prefix):
            name = source.removeprefix(prefix).strip("/")
            if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name):
                raise ValueError(
                    f'{source!r} does not name a Hub data set; write "{prefix}owner/name".'
                )
            return name
    is_file = PurePosixPath(source).suffix.lower() in SUFFIXES | {".parquet"}
    return source if re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", source) and not is_file else None


def download(name: str, choose: Callable[[list[str]], list[str]], limit: int | None) -> list[Path]:
    """The parquet files of a data set, downloaded with progress bars, or at once where they are here already.

    Its own parquet files are taken, else those that the Hub has made of it.

    Args:
        choose: picks from the names of all its parquet files.
        limit: no more files than hold so many rows.

    Raises:
        FileNotFoundError, ConnectionError, PermissionError: see `load_images`.
        ValueError: if it has no parquet files, or choose raises it.
    """
    from huggingface_hub import hf_hub_download

    try:
        names, revision = _list(name)
    except ConnectionError as error:
        found = _downloaded_before(name)
        if not found:
            raise
        warnings.warn(f"{error} Going on with what was downloaded of {name} before.", stacklevel=4)
        return [found[file] for file in choose(list(found))]
    paths, rows = [], 0
    for file in choose(names):
        with _plain_errors(name):
            paths.append(Path(hf_hub_download(name, file, repo_type="dataset", revision=revision)))
        if limit is not None:
            rows += count_rows(paths[-1])
            if rows >= limit:
                break
    return paths


def _list(name: str) -> tuple[list[str], str]:
    """The names of a data set's parquet files, and the commit that they are of."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RevisionNotFoundError

    for revision in (None, "refs/convert/parquet"):
        try:
            with _plain_errors(name):
                info = _within(
                    PATIENCE,
                    lambda r=revision: HfApi().dataset_info(name, revision=r, timeout=PATIENCE),
                )
        except RevisionNotFoundError:
            break
        files = [
            file.rfilename for file in info.siblings or [] if file.rfilename.endswith(".parquet")
        ]
        if files:
            return files, info.sha
    raise ValueError(
        f"the Hub data set {name} has no parquet files, and the Hub has made none of it. "
        f"Download it from {_page(name)} and pass the folder."
    )


def _downloaded_before(name: str) -> dict[str, Path]:
    """The parquet files that huggingface_hub's cache holds of the newest revision it has: name → path."""
    from huggingface_hub import constants, scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repos = scan_cache_dir(constants.HF_HUB_CACHE).repos
    except CacheNotFound:
        return {}
    ours = [repo for repo in repos if (repo.repo_type, repo.repo_id) == ("dataset", name)]
    revisions = sorted(
        (r for repo in ours for r in repo.revisions), key=lambda r: r.last_modified, reverse=True
    )
    for revision in revisions:
        paths = [file.file_path for file in revision.files if file.file_path.suffix == ".parquet"]
        if paths:
            return {path.relative_to(revision.snapshot_path).as_posix(): path for path in paths}
    return {}


def _within(seconds: float, call: Callable):
    """What call returns, or TimeoutError: for the look-up of an address can hang beyond any timeout."""
    answer = Future()

    def run() -> None:
        try:
            answer.set_result(call())
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return answer.result(timeout=seconds)


@contextmanager
def _plain_errors(name: str) -> Iterator[None]:
    """The many errors of huggingface_hub and the network, each as a built-in one that says what to do."""
    from huggingface_hub import constants, errors

    try:
        yield
    except errors.GatedRepoError:
        raise PermissionError(
            f"the Hub data set {name} asks you to accept its terms first: do so on {_page(name)}, "
            "then run `hf auth login` here."
        ) from None
    except errors.RevisionNotFoundError:
        raise
    except errors.RepositoryNotFoundError:
        raise FileNotFoundError(
            f"the Hugging Face Hub has no data set {name}, or it is private: look for it on "
            "https://huggingface.co/datasets, or run `hf auth login` if it is yours."
        ) from None
    except errors.OfflineModeIsEnabled:
        raise ConnectionError(
            f"the Hub data set {name} cannot be asked for: HF_HUB_OFFLINE is set; unset it to go online."
        ) from None
    except Exception as error:
        # The network library differs between versions of huggingface_hub. What is not JSON is the log-in page of
        # a Wi-Fi, and a missing local entry is what a download ends in when the network goes.
        lost = (ConnectionError, TimeoutError, JSONDecodeError)
        lost += (errors.HfHubHTTPError, errors.LocalEntryNotFoundError)
        library = type(error).__module__.partition(".")[0]
        if not isinstance(error, lost) and library not in (
            "requests",
            "urllib3",
            "httpx",
            "httpx2",
        ):
            raise
        status = getattr(getattr(error, "response", None), "status_code", None)
        answer = f"answers with status {status}" if status else "does not answer"
        raise ConnectionError(
            f"the Hugging Face Hub ({constants.ENDPOINT}) {answer}, so the data set {name} cannot be fetched: "
            "check the network, or pass a folder of images."
        ) from None


def _page(name: str) -> str:
    return f"https://huggingface.co/datasets/{name}"
