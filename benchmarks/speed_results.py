"""What train_gpu.py has measured: a file that grows row by row, and that a later run fills in."""

import json
from pathlib import Path

FIRST = "the course's trainer"  # the row that all others stand beside


def earlier(out: Path | None, machine: dict) -> dict:
    """The results of an earlier run in the folder, but for rows that ended in an error; else empty ones.

    Args:
        machine: this one, as `made_on` tells it. Results of another one end the program.
    """
    if out is None or not (out / "results.json").is_file():
        return {"machine": machine, "training": {}, "sampling": {}}
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    was, now = ([of[name] for name in ("device", "torch")] for of in (results["machine"], machine))
    if was != now:
        raise SystemExit(f"{out} has results of {was}, and this is {now}: choose another --out.")
    for kind in ("training", "sampling"):
        results[kind] = {n: row for n, row in results[kind].items() if "error" not in row}
    return results


def check_speed(before: dict, now: dict, most: float) -> None:
    """End the program if the first row is no longer what it was in the run that is to be filled in.

    Args:
        most: the largest relative difference.
    """
    was, rate = before["images_per_s"], now.get("images_per_s", 0.0)
    if abs(rate / was - 1) > most:
        raise SystemExit(
            f"{FIRST} made {was} images/s and now makes {rate} {now.get('error', '')}: rows of this run would not "
            "compare with those that are there. Choose another --out."
        )


def attempt(function, *args, **options) -> dict:
    """What the function measures, or the error that it ends in."""
    try:
        return function(*args, **options)
    except Exception as error:  # one row that fails must not cost the others
        first = str(error).partition("\n")[0]
        return {"error": f"{type(error).__name__}: {first[:200]}"}


def write(results: dict, out: Path) -> None:
    """results.json, and the same as a table in results.md."""
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=1, ensure_ascii=False) + "\n"
    (out / "results.json").write_text(text, encoding="utf-8")
    (out / "results.md").write_text(table(results) + "\n", encoding="utf-8")


def table(results: dict) -> str:
    """All that was measured, in Markdown."""
    rows, sampling = results["training"], results["sampling"]
    ours = rows.get(FIRST, {}).get("images_per_s")
    lines = [
        "| training | batch | images/s | TFLOP/s | of the course's | memory, GB | first step, s |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, seen in rows.items():
        if "error" in seen:
            lines.append(f"| {name} | {seen['batch']} | {seen['error']} |||||")
            continue
        share = f"{seen['images_per_s'] / ours:.2f}" if ours else ""
        cells = [seen["batch"], seen["images_per_s"], seen["tflops"], share]
        cells += [
            "" if seen[what] is None else seen[what] for what in ("memory_gb", "first_step_s")
        ]
        lines.append(f"| {name} | " + " | ".join(map(str, cells)) + " |")
    if sampling:
        lines += ["", "| sampling, one image | ms a step | first walk, s |", "| --- | --- | --- |"]
    for name, seen in sampling.items():
        cells = (
            [seen["error"], ""] if "error" in seen else [seen["ms_per_step"], seen["first_walk_s"]]
        )
        lines.append(f"| {name} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)
