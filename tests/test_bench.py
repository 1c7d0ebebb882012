"""`harness bench` on a model of a few weights: what is measured, and what the report says of it."""

import json
from pathlib import Path
from statistics import median

import pytest
import torch
import yaml
from commands import harness
from recorded_graphs import RecordedGraph

from harness.commands import bench
from harness.track import Track

CPU = torch.device("cpu")
SMALL = """
name: small
summary: A model of a few weights.
seed: 1
digits: [1, 2]
seeds: [0]
model: {d_model: 16, num_heads: 2, num_layers: 1, feedforward: 16}
training: {problems: 64, epochs: 1}
evaluation: {fresh: 1, test: 1}
"""


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "ROUNDS", 3)


@pytest.fixture
def track_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def measured() -> bench.Report:
    return bench.bench(Track.model_validate(yaml.safe_load(SMALL)), CPU, lambda what: None)


def ways(report: bench.Report, digits: int) -> list[tuple[str, int, str]]:
    return [(row.work, row.num_seeds, row.how) for row in report.rows if row.digits == digits]


def test_a_cpu_is_measured_with_one_seed_launched_one_by_one() -> None:
    report = measured()
    one_by_one = "launched one by one"
    assert ways(report, 1) == ways(report, 2)
    assert ways(report, 1) == [
        ("training step", 1, "plain loop"),
        ("training step", 1, one_by_one),
        ("256 answers", 1, "plain loop"),
        ("256 answers, scored", 1, one_by_one),
        ("256 answers, generated", 1, one_by_one),
    ]
    assert all(len(row.samples_s) == 3 and min(row.samples_s) > 0 for row in report.rows)


def test_a_device_that_records_is_measured_with_seeds_side_by_side_too(
    graphs: list[RecordedGraph], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "can_capture", lambda device: True)
    rows = ways(measured(), 2)
    training = [way[1:] for way in rows if way[0] == "training step"]
    recorded = [(num_seeds, "recorded") for num_seeds in (1, 3, 8)]
    assert training == [(1, "plain loop"), (1, "launched one by one"), *recorded]
    assert rows[-2:] == [("256 answers, scored", 1, "recorded"), ("256 answers, generated", 1, "recorded")]
    assert graphs


def test_what_could_not_be_recorded_is_not_called_recorded(
    graphs: list[RecordedGraph], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the reference waits for the device: torch's answer is made up."""
    monkeypatch.setattr(bench, "can_capture", lambda device: True)
    monkeypatch.setattr("harness.capture._why_it_waits", lambda work: "called a synchronizing CUDA operation")
    hows = {(work, how) for work, _, how in ways(measured(), 2) if how not in ("plain loop", "launched one by one")}
    works = ("training step", "256 answers, scored", "256 answers, generated")
    assert hows == {(work, "not recordable") for work in works}
    assert graphs == []


def test_rates_ratios_and_the_floor_follow_from_the_samples() -> None:
    report = measured()
    plain, ours = (row for row in report.rows if row.digits == 2 and row.work == "training step")
    assert ours.examples_per_second == pytest.approx(64 / median(ours.samples_s))
    assert ours.ratio == pytest.approx(median(plain.samples_s) / median(ours.samples_s))
    assert (plain.ratio, plain.floor_share, plain.peak_memory_bytes) == (None, None, None)
    # By hand, at 9 positions of which 4 are answers: products of 64 rows a position, each once forward, twice backward.
    layer = 9 * 3 * 16 * 16 + 4 * (16 * 16 + 2 * 16 * 16)
    attention = 2 * (4 * 16 * 8 + 4 * 16 * 8)  # two heads: scores of 4 queries with 16 keys, and their sums of values
    head = 4 * 16 * 14
    assert ours.floor_share is not None
    assert ours.floor_share * median(ours.samples_s) * report.peak_flops == pytest.approx(
        3 * 2 * 64 * (layer + attention + head), rel=1e-6
    )


def test_report_writes_markdown_and_json_named_after_the_device(track_file: Path, tmp_path: Path) -> None:
    done = harness(tmp_path, "bench", "-t", str(track_file), "--device", "cpu", "--report")
    assert done.returncode == 0, done.stderr
    assert "measuring at 2 digits" in done.stderr
    markdown, values = sorted((tmp_path / "docs" / "performance").iterdir(), key=lambda path: path.suffix, reverse=True)
    assert (markdown.suffix, values.suffix) == (".md", ".json")
    assert markdown.read_text() == done.stdout
    read = json.loads(values.read_text())
    assert read["track"] == "small"
    assert {"device", "driver", "torch", "peak_flops", "rows"} <= set(read)
    assert markdown.stem == values.stem


def test_a_report_is_named_by_the_letters_and_digits_of_its_device(tmp_path: Path) -> None:
    report = bench.Report(
        device="CPU: AMD EPYC 7B13 (2)",
        driver=None,
        torch="2.13.0",
        python="3.11.2",
        commit=None,
        track="quick",
        products="default",
        threads=1,
        peak_flops=1e11,
        rows=[],
    )
    assert [path.name for path in bench.write(report, tmp_path)] == [
        "cpu-amd-epyc-7b13-2.md",
        "cpu-amd-epyc-7b13-2.json",
    ]


def test_a_ratio_of_answers_is_the_loops_time_by_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "ROUNDS", 3)
    loop, *ours = bench._answering(Track.model_validate(yaml.safe_load(SMALL)), 2, CPU)
    for row in ours:
        assert row.ratio == pytest.approx(median(loop.samples_s) / median(row.samples_s))


def test_the_rate_of_answers_is_of_as_many_as_were_answered() -> None:
    answers = [row for row in measured().rows if row.digits == 2 and row.work.startswith("256 answers")]
    assert len(answers) == 3
    for row in answers:
        assert row.examples_per_second == pytest.approx(256 / median(row.samples_s))


def test_the_peak_counts_a_multiplication_and_an_addition_for_each_term_of_a_product(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the time made up: 1024 rows by 1024 columns of 1024 terms in half a second."""
    monkeypatch.setattr(bench, "_in_turn", lambda ways, device: [[0.5]])
    assert bench._peak_flops(CPU) == 2 * 1024**3 * 2


def test_a_report_gives_milliseconds_mebibytes_and_shares() -> None:
    row = bench.Row(
        work="training step",
        digits=2,
        num_seeds=3,
        how="recorded",
        samples_s=[0.001, 0.0025, 0.9],
        examples_per_second=76_800.0,
        ratio=1.5,
        floor_share=0.25,
        peak_memory_bytes=64 << 20,
    )
    about = {"device": "GPU", "driver": "1.2", "torch": "2", "python": "3", "commit": None, "track": "quick"}
    report = bench.Report(**about, products="default", threads=1, peak_flops=1.5e12, rows=[row])
    text = report.as_markdown()
    assert text.splitlines()[-1] == "| training step | 2 | 3 | recorded | 2.5 ms | 76,800 | 1.50 | 25% | 64 MiB |"
    assert "1.5 TFLOP/s" in text
