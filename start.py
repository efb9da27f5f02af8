"""Set the course up and start it.

    python3 start.py lab    make .venv, install everything into it, open JupyterLab on the first notebook
    python3 start.py test   make the same .venv and run every check
    python3 start.py bench  make the same .venv and measure the course beside diffusers (benchmarks/README.md)
    python3 start.py env    only make .venv

On Windows: py start.py lab. Linux and macOS have the same as make lab, make test, make bench, make env.

What follows `test` goes on to pytest (-k forward), and what follows `lab` to `diffusion-course lab`: so in a
container, python3 start.py lab --ip 0.0.0.0 --port 8888 makes JupyterLab answer from outside.

This file uses the standard library alone, and its syntax is that of any Python, old ones included: they must
get as far as saying that they are too old.
"""
# ruff: noqa: E402, UP031, RUF005

import os
import sys

# NEWEST is the last Python that the torch in constraints.txt has builds for.
OLDEST, NEWEST = (3, 11), (3, 14)
START = ("py -3.13" if os.name == "nt" else "python3.13") + " start.py lab"
if sys.version_info < OLDEST:
    sys.exit(
        "This course needs Python 3.11 to 3.14, and %s is %d.%d. Install 3.13 from https://www.python.org/downloads/ "
        "or with your package manager, and start again with it: %s"
        % ((sys.executable,) + sys.version_info[:2] + (START,))
    )

import hashlib
import importlib.util
import json
import platform
import shutil
import subprocess

ROOT = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(ROOT, ".venv")
SCRIPTS = os.path.join(VENV, "Scripts" if os.name == "nt" else "bin")
PYTHON = os.path.join(SCRIPTS, "python.exe" if os.name == "nt" else "python")
COURSE = os.path.join(SCRIPTS, "diffusion-course")
STAMP = os.path.join(VENV, "course-stamp.json")  # says what the last complete installation was for
LOG = os.path.join(VENV, "install.log")

PYTORCH = "https://download.pytorch.org/whl/"
CUDA = "cu130"  # of the torch in constraints.txt. For Windows, where the default index has no CUDA build.
# What to download, and the GB of disk needed in all.
SIZES = {"cpu": ("0.5 GB", 2.5), "cuda": ("3 GB", 9)}


def say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def child_environment():
    """Our environment variables for programs in .venv, without those that would lead them out of it."""
    env = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONHOME", "PYTHONPATH")
    }
    env.update(VIRTUAL_ENV=VENV, PATH=SCRIPTS + os.pathsep + env.get("PATH", ""))
    env.update(PYTHONNOUSERSITE="1", PIP_USER="0")
    return env


