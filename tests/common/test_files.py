"""A file is written whole or not at all."""

import pytest

from keras_kd._common.files import replacing


def test_a_file_takes_the_place_of_another(tmp_path):
    path = tmp_path / "numbers.weights.h5"
    for text in ("old", "new"):
        with replacing(path) as temporary:
            assert temporary.endswith(".weights.h5")
            with open(temporary, "w") as file:
                file.write(text)
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_after_an_error_the_old_file_is_there_alone(tmp_path, error, written):
    path = tmp_path / "numbers.json"
    path.write_text("old")

    def write_half():
        with replacing(path) as temporary:
            if written:
                with open(temporary, "w") as file:
                    file.write("half of")
            raise error("no space left on device")

    with pytest.raises(error):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
