"""Where the four files of each data set are published, and what they are known by."""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

from jbackprop.training.idx_files import PARTS, File


class Known(NamedTuple):
    """A published file: its size and sha256 as downloaded, and, where it is known, the md5 of the unpacked content.

    People pack files again, so that the same content has many sha256.
    """

    size: int
    sha256: str
    unpacked_md5: str | None


class Publication(NamedTuple):
    """The address that the usual file names are appended to, and each file."""

    url: str
    files: Mapping[str, Known]


def _files(*known: Known) -> dict[str, Known]:
    return dict(zip(PARTS, known, strict=True))


# Addresses, sizes and sha256 are those of tensorflow-datasets.
PUBLISHED = {
    "mnist": Publication(
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        _files(
            Known(
                9912422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                "6bbc9ace898e44ae57da46a324031adb",
            ),
            Known(
                28881,
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                "a25bea736e30d166cdddb491f175f624",
            ),
            Known(
                1648877,
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                "2646ac647ad5339dbf082846283269ea",
            ),
            Known(
                4542,
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                "27ae3e4e09519cfbb04c329615203637",
            ),
        ),
    ),
    "fashion_mnist": Publication(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        _files(
            Known(
                26421880,
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            ),
            Known(
                29515,
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                "9018921c3c673c538a1fc5bad174d6f9",
            ),
            Known(
                4422102,
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                "8181f5470baa50b63fa0f6fddb340f0a",
            ),
            Known(
                5148,
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                "15d484375f8d13e6eb1aabb0c3f46965",
            ),
        ),
    ),
    "kmnist": Publication(
        "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        _files(
            Known(18165135, "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4", None),
            Known(29497, "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17", None),
            Known(3041136, "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5", None),
            Known(5120, "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c", None),
        ),
    ),
}


def differing(name: str, packed: Mapping[str, File], plain: Mapping[str, File]) -> dict[str, str]:
    """Returns, for each file that is not the published one of data set `name`, the data set that it belongs to, or "".

    A plain file whose published content has no known checksum cannot be judged, and is not among them.
    """
    whose = {part: _owners(part, packed[part].content, plain[part].content) for part in PARTS}
    unknowable = {
        part
        for part, known in PUBLISHED[name].files.items()
        if known.unpacked_md5 is None and packed[part].content == plain[part].content and not whose[part]
    }
    return {
        part: owners[0] if owners else ""
        for part, owners in whose.items()
        if name not in owners and part not in unknowable
    }


def _owners(part: str, packed: bytes, plain: bytes) -> list[str]:
    whole, content = hashlib.sha256(packed).hexdigest(), hashlib.md5(plain, usedforsecurity=False).hexdigest()
    rows = ((name, publication.files[part]) for name, publication in PUBLISHED.items())
    return [name for name, known in rows if known.sha256 == whole or known.unpacked_md5 == content]
