"""What is shown of the results: words, tables, plots and the page say what the rows say."""

import json
import re
import xml.etree.ElementTree as ElementTree

import pytest

from experiments import bench_tables
from experiments.bench_tables import PAGE
from experiments.readme_tables import RESULTS as RESULTS_FOLDER
from experiments.readme_tables import with_tables
from jbackprop.bench import plots, text
from jbackprop.bench.page import html
from jbackprop.bench.session import agree
from jbackprop.verify.cases import RULES


def timed(median, low, high, verdict):
    return {
        "milliseconds": {"ours": 2.0, "reference": 2.0 / median},
        "ratio": {"median": median, "low": low, "high": high},
        "verdict": verdict,
        "pairs": 9,
    }


def row(name, median, verdict, *, agree=True, **more):
    found = timed(median, median * 0.9, median * 1.1, verdict)
    return {
        "name": name,
        "label": "2x2 <&>",
        "dtype": "float32",
        "against": "autodiff",
        "difference": 0.0 if agree else 0.25,
        "agree": agree,
        "compile_seconds": {"ours": 0.1, "reference": 0.1},
        "temporary_bytes": {"ours": 0, "reference": 3 * 2**20},
        "residual_bytes": {"ours": 2**20, "reference": 16 * 2**20},
        "flops": {"ours": 4e6, "reference": 4e6},
        "bytes": {"ours": 1e6, "reference": 1e6},
        "formula": {"flops": None, "bytes": 2e6},
        "limit": "bandwidth",
        "share_of_limit": {"ours": 0.5, "reference": 0.1},
        "passes": {"both": found, "forward": found, "backward": found},
    } | more


PEERS = {
    "model": "mlp",
    "label": "4-3-2, batch 8",
    "dtype": "float32",
    "steps": 2,
    "entries": [
        {
            "name": name,
            "milliseconds_a_step": 1.5,
            "samples_a_second": 12345.6,
            "speed": {"median": speed, "low": speed, "high": speed},
            "verdict": verdict,
            "agree": True,
            "difference": 0.0,
        }
        for name, speed, verdict in (("jax.grad + optax", 1.0, "baseline"), ("jbackprop", 2.2, "faster"))
    ],
    "best": [
        {
            "kind": "one step a call",
            "ours": "jbackprop",
            "other": "jax.grad + optax",
            "speed": {"median": 2.2, "low": 2.0, "high": 2.4},
        }
    ],
    "left_out": {"torch, eager": "torch is not installed"},
}
RESULTS = {
    "command": "jbackprop bench",
    "date": "2026-11-22T10:00:00+00:00",
    "device": "cpu: A <CPU>, 2 cores",
    "versions": {"jax": "0.10.2"},
    "flags": {},
    "dtype": "float32",
    "limits": {"flops": 4e11, "bandwidth": 2e10},
    "rows": [row("max_pool", 0.043, "faster"), row("relu", 1.3, "slower"), row("wrong", 0.5, "faster", agree=False)],
    "peers": [PEERS],
}


def test_a_row_shows_ratio_interval_verdict_and_memory():
    cells = dict(zip(text.RULE_COLUMNS, text.rule_cells(RESULTS["rows"][0]), strict=True))
    assert cells["what"] == "max_pool 2x2 <&>"
    assert (cells["time / other"], cells["95%"], cells[""]) == ("0.043", "0.039 to 0.047", "faster")
    assert (cells["scratch MiB"], cells["kept MiB"], cells["limit"]) == ("0 / 3", "1 / 16", "50% B")


def test_a_row_whose_programs_differ_has_no_verdict():
    assert "DIFFERS by 2.5e-01" in text.rule_cells(RESULTS["rows"][2])
    assert "DIFFERS" in text.rule_cells(RESULTS["rows"][2] | {"difference": None})
    assert not agree(RESULTS)
    assert agree(RESULTS | {"rows": RESULTS["rows"][:2]})


def test_a_step_has_no_passes_of_its_own():
    step = row("mlp", 1.0, "same", passes={"step": timed(1.0, 0.99, 1.01, "same")})
    del step["residual_bytes"]
    assert text.rule_cells(step)[1:7] == ("1.00", "0.99 to 1.01", "same", "2", "", "")


def test_the_summary_counts_the_verdicts():
    assert text.summary(RESULTS["rows"]) == "1 faster, 1 slower, 1 differs"


def test_the_machine_is_named_below_the_table():
    found = text.where(RESULTS)
    assert "2026-11-22, cpu: A <CPU>, 2 cores. Matrix product 400 GFLOP/s, memory 20.0 GB/s (float32)" in found
    assert "jax 0.10.2. Flags: none." in found


@pytest.mark.parametrize(
    "svg",
    [
        plots.ratios(RESULTS["rows"]),
        plots.memory(RESULTS["rows"]),
        plots.roofline(RESULTS["rows"], RESULTS["limits"]),
        plots.speeds(PEERS),
    ],
    ids=["ratios", "memory", "roofline", "speeds"],
)
def test_a_plot_is_well_formed_and_says_its_numbers_in_words(svg):
    root = ElementTree.fromstring(svg)
    whole, *marks = [title.text or "" for title in root.iter("{http://www.w3.org/2000/svg}title")]
    assert whole == root.attrib["aria-label"]
    assert len(marks) >= 2
    assert all(re.search(r"\d", words) for words in marks)