def has_nvidia_gpu():
    """Whether the NVIDIA driver sees a GPU. A driver that does not answer is as good as none."""
    try:
        answer = subprocess.run(["nvidia-smi", "-L"], capture_output=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and b"GPU" in answer.stdout


def obstacle(gpu):
    """What makes an installation impossible here, in one line with its remedy; None if nothing does."""
    version = "%d.%d" % sys.version_info[:2]
    if sys.version_info[:2] > NEWEST:
        return (
            "PyTorch has no builds for Python %s yet. Install 3.13 beside it, from https://www.python.org/downloads/ "
            "or with your package manager, and start again with that: %s" % (version, START)
        )
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        remedy = "Install Python from https://www.python.org/downloads/ and start with that one."
        if shutil.which("apt-get"):
            remedy = "Run: sudo apt-get install python%s-venv" % version
        return "This Python %s (%s) comes without venv. %s" % (version, sys.executable, remedy)
    if sys.maxsize < 2**32:
        return "This Python is a 32-bit one, and PyTorch needs 64 bits: install a 64-bit Python."
    if (platform.system(), platform.machine()) == ("Darwin", "x86_64"):
        return (
            "PyTorch has no builds for Intel Macs any more: open the course on Google Colab, by the links in "
            "README.md. (On an Apple silicon Mac, use a Python built for it: this one is an Intel build.)"
        )
    if platform.system() == "Darwin" and int(platform.mac_ver()[0].split(".")[0]) < 14:
        return (
            "PyTorch needs macOS 14 or newer, and this is %s: update it, or open the course on Google Colab."
            % (platform.mac_ver()[0])
        )
    free = shutil.disk_usage(ROOT).free / 1e9
    if free < SIZES["cuda" if gpu else "cpu"][1]:
        return "The installation needs %d GB of disk, and %.1f GB are free in %s." % (
            SIZES["cuda" if gpu else "cpu"][1],
            free,
            ROOT,
        )
    return None


def fingerprint():
    """A hash of all that decides which packages .venv should hold."""
    digest = hashlib.sha256()
    for name in ("pyproject.toml", "constraints.txt"):
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def read_stamp():
    """What the last complete installation was for; {} if there is none."""
    try:
        with open(STAMP) as file:
            return dict(json.load(file))
    except (OSError, ValueError, TypeError):
        return {}


def venv_version():
    """The version of .venv's Python, as "3.12"; None if it does not run or has no pip."""
    try:
        code = "import sys, pip; print('%d.%d' % sys.version_info[:2])"
        return subprocess.check_output(
            [PYTHON, "-c", code], stderr=subprocess.DEVNULL, text=True
        ).strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def reason_to_rebuild(version, stamp, gpu):
    """Why the .venv that is there cannot be kept; None if it can."""
    if version is None:
        return "The Python of .venv is gone or broken"
    if tuple(map(int, version.split("."))) < OLDEST:
        return "The Python of .venv is %s, and the course needs 3.11" % version
    if stamp and stamp.get("python") != version:
        return "The Python of .venv has become %s" % version
    if stamp and stamp.get("folder") != ROOT:
        return "The course has moved to %s" % ROOT
    if stamp and gpu and not stamp.get("gpu"):
        return "There is an NVIDIA GPU now, and .venv holds the CPU build of PyTorch"
    return None


def make_venv():
    # A virtual environment cannot rebuild itself, so we take the Python that it was made from.
    python = getattr(sys, "_base_executable", None) or sys.executable
    made = subprocess.run([python, "-m", "venv", "--clear", VENV], capture_output=True, text=True)
    if made.returncode != 0:
        sys.exit("%s could not make %s:\n%s" % (python, VENV, (made.stdout + made.stderr).strip()))


def index_answers(index):
    """Whether pip gets torch's page from the index, asking once, by the user's own proxy and certificates."""
    env = child_environment()
    # All three, or pip would also find torch in the places that the user's configuration names.
    env.update(PIP_INDEX_URL=index, PIP_EXTRA_INDEX_URL=index, PIP_FIND_LINKS=os.devnull)
    env.update(PIP_RETRIES="0", PIP_TIMEOUT="4")
    command = [PYTHON, "-m", "pip", "index", "versions", "torch"]
    try:
        return subprocess.run(command, env=env, capture_output=True, timeout=10).returncode == 0
    except (
        subprocess.TimeoutExpired
    ):  # name servers that never answer are not under pip's own limit
        return False


def torch_options(gpu):
    """pip's options that bring the build of torch that suits this machine."""
    system = platform.system()
    if system == "Darwin" or (gpu and system == "Linux"):
        return []  # the default index has the right one
    index = PYTORCH + (CUDA if gpu else "cpu")
    if index_answers(index):
        # torch 2.13.0+cpu there counts as newer than 2.13.0 from the default index, so pip takes it.
        return ["--extra-index-url", index]
    say(
        "PyTorch's own index (%s) does not answer: taking torch from pip's default one. "
        "On Linux that may be the CUDA build, which is larger by some GB and runs without a GPU too."
        % index
    )
    return []


def pip_install(arguments):
    """Run pip quietly: a line that changes on a terminal, everything in the log, its end if pip fails."""
    command = [
        PYTHON,
        "-m",
        "pip",
        "install",
        "--constraint",
        "constraints.txt",
        "--progress-bar=off",
    ]
    command += ["--disable-pip-version-check", "--no-input"] + arguments
    width = shutil.get_terminal_size().columns - 1
    lines = []
    streams = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
        "encoding": "utf-8",
        "errors": "replace",
    }
    with open(LOG, "a", encoding="utf-8") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=child_environment(), **streams)
        for line in process.stdout:
            log.write(line)
            lines.append(line)
            shown = line.strip()
            if sys.stdout.isatty() and shown.startswith(
                ("Collecting", "Downloading", "Using", "Installing")
            ):
                sys.stdout.write("\r" + ("  " + shown)[:width].ljust(width))
                sys.stdout.flush()
    if sys.stdout.isatty():
        sys.stdout.write("\r" + " " * width + "\r")
    if process.wait() != 0:
        sys.exit(
            "%s\npip could not install the course (its whole output: %s). Is there a network, and are "
            "there builds for Python %s? The same command again goes on from here."
            % ("".join(lines[-12:]), LOG, venv_version())
        )


