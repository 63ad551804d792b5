"""The four files of a data set from the network, through tensorflow-datasets' own download manager."""

import threading
from collections.abc import Sequence
from pathlib import Path

import tensorflow_datasets as tfds
from tensorflow_datasets.core.download.checksums import UrlInfo
from tensorflow_datasets.core.utils import Size

from jbackprop.training.data import DataError
from jbackprop.training.idx_files import NAMES, PARTS
from jbackprop.training.published import PUBLISHED

REACHABLE_WITHIN = 2.0  # seconds; tfds tries a dead address for minutes


def download(name: str, folder: Path, unusable: Sequence[str], scratch: str) -> dict[str, Path]:
    """Returns the files of data set `name`, downloaded to the folder `scratch`, their checksums verified.

    Raises `DataError`: the network cannot be reached, or a file is not the published one. The message says which files
    to put into `folder`, and names the `unusable` folders that were passed over.
    """
    publication = PUBLISHED[name]
    urls = {part: publication.url + file for part, file in zip(PARTS, NAMES, strict=True)}
    if reason := unreachable(urls[PARTS[0]]):
        passed_over = "".join(f"; {folder}" for folder in unusable)
        raise DataError(
            f"{name}: not in {folder}{passed_over}, and {publication.url} cannot be reached ({reason}). "
            f"Put {', '.join(NAMES[:-1])} and {NAMES[-1]} into {folder / name} and run again, "
            f"or say where they are: --data.dir"
        )
    known = {
        urls[part]: UrlInfo(size=Size(file.size), checksum=file.sha256, filename=None)
        for part, file in publication.files.items()
    }
    manager = tfds.download.DownloadManager(
        download_dir=scratch, url_infos=known, force_checksums_validation=True, dataset_name=name
    )
    try:
        # one after the other: of several at once, those that are under way go on writing after another has failed
        return {part: Path(manager.download(url)) for part, url in urls.items()}
    except Exception as error:  # tfds' own for a wrong checksum, requests' for a lost connection
        raise DataError(f"{name}: cannot download from {publication.url}: {error}") from error


def unreachable(url: str) -> str:
    """Returns why `url` does not answer within `REACHABLE_WITHIN` seconds, or "".

    Asked through `requests`, as tfds does, so that proxies are honoured; in a thread, because the time that a name
    server takes is under no time limit.
    """
    import requests

    answer = ["no answer"]

    def ask() -> None:
        try:
            response = requests.head(url, timeout=REACHABLE_WITHIN, allow_redirects=True)
            answer[0] = "" if response.ok else f"HTTP {response.status_code}"
        except requests.RequestException as error:
            answer[0] = type(error).__name__

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(REACHABLE_WITHIN)
    return answer[0]
