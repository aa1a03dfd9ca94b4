"""Plain-text tables."""

from keras_kd._common.table import format_table


def test_columns_are_aligned_first_left_others_right():
    rows = [["accuracy", "0.5", "0.25"], ["NLL", "-", 12345]]
    assert format_table(["set", "teacher", "s"], rows).splitlines() == [
        "set       teacher      s",
        "------------------------",
        "accuracy      0.5   0.25",
        "NLL             -  12345",
    ]


def test_a_table_may_have_no_rows():
    assert format_table(["set", "teacher"], []).splitlines() == [
        "set  teacher",
        "-" * 12,
    ]
