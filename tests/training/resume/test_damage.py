"""A damaged checkpoint is found, set aside, and the one before it used; what is refused leaves all of them."""

import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest

from jbackprop.training import checkpoint_files as files
from jbackprop.training import resume
from jbackprop.training.run_error import RunError

from .resumable import flip, rows, same_arrays, trained

DAMAGES = {
    "a flipped bit": flip,
    "a truncated file": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "an empty file": lambda path: path.write_bytes(b""),
    "a missing file": Path.unlink,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("which", ["arrays", "progress.json", "checksums.json"])
def test_damage_is_found(copy, whole, damage, which):
    path = copy / "checkpoints" / "6"
    largest = max((one for one in path.rglob("*") if one.is_file()), key=lambda one: "/d/" in str(one))
    DAMAGES[damage](largest if which == "arrays" else path / which)
    with pytest.raises(files.Damaged, match=r"6 is damaged \(.*(missing|not what was written|Error)"):
        files.verify(path)


def test_instead_of_a_damaged_checkpoint_the_one_before_is_used(config, whole, copy):
    flip(copy / "checkpoints" / "6" / "progress.json")
    shutil.rmtree(copy / "checkpoints" / "5" / "arrays")
    with pytest.warns(UserWarning, match="is damaged") as warned:
        resumed = trained(config, resumed=copy)
    words = [str(warning.message) for warning in warned]
    assert [word.startswith(str(copy / "checkpoints" / name)) for word, name in zip(words, "65", strict=True)]
    assert all(word.endswith(f"using {copy / 'checkpoints' / '4'}, the one before it") for word in words)
    assert rows(resumed.folder) == rows(whole.folder)
    assert same_arrays(resumed.folder, whole.folder)
    files.verify(copy / "checkpoints" / "6")


def test_a_damaged_checkpoint_is_set_aside_and_stays_so(tmp_path):
    for name in ("1", "2", "3", ".damaged-3"):
        (tmp_path / name).mkdir()
    files.set_aside_after(tmp_path, "1")
    files.remove_old(tmp_path, 1)
    assert {path.name for path in tmp_path.iterdir()} == {"1", ".damaged-2", ".damaged-3", ".damaged-3-2"}


def forbidden(*arguments):
    raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize("failing", ["digest", "load", "data"])
def test_what_is_refused_leaves_every_checkpoint(config, copy, monkeypatch, failing):
    from orbax.checkpoint import v1 as ocp

    if failing == "digest":
        monkeypatch.setattr(files, "_sha256", forbidden)
    elif failing == "load":
        monkeypatch.setattr(ocp, "load", forbidden)
    else:
        monkeypatch.setattr(resume, "_digest", lambda dataset: "other")
        flip(copy / "checkpoints" / "6" / "progress.json")
    before = {path.name for path in (copy / "checkpoints").iterdir()}
    damaged = pytest.warns(UserWarning, match="is damaged") if failing == "data" else nullcontext()
    with damaged, pytest.raises(RunError, match="not as the run was trained" if failing == "data" else "Permission"):
        trained(config, resumed=copy)
    assert {path.name for path in (copy / "checkpoints").iterdir()} == before


def test_with_no_checkpoint_left_it_starts_from_the_beginning(config, whole, copy):
    for name in files.names(copy / "checkpoints"):
        (copy / "checkpoints" / name / "checksums.json").unlink()
    with pytest.warns(UserWarning, match="no other one is left: starting from the beginning"):
        resumed = trained(config, resumed=copy)
    assert rows(resumed.folder) == rows(whole.folder)


def test_rows_after_the_checkpoint_and_a_torn_line_are_dropped(config, whole, copy):
    files.remove(copy / "checkpoints" / "6")
    with open(copy / "metrics.jsonl", "a") as file:
        file.write('{"epoch": 7, "lo')
    assert rows(trained(config, resumed=copy).folder) == rows(whole.folder)