def install(gpu):
    say("[1/2] PyTorch")
    pip_install(["torch"] + torch_options(gpu))
    say("[2/2] JupyterLab, diffusers and the rest")
    pip_install(["--editable", ".[lab,test]"])
    # No news and no update checks at the start of JupyterLab: they ask a question and call a server.
    folder = os.path.join(VENV, "etc", "jupyter", "labconfig")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "page_config.json"), "w") as file:
        json.dump(
            {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}, file
        )


def make_environment():
    """Bring .venv to what pyproject.toml and constraints.txt say: a look of a second if it is so already."""
    gpu = has_nvidia_gpu()
    stamp, version = read_stamp(), venv_version()
    rebuild = not os.path.exists(VENV)
    if not rebuild:
        reason = reason_to_rebuild(version, stamp, gpu)
        if reason:
            say(reason + ": making it anew.")
            rebuild, stamp = True, {}
    # The CUDA build of torch also runs without a GPU, so a driver that sleeps for once changes nothing.
    gpu = gpu or bool(stamp.get("gpu"))
    wanted = {"python": version, "folder": ROOT, "gpu": gpu, "packages": fingerprint()}
    if stamp == wanted and not rebuild:
        return
    if rebuild:
        problem = obstacle(gpu)
        if problem:
            sys.exit(problem)
        build = "for its NVIDIA GPU" if gpu else "with no NVIDIA GPU"
        say(
            "Installing the course in .venv, on a machine %s: about %s to download, once."
            % (build, SIZES["cuda" if gpu else "cpu"][0])
        )
        make_venv()
        wanted["python"] = venv_version()
    elif stamp:
        say("The list of packages has changed: bringing .venv up to date.")
    else:
        say("The last installation did not come to its end: finishing it.")
    if os.path.exists(STAMP):
        os.remove(STAMP)
    install(gpu)
    with open(STAMP, "w") as file:
        json.dump(wanted, file)


def lab(options):
    """Open the course in JupyterLab until it is stopped: the installed course knows how."""
    process = subprocess.Popen([COURSE, "lab"] + options, cwd=ROOT, env=child_environment())
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # the course got it too, and ends in good order
            continue


def test(options):
    """Run every check, and name at the end those that failed."""
    checks = [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["pytest"] + options]
    failed = []
    for check in checks:
        say("$ " + " ".join(check))
        if (
            subprocess.run([PYTHON, "-m"] + check, cwd=ROOT, env=child_environment()).returncode
            != 0
        ):
            failed.append(" ".join(check))
    say("Failed: " + ", ".join(failed) if failed else "All checks passed.")
    return 1 if failed else 0


def bench():
    """Measure one thing after the other. The first that fails is the last."""
    for name in ("unet", "samplers"):
        command = [PYTHON, os.path.join("benchmarks", name + ".py")]
        say("$ python benchmarks/%s.py" % name)
        code = subprocess.run(command, cwd=ROOT, env=child_environment()).returncode
        if code != 0:
            return code
    return 0


def main(arguments):
    command, options = (arguments or [""])[0], arguments[1:]
    if command not in ("lab", "test", "bench", "env"):
        sys.exit(__doc__)
    make_environment()
    if command == "env":
        say("Ready. What this machine can do for the course: %s doctor" % COURSE)
        return 0
    if command == "bench":
        return bench()
    return lab(options) if command == "lab" else test(options)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("\nStopped. The same command again goes on from here.")
