"""Episodes of a run to files of numpy, and back."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from planet.replay import ReplayBuffer, episode_name, export_episodes, import_episodes


@pytest.fixture
def run(tmp_path: Path, make_episode: Any) -> Path:
    buffer = ReplayBuffer(tmp_path / "run" / "episodes")
    for index in (0, 3, 12):
        buffer.add(make_episode(tag=index), index)
    return tmp_path / "run"


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_export_and_import_give_the_same_files(run: Path, tmp_path: Path) -> None:
    arrays, back = tmp_path / "arrays", tmp_path / "back"
    made = export_episodes(run, arrays)
    names = ["episode-000000.npz", "episode-000003.npz", "episode-000012.npz"]
    assert [path.name for path in made] == sorted(path.name for path in arrays.iterdir()) == names
    done = import_episodes(arrays, back)
    assert content(back) == content(run / "episodes") and not done.without_terminated
    again = tmp_path / "again"
    export_episodes(back, again)  # a folder of episodes that is no run
    assert content(again) == content(arrays)


def test_other_names_follow_in_order(run: Path, tmp_path: Path) -> None:
    arrays, folder = tmp_path / "arrays", tmp_path / "folder"
    export_episodes(run, arrays)
    (arrays / "episode-000000.npz").rename(arrays / "b.npz")
    (arrays / "episode-000012.npz").rename(arrays / "a.npz")
    import_episodes(arrays, folder)
    tags = [info.metadata["tag"] for info in ReplayBuffer(folder).episodes.values()]
    assert tags == [3, 12, 0]
    (arrays / "episode-000003.npz").unlink()
    import_episodes(arrays, folder)
    assert list(ReplayBuffer(folder).episodes) == [episode_name(i) for i in (3, 4, 5, 6, 7)]


def test_nothing_is_replaced(run: Path, tmp_path: Path) -> None:
    arrays = tmp_path / "arrays"
    export_episodes(run, arrays)
    (arrays / "episode-000000.npz").unlink()
    before = content(arrays)
    message = f"{arrays} holds episode-000003.npz, episode-000012.npz; expected a folder in which"
    with pytest.raises(FileExistsError, match=re.escape(message)):
        export_episodes(run, arrays)
    assert content(arrays) == before
    before = content(run / "episodes")
    with pytest.raises(FileExistsError, match=r"holds episode-000003\.planet, episode-000012"):
        import_episodes(arrays, run / "episodes")
    assert content(run / "episodes") == before


def test_every_file_is_checked_before_the_first_is_written(run: Path, tmp_path: Path) -> None:
    arrays, folder = tmp_path / "arrays", tmp_path / "folder"
    first, *_, last = export_episodes(run, arrays)
    with np.load(last) as file:
        other = dict(file)
    np.savez(last, **(other | {"action": other["action"][:, :1]}))
    message = f"{last}: action: expected float32 [2] an entry as in {first}, got float32 [1] in"
    with pytest.raises(ValueError, match=re.escape(message)):
        import_episodes(arrays, folder)
    assert not folder.exists()


def test_files_without_termination_are_named(run: Path, tmp_path: Path) -> None:
    arrays = tmp_path / "arrays"
    last = export_episodes(run, arrays)[-1]
    with np.load(last) as file:
        np.savez(last, **{name: file[name] for name in file.files if name != "terminated"})
    assert import_episodes(arrays, tmp_path / "folder").without_terminated == (last,)


def test_empty_folders_and_doubled_numbers_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no episodes: expected files episode-000000"):
        export_episodes(tmp_path / "nowhere", tmp_path / "arrays")
    with pytest.raises(FileNotFoundError, match=r"holds no files \*\.npz"):
        import_episodes(run, tmp_path / "folder")
    arrays = tmp_path / "arrays"
    first = export_episodes(run, arrays)[0]
    shutil.copy(first, arrays / "episode-0.npz")
    with pytest.raises(ValueError, match="episode 0: expected one file, got 2"):
        import_episodes(arrays, tmp_path / "folder")
