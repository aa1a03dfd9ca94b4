"""`python -m keras_kd`: arguments of the command line, also as `keras-kd`."""

import argparse
import sys

from keras_kd.report import compare_files


def main(argv=None):
    """Run a command; its exit code."""
    parser = _parser()
    arguments = vars(parser.parse_args(argv))
    arguments.pop("command")
    try:
        report = compare_files(**arguments)
    except (ValueError, TypeError, OSError, ImportError) as error:
        parser.exit(2, f"keras-kd: {error}\n")
    print(report)
    return 0


def _parser():
    parser = argparse.ArgumentParser(
        prog="keras-kd", description="Knowledge distillation for Keras 3."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser(
        "compare",
        help="write a page that says what a student learnt from its teacher",
        description="Compare a student with its teacher on a set, and write the "
        "verdict with its figures as one page (index.html), and its numbers as JSON "
        "and CSV.",
    ).add_argument
    add("teacher", help="saved model: teacher.keras")
    add("student", help="saved model: student.keras")
    add(
        "--dataset", required=True, help="a set of keras_kd.data.load, such as cifar100"
    )
    add(
        "--control",
        help="saved model: a student of another teacher, by the same recipe",
    )
    add("--split", default="test", help="part of the set (default: test)")
    add("--limit", type=int, help="so many examples, drawn at random (default: all)")
    add(
        "--pixels",
        default="unit",
        help="what the models take: unit for [0, 1], unit_cube for [-1, 1], z_score "
        "for the set's mean 0 and deviation 1 (default: unit)",
    )
    add("--batch-size", type=int, default=256, help="default: 256")
    add("--seed", type=int, default=0, help="of --limit and the bootstrap (default: 0)")
    add("--out", default="report/", help="folder to write to (default: report/)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
