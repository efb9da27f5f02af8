"""The command line, `diffusion-course`."""

import argparse
import os
import sys
from importlib.metadata import version
from pathlib import Path

from course_utils.authoring.course import CourseError, find_chapters, find_course
from course_utils.authoring.training import add_commands

# Each command imports what it needs when it runs, so that --help and errors are there at once.


def _doctor(args: argparse.Namespace) -> int:
    from course_utils.authoring.doctor import doctor

    return doctor()


def _lab(args: argparse.Namespace) -> int:
    from course_utils.authoring.lab import open_lab

    return open_lab(
        find_course(), port=args.port, ip=args.ip, browser=not args.no_browser, options=args.others
    )


def _run(args: argparse.Namespace) -> int:
    import datetime

    root = find_course()
    paths = find_chapters(args.chapter, root, "solutions" if args.solutions else "notebooks")
    out = args.out or root / "runs" / datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    from course_utils.authoring.execute import run_all

    runs = run_all(paths, out, timeout=args.timeout, keep=args.record)
    return 1 if any(run.error for run in runs) else 0


def _exercises(args: argparse.Namespace) -> int:
    from course_utils.authoring.exercises import generate

    messages = generate(find_course(), check=args.check)
    return _report(
        messages, args.check, "exercises/ is what solutions/ make", "diffusion-course exercises"
    )


def _sync(args: argparse.Namespace) -> int:
    from course_utils.authoring.sync import sync

    messages = sync(find_course(), check=args.check)
    return _report(
        messages, args.check, "the notebooks show the modules' code", "diffusion-course sync"
    )


def _publish(args: argparse.Namespace) -> int:
    from course_utils.authoring.repository import publish, repository

    root = find_course()
    for path in publish(args.repo, root):
        print(f"changed {path}")
    print(f"✓ everything names {repository(root)}")
    return 0


def _report(messages: list[str], check: bool, all_well: str, remedy: str) -> int:
    """Print what differed; after a check that found something, say what to run and fail."""
    print("\n".join(messages) or f"✓ {all_well}")
    if check and messages:
        print(f"\n✗ {len(messages)} to put right: run `{remedy}`")
        return 1
    return 0


EXAMPLES = """examples:
  diffusion-course doctor                  what this machine can do, and what is missing
  diffusion-course lab                     open the course in JupyterLab
  diffusion-course run 00 02               run two chapters and keep the results as pages
  diffusion-course run 02 --solutions      run chapter 02's solutions
  diffusion-course train --preset cpu --out runs/first   train a model
  diffusion-course sample runs/first --out first.png     draw with it
  diffusion-course publish --repo me/fork  after a fork: make every link point there
"""


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(
        prog="diffusion-course",
        description="Diffusion models from scratch: open, run and maintain the course.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=version("diffusion-course"))
    commands = top.add_subparsers(metavar="COMMAND", required=True)

    def command(name, function, summary, example):
        added = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog=f"example: {example}",
        )
        added.set_defaults(function=function)
        return added

    command(
        "doctor",
        _doctor,
        "say what this machine can do and what is missing",
        "diffusion-course doctor",
    )

    lab = command(
        "lab",
        _lab,
        "open the course in JupyterLab",
        "diffusion-course lab --ip 0.0.0.0 --port 8888 (other options go on to JupyterLab)",
    )
    lab.add_argument("--port", type=int, help="the port (default: the first free one from 8888 on)")
    lab.add_argument(
        "--ip", default="localhost", help="the address to listen on; in a container, 0.0.0.0"
    )
    lab.add_argument("--no-browser", action="store_true", help="only print the address")

    run = command(
        "run", _run, "run notebooks from top to bottom", "diffusion-course run 02 --out runs/today"
    )
    run.add_argument(
        "chapter", nargs="*", help='such as "02", "02_forward_noising" or a path (default: all)'
    )
    run.add_argument("--solutions", action="store_true", help="chapters mean those in solutions/")
    run.add_argument(
        "--out", type=Path, help="folder for executed copies and pages (default: runs/DATE)"
    )
    run.add_argument(
        "--timeout", type=float, default=600, help="most seconds for one cell (default: 600)"
    )
    run.add_argument(
        "--record", action="store_true", help="write outputs, time and memory into the notebooks"
    )

    for name, function, summary in (
        ("exercises", _exercises, "generate exercises/ from solutions/"),
        ("sync", _sync, "make notebook cells equal to the modules' code they show"),
    ):
        added = command(name, function, summary, f"diffusion-course {name} --check")
        added.add_argument(
            "--check", action="store_true", help="change nothing; fail if something differs"
        )

    add_commands(command)

    publish = command(
        "publish",
        _publish,
        "make every link point to your fork",
        "diffusion-course publish --repo me/fork",
    )
    publish.add_argument(
        "--repo",
        metavar="OWNER/NAME",
        help="the repository on GitHub (default: the clone's origin)",
    )
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run one command; its exit code."""
    # As in the notebooks: threads that wait sleep, or a busy machine slows down many times over.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # ✓ on a console that has no such letter
    args, args.others = parser().parse_known_args(arguments)
    if args.others and args.function is not _lab:
        parser().error(f"no such option: {' '.join(args.others)}")
    try:
        return args.function(args)
    except CourseError as error:
        print(f"diffusion-course: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130


if __name__ == "__main__":  # for accelerate launch and torchrun
    sys.exit(main())