def test_bars_are_as_long_as_the_ratio_says():
    """On a log axis, from 1: a half and a double are mirror images."""
    svg = ElementTree.fromstring(plots.ratios([row("a", 0.5, "faster"), row("b", 2.0, "slower")]))
    rects = list(svg.iter("{http://www.w3.org/2000/svg}rect"))
    (x1, wide1), (x2, wide2) = ((float(rect.attrib["x"]), float(rect.attrib["width"])) for rect in rects)
    assert wide1 == pytest.approx(wide2, abs=0.2)
    assert x1 + wide1 == pytest.approx(x2, abs=0.2)
    assert [rect.attrib["class"] for rect in rects] == ["faster", "slower"]


def test_programs_that_differ_are_neither_faster_nor_slower_in_a_plot():
    assert 'rect class="differs"' in plots.ratios([row("wrong", 0.5, "faster", agree=False)])
    wrong = PEERS["entries"][1] | {"agree": False, "difference": None}
    assert 'rect class="differs"' in plots.speeds({"entries": [wrong]})
    assert "DIFFER" in text.peer_cells(wrong)


def test_without_counted_work_there_is_no_roofline():
    nothing = row("identity", 1.0, "same", flops={"ours": 0.0, "reference": 0.0})
    assert plots.roofline([nothing], RESULTS["limits"]) == ""


def test_the_page_needs_nothing_else_and_shows_everything():
    shown = html(RESULTS)
    assert shown.startswith("<!doctype html>")
    assert "http" not in shown.replace("http://www.w3.org/2000/svg", "")
    assert "<script" not in shown
    assert shown.count("<svg") == 4
    for words in (
        "max_pool 2x2 &lt;&amp;&gt;",
        "0.043",
        "torch is not installed",
        "A &lt;CPU&gt;",
        "1 faster, 1 slower, 1 differs",
    ):
        assert words in shown


@pytest.mark.parametrize("left_out", ["rows", "peers"])
def test_a_page_of_rows_or_of_peers_alone(left_out):
    assert "Where it was measured" in html(RESULTS | {left_out: []})


GROWTH = {
    "date": "2026-11-22T10:00:00+00:00",
    "device": "cpu",
    "versions": {"jax": "0.10.2"},
    "exponents": [{"network": "mlp", "varied": "width", "forward": 0.987, "both": 1.01}],
    "compile": [{"depth": 8, "seconds": 0.5}],
}


def test_the_tables_of_the_page_are_up_to_date():
    shown = PAGE.read_text(encoding="utf-8")
    assert with_tables(shown, bench_tables.tables()) == shown, "run: python -m experiments.bench_tables"


def test_the_plots_of_the_page_are_up_to_date(tmp_path):
    bench_tables.draw(RESULTS_FOLDER, tmp_path)
    kept = {path.name: path.read_bytes() for path in RESULTS_FOLDER.glob("bench_*.svg")}
    drawn = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert drawn == kept, "run: python -m experiments.bench_tables"


LIMITS = GROWTH | {
    "rows": [
        {
            "model": "cnn",
            "label": "5x5x8",
            "batch": 4,
            "threaded": True,
            "milliseconds": {"autodiff": 3.0, "explicit": 2.0, "autodiff, threaded": 2.5, "products": 1.5},
        }
    ]
}


def test_the_tables_come_from_the_kept_results(tmp_path):
    missing = {name: table() for name, table in bench_tables.tables(tmp_path).items()}
    assert all(words.startswith("Not measured yet: `") for words in missing.values())
    kept = {"bench_rules": RESULTS, "bench_rules_medium": RESULTS, "bench_peers": RESULTS, "bench_growth": GROWTH}
    kept["bench_limits"] = LIMITS
    for name, results in kept.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(results))
    bench_tables.draw(tmp_path, tmp_path)
    tables = {name: table() for name, table in bench_tables.tables(tmp_path).items()}
    assert tables["bench_rules"].count("| max_pool 2x2 <&> | 0.043 | 0.039 to 0.047 | faster |") == 2
    assert "| jbackprop | 2.20 |" in tables["bench_peers"]
    assert "Left out: torch, eager: torch is not installed." in tables["bench_peers"]
    assert "| mlp | width | 0.99 | 1.01 |" in tables["bench_growth"]
    assert "| cnn 5x5x8, batch 4, threaded | 3 | 2 | 1.5 | 1.50 | 1.20 |  | 2.00 |" in tables["bench_limits"]
    pictures = re.findall(r"results/(\S+\.svg)", "".join(tables.values()))
    assert len(pictures) == 2 * 3 + 1
    assert all(ElementTree.parse(tmp_path / picture) for picture in pictures)


def test_the_page_says_of_every_rule_why_it_wins_or_ties():
    reasons = PAGE.read_text(encoding="utf-8").partition("## Why a rule wins")[2].partition("\n## ")[0]
    assert set(re.findall(r"\[`(\w+)`\]", reasons)) == {case.name for case in RULES}
