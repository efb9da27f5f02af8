"""Where a pipeline is to be loaded from: shipped with the course, a folder of your own, or the Hugging Face Hub."""

from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

ASSETS = Path(__file__).parents[1] / "assets"
SHIPPED = {"butterflies": ASSETS / "butterflies-32"}


def find_pipeline(name: str = "butterflies") -> str:
    """What to hand to `DDPMPipeline.from_pretrained` so that it works, with or without a network.

    Args:
        name: "butterflies" for the weights that the course ships; the folder of a saved pipeline; or a model
            on the Hub, such as "google/ddpm-celebahq-256". Where the Hub does not answer and holds no copy
            in this machine's cache, one line says so and the shipped weights take its place.

    Returns:
        A folder's path or the name on the Hub.

    Raises:
        ValueError: if the name is none of these, or the Hub answers that it has no such model or gives it only to those
            who have accepted its terms.
    """
    if name in SHIPPED:
        return str(SHIPPED[name])
    if Path(name).expanduser().is_dir():
        return str(Path(name).expanduser())
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ValueError(
            f"{name!r} is no pipeline: give one of {list(SHIPPED)}, an existing folder, or a name on the Hub "
            'such as "google/ddpm-celebahq-256".'
        )
    if _is_cached(name):
        return name
    try:
        HfApi().model_info(name, timeout=3)
    except HFValidationError as error:
        raise ValueError(f"{name!r} cannot be the name of a model on the Hub: {error}") from None
    except GatedRepoError:
        raise ValueError(
            f"the model {name!r} asks for your consent: accept its terms on the Hub, and log in with "
            "`hf auth login`."
        ) from None
    except RepositoryNotFoundError:
        raise ValueError(
            f"the Hugging Face Hub has no model {name!r} (or it is private): check the name."
        ) from None
    except Exception as error:
        print(
            f"The Hugging Face Hub does not answer ({type(error).__name__}), so the shipped butterflies it is."
        )
        return str(SHIPPED["butterflies"])
    return name


def _is_cached(name: str) -> bool:
    """Whether this machine holds the weights of a model on the Hub already."""
    try:
        folder = Path(snapshot_download(name, local_files_only=True))
    except Exception:  # huggingface_hub has several ways of saying no
        return False
    return any(file.suffix in (".safetensors", ".bin") for file in folder.rglob("*"))
