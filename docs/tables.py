"""Write the tables of README.md from the recorded results, so that they cannot drift.

    python docs/tables.py

`examples/results/quickstart_DATASET.json` is the `fidelity.json` of a run of
examples/quickstart.py; `benchmarks/speed/results.jsonl` holds what `make bench` prints.
"""

import json
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[1]
README = ROOT / "README.md"


def markdown(header, rows):
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, rule, *rows])


def results_table():
    """Fidelity of the three students of each quickstart run."""
    rows = []
    for name in ("digits", "mnist", "cifar100"):
        path = ROOT / f"examples/results/quickstart_{name}.json"
        if not path.exists():
            continue
        numbers = json.loads(path.read_text())
        sides = ("teacher", "student", "control", "labels_alone")
        accuracy = [f"{numbers[f'{side}_accuracy']:.1%}" for side in sides]
        kl = [f"{numbers[f'{side}_kl']:.3f}" for side in sides[1:]]
        agreement = [f"{numbers[f'{side}_agreement']:.1%}" for side in sides[1:]]
        rows += [
            [f"{name}: accuracy", *accuracy],
            ["agreement with the teacher", "", *agreement],
            ["KL from the teacher", "", *kl],
        ]
    return markdown(
        ["", "teacher", "distilled student", "control", "labels alone"], rows
    )


def speed_table():
    """Median ratios of the recorded benchmarks."""
    lines = (ROOT / "benchmarks/speed/results.jsonl").read_text().splitlines()
    rows = []
    for line in map(json.loads, lines):
        spread = f"{line['speed_ratio_min']:.2f} to {line['speed_ratio_max']:.2f}"
        name = f"{line['candidate']} (against {line['baseline']})"
        rows.append([name, f"{line['speed_ratio_median']:.2f}", spread])
    return markdown(["step", "speed ratio", "spread"], rows)


def with_tables(text):
    """README's text with both tables as the records have them."""
    tables = {"results": results_table, "speed": speed_table}
    for name, table in tables.items():
        pattern = rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- end of {name} -->)"
        text = re.sub(
            pattern, lambda m, t=table: f"{m[1]}{t()}\n{m[2]}", text, flags=re.DOTALL
        )
    return text


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text()))
