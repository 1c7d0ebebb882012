"""The plots: which curves, points and names they show, that their labels can be read, and the same SVG every time."""

import re
from collections import Counter
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest
from made_records import HARNESS, THROUGHPUT, make_record, make_submission, make_track, make_trials
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from harness.board.drawing import DARK, LIGHT, _figure_of, _named, draw, is_drawing_of
from harness.board.labels import annotate, spread
from harness.board.plots import MAX_LABEL, AccuracyPlot, GridPlot, Series, ThroughputPlot, digest, plots_of
from harness.ranking.scoring import rows_of
from harness.ranking.statistics import Estimate
from harness.submissions import read_folder
from harness.track import load_track


def test_a_bar_over_several_seeds_shows_each_as_a_dot():
    one = Series(
        place=0, label="one", is_open=False, estimates=[Estimate(0.5, 0.2, 0.8)], best=[], seed_shares=[[0.1, 0.9, 0.5]]
    )
    alone = Series(place=1, label="alone", is_open=False, estimates=[Estimate(0.3, 0.2, 0.4)], best=[], seed_shares=[])
    (axes,) = _figure_of(AccuracyPlot(digits=[2], series=[one, alone], trained_to=None), LIGHT).axes
    dots = [line.get_xydata().tolist() for line in axes.lines if line.get_marker() == "o"]
    assert dots == [[[0.1, 0.0], [0.9, 0.0], [0.5, 0.0]], []]


def test_a_line_over_numbers_of_digits_shows_its_seeds_and_of_a_single_one_the_interval():
    estimates = [Estimate(0.5, 0.2, 0.8), Estimate(0.4, 0.0, 1.0)]
    shares = [[0.1, 0.9], [0.0, 0.8]]
    one = Series(place=0, label="one", is_open=False, estimates=estimates, best=[], seed_shares=shares)
    alone = Series(place=1, label="alone", is_open=False, estimates=estimates, best=[], seed_shares=[])
    (axes,) = _figure_of(AccuracyPlot(digits=[3, 6], series=[one, alone], trained_to=None), LIGHT).axes
    dots = [line.get_xydata().tolist() for line in axes.lines if line.get_markersize() == 3.6]
    assert dots == [[[3, 0.1], [3, 0.9]], [[6, 0.0], [6, 0.8]]]
    intervals = [path.vertices.tolist() for lines in axes.collections for path in lines.get_paths()]
    assert [[3, 0.2], [3, 0.8]] in intervals
    assert [[6, 0.0], [6, 1.0]] in intervals
    assert sum(points[0][0] == points[1][0] for points in intervals) == 2
    assert axes.get_xlabel() == "digits per operand; dots: seeds"


def test_curves_by_length_have_a_panel_each_with_their_own_numbers():
    digits = list(range(1, 21))

    def series(place: int, is_open: bool, reach: int) -> Series:
        estimates = [Estimate(float(n <= reach), 0.0, 1.0) for n in digits]
        return Series(
            place=place, label=f"entry_{place}", is_open=is_open, estimates=estimates, best=[], seed_shares=[]
        )

    entries = [series(place, place == 6, 10 + place) for place in range(7)]
    figure = _figure_of(AccuracyPlot(digits=digits, series=entries, trained_to=10), LIGHT)
    panels = [axes for axes in figure.axes if axes.get_visible()]
    titles = [axes.get_title(loc="left") for axes in panels]
    assert titles == [f"entry_{place}" for place in range(6)] + ["entry_6 (open)"]
    for place, axes in enumerate(panels):
        *_, curve = axes.lines
        assert curve.get_xydata().tolist() == [[n, float(n <= 10 + place)] for n in digits]
        best = axes.lines[-2].get_ydata().tolist()
        assert best == [float(n <= 16) for n in digits]
    figure.draw_without_rendering()
    shown = [[label.get_text() for label in axes.get_xticklabels() if label.get_visible()] for axes in panels]
    # The lowest panel of each of the four columns has numbers below it, whether or not a row is full.
    assert shown == [[], [], [], *[["1", "10", "20"]] * 4]


def test_the_longest_label_stands_above_its_own_panel_of_the_curves_by_length():
    label = "column_pairs_ordered_learned"
    assert len(label) == MAX_LABEL
    estimates = [Estimate(1.0, 1.0, 1.0)] * 20
    entries = [
        Series(place=i, label=label, is_open=True, estimates=estimates, best=[], seed_shares=[]) for i in range(8)
    ]
    figure = _figure_of(AccuracyPlot(digits=list(range(1, 21)), series=entries, trained_to=10), LIGHT)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    boxes = [axes.get_tightbbox(renderer) for axes in figure.axes]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


@pytest.mark.parametrize(("track_name", "theme"), [("quick", DARK), ("standard", LIGHT)], ids=["quick", "standard"])
def test_plots_of_twenty_five_rows_are_transparent_and_repeatable_and_name_each_or_the_best(
    tmp_path, track_name, theme
):
    track = load_track(track_name)
    names = [f"entry_{chr(ord('a') + i)}" for i in range(25)]
    records = [
        r for i, n in enumerate(names) for r in make_trials(make_submission(tmp_path, n), track, 1 - i * i / 800)
    ]
    rows = rows_of(track, [], records, HARNESS)
    assert plots_of(track, rows) == []  # the folders were not given: nothing is fresh
    submissions = [read_folder(tmp_path / "submissions" / name) for name in names]
    for plot in plots_of(track, rows_of(track, submissions, records, HARNESS)):
        svg = draw(plot, theme)
        assert svg == draw(plot, theme)
        ElementTree.fromstring(svg)
        assert digest(plot, theme.name) in svg
        assert [name in svg for name in names] == [i < 20 or plot.name == "accuracy" for i in range(25)]
        assert "<dc:date>" not in svg
        assert "fill: #ffffff" not in svg


def test_of_many_points_the_best_are_named_and_those_than_which_nothing_better_is_as_fast():
    def point(place: int, ratio: float) -> tuple[float, Series]:
        estimate = Estimate(1 - place / 100, 0.0, 1.0)
        return ratio, Series(
            place=place, label=str(place), is_open=False, estimates=[estimate], best=[], seed_shares=[]
        )

    points = [point(place, 1.0) for place in range(22)] + [point(22, 1.2), point(23, 1.1), point(24, 1.3)]
    assert [one.place for _, one in _named(points)] == [*range(20), 22, 24]


def test_labels_of_a_crowd_do_not_overlap():
    rng = np.random.default_rng(0)
    points = [(float(x), float(y)) for x, y in zip(rng.normal(1, 0.05, 25), rng.uniform(0.9, 1, 25), strict=True)]
    figure = Figure(figsize=(9, 5))
    axes = figure.subplots()
    axes.plot(*zip(*points, strict=True), "o")
    axes.set_xlim(0.6, 1.4)
    axes.set_ylim(0, 1.15)
    annotate(axes, points, [f"submission_{i}" for i in range(25)], ["k"] * 25)
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer).padded(-0.5) for text in axes.texts]
    assert len(boxes) == 25
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_a_label_without_a_line_lies_nearest_to_its_own_point():
    """A column of marks leaves no room beside the middle ones but next to others; one mark stands alone."""
    figure = Figure(figsize=(6, 4))
    axes = figure.subplots()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    points = [(0.1, 0.1), *((0.5 + 0.004 * (i % 2), 0.3 + 0.03 * i) for i in range(12))]
    annotate(axes, points, [f"submission_{i}" for i in range(13)], ["k"] * 13)
    renderer = FigureCanvasAgg(figure).get_renderer()
    led = {tuple(line.get_xydata()[0].round(6)) for line in axes.lines}
    centres = axes.transData.transform(points)
    for index, text in enumerate(axes.texts):
        box = text.get_window_extent(renderer)
        gaps = [np.hypot(max(box.x0 - x, 0, x - box.x1), max(box.y0 - y, 0, y - box.y1)) for x, y in centres]
        is_led = tuple(np.round(points[index], 6)) in led
        assert is_led or gaps[index] <= min(gaps) + 0.5
    assert 0 < len(led) < 13


def test_spread_keeps_the_gap_and_the_order_and_moves_no_more_than_needed():
    assert spread([0.1, 0.5, 0.9], 0.1, 0, 1) == pytest.approx([0.1, 0.5, 0.9])
    assert spread([0.5, 0.5], 0.1, 0, 1) == pytest.approx([0.45, 0.55])
    assert spread([1, 1, 1], 0.1, 0, 1) == pytest.approx([0.8, 0.9, 1.0])


def series_of(place: int = 0, *, is_open: bool = False, count: int = 3) -> Series:
    estimates = [Estimate(0.5, 0.4, 0.6)] * count
    return Series(place=place, label="one", is_open=is_open, estimates=estimates, best=[], seed_shares=[])


def test_a_description_tells_the_largest_trained_length_or_the_largest_tested():
    beyond = AccuracyPlot(digits=[1, 2, 3], series=[series_of()], trained_to=1)
    assert "; at 2 digits" in beyond.description  # the first that was not trained
    within = AccuracyPlot(digits=[1, 2, 3], series=[series_of()], trained_to=2)
    assert "; at 3 digits" in within.description


def test_a_speed_too_small_for_a_logarithmic_axis_is_not_plotted(tmp_path):
    track = load_track("quick")
    one = make_submission(tmp_path, "one")
    slow = make_trials(one, track, 0.5, throughput=THROUGHPUT.model_copy(update={"train_ratio": 0.00004}))
    assert [plot.name for plot in plots_of(track, rows_of(track, [one], slow, HARNESS))] == ["accuracy"]


def test_both_themes_of_a_plot_have_digests_of_their_own():
    plot = AccuracyPlot(digits=[1, 2, 3], series=[series_of()], trained_to=None)
    assert digest(plot, "light") != digest(plot, "dark")


def test_a_bar_of_the_open_division_is_hollow():
    one = series_of(is_open=True, count=1)
    (axes,) = _figure_of(AccuracyPlot(digits=[2], series=[one], trained_to=None), LIGHT).axes
    assert axes.patches[0].get_facecolor()[3] == 0


def test_the_numbers_of_a_heat_map_stand_in_their_cells():
    plot = GridPlot(
        rows=["r0", "r1"], columns=["c0", "c1"], shares=[[0.1, 0.2], [0.3, None]], marks=[["", ""], ["", "x"]]
    )
    (axes,) = _figure_of(plot, LIGHT).axes
    at = {text.get_text(): text.get_position() for text in axes.texts}
    assert at == {"10.0": (0, 0), "20.0": (1, 0), "30.0": (0, 1), "x": (1, 1)}


def luminance(colour: str) -> float:
    """Of `#rrggbb`, relative to white: WCAG 2.2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted(map(luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_every_number_of_a_heat_map_contrasts_with_its_cell_and_no_ink_would_do_so_better(theme):
    shares = [i / 100 for i in range(101)]
    plot = GridPlot(rows=["r"], columns=[f"c{i}" for i in range(101)], shares=[[*shares]], marks=[[""] * len(shares)])
    (axes,) = _figure_of(plot, theme).axes
    (image,) = axes.images
    grounds = [to_hex(ground) for ground in image.to_rgba(np.array([shares]))[0]]
    assert len(set(grounds)) > 90
    for text, ground in zip(axes.texts, grounds, strict=True):
        reached = contrast(text.get_color(), ground)
        assert reached >= 4.5
        best = max(contrast(ink, ground) for ink in ("#000000", "#ffffff"))
        assert reached == pytest.approx(best, rel=0.02)  # hexadecimal digits round the ground


@pytest.mark.parametrize(("theme", "browsers_ground"), [(LIGHT, "#ffffff"), (DARK, "#121212")], ids=["light", "dark"])
def test_muted_text_can_be_read_on_the_ground_of_github_and_of_a_browser(theme, browsers_ground):
    assert contrast(theme.muted, theme.ground) >= 4.5
    assert contrast(theme.muted, browsers_ground) >= 4.5


def test_an_edited_drawing_is_told_from_what_was_drawn():
    plot = AccuracyPlot(digits=[2], series=[series_of(count=1)], trained_to=None)
    drawn = draw(plot, LIGHT)
    assert is_drawing_of(plot, LIGHT, drawn)
    assert not is_drawing_of(plot, DARK, drawn)
    for edited in (drawn.replace("</svg>", "<text>100 %</text></svg>"), drawn + "<p>", drawn.rpartition("<!--")[0], ""):
        assert not is_drawing_of(plot, LIGHT, edited)


def one_of(label: str, *estimates: Estimate, place: int = 0, is_open: bool = False) -> Series:
    return Series(place=place, label=label, is_open=is_open, estimates=list(estimates), best=[], seed_shares=[])


def test_bars_stand_best_first_each_with_its_interval_and_its_share():
    worse, better = one_of("worse", Estimate(0.3, 0.2, 0.45)), one_of("better", Estimate(0.6, 0.5, 0.75))
    (axes,) = _figure_of(AccuracyPlot(digits=[2], series=[worse, better], trained_to=None), LIGHT).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["better", "worse"]
    assert [bar.get_width() for bar in axes.patches] == [0.6, 0.3]
    assert [line.get_xydata().tolist() for line in axes.lines[::2]] == [[[0.5, 0], [0.75, 0]], [[0.2, 1], [0.45, 1]]]
    assert {text.get_text(): text.get_position()[1] for text in axes.texts} == {"60.0 %": 0, "30.0 %": 1}
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # so that place 0 is at the top


def test_the_shares_beside_bars_stand_in_one_column_behind_every_mark():
    entries = [one_of("some", Estimate(0.3, 0.2, 0.45)), one_of("all", Estimate(1.0, 0.99, 1.0))]
    figure = _figure_of(AccuracyPlot(digits=[2], series=entries, trained_to=None), LIGHT)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    (axes,) = figure.axes
    boxes = [text.get_window_extent(renderer) for text in axes.texts]
    assert boxes[0].x1 == pytest.approx(boxes[1].x1)
    all_right = axes.transData.transform((1, 0))[0]
    assert min(box.x0 for box in boxes) > all_right + 4  # pixels, the radius of a seed's dot and a little more


def test_a_line_is_named_where_it_ends_and_is_dashed_if_it_is_of_the_open_division():
    falls = one_of("falls", Estimate(0.9, 0.8, 1.0), Estimate(0.1, 0.0, 0.2))
    rises = one_of("rises", Estimate(0.1, 0.0, 0.2), Estimate(0.9, 0.8, 1.0), place=1, is_open=True)
    (axes,) = _figure_of(AccuracyPlot(digits=[3, 6], series=[falls, rises], trained_to=None), LIGHT).axes
    assert {text.get_text(): text.get_position()[1] for text in axes.texts} == pytest.approx(
        {"falls": 0.1, "rises (open)": 0.9}
    )
    colours = {text.get_text(): text.get_color() for text in axes.texts}
    drawn = {line.get_color(): line for line in axes.lines if list(line.get_xdata()) == [3, 6]}
    leads = {line.get_color(): line.get_ydata()[0] for line in axes.lines if line.get_xdata()[0] > 6}
    assert leads == {colours["falls"]: 0.1, colours["rises (open)"]: 0.9}
    styles = {name: drawn[colour].get_linestyle() for name, colour in colours.items()}
    assert styles == {"falls": "-", "rises (open)": "--"}
    assert drawn[colours["falls"]].get_ydata().tolist() == [0.9, 0.1]


def test_nine_lines_are_told_apart_by_colour_marker_and_dashes():
    entries = [one_of(f"entry_{i}", Estimate(0.9, 0.8, 1.0), Estimate(0.1, 0.0, 0.2), place=i) for i in range(10)]
    (axes,) = _figure_of(AccuracyPlot(digits=[3, 6], series=entries, trained_to=None), LIGHT).axes
    lines = [line for line in axes.lines if list(line.get_xdata()) == [3, 6]]
    styles = Counter((line.get_color(), line.get_marker(), line.get_linestyle()) for line in lines)
    assert len(styles) == 10
    assert styles[LIGHT.muted, "", "-"] == 1
    keys = {
        (line.get_color(), line.get_marker()) for line in axes.lines if line.get_xdata()[0] > 6 and line.get_marker()
    }
    assert {(colour, marker) for colour, marker, _ in styles if marker} <= keys
    assert axes.get_xlabel() == "digits per operand; dotted: second use of a colour"


def test_names_of_lines_that_end_at_zero_stand_along_one_bracket():
    nothing, half = Estimate(0.0, 0.0, 0.1), Estimate(0.5, 0.4, 0.6)
    entries = [one_of("half", half, half), *(one_of(f"zero_{i}", half, nothing, place=i) for i in (1, 2, 3))]
    (axes,) = _figure_of(AccuracyPlot(digits=[3, 6], series=entries, trained_to=None), LIGHT).axes
    beyond = [line for line in axes.lines if line.get_xdata()[0] > 6 and len(line.get_xdata()) > 1]
    (leader,) = (line for line in beyond if line.get_color() != LIGHT.muted)
    assert leader.get_ydata()[0] == 0.5
    stem, bracket = (line.get_ydata() for line in beyond if line.get_color() == LIGHT.muted)
    assert list(stem) == [0, 0]
    names = [text.get_position()[1] for text in axes.texts if text.get_text().startswith("zero")]
    assert list(bracket) == pytest.approx([min(*names, 0), max(*names, 0)])


def test_a_panel_by_length_shades_the_trained_lengths_and_the_interval_and_marks_nine_in_ten():
    estimates = [Estimate(0.5, 0.3, 0.9)] * 4
    plot = AccuracyPlot(digits=[1, 2, 3, 4], series=[one_of("one", *estimates)], trained_to=2)
    (axes,) = _figure_of(plot, LIGHT).axes
    (shaded,) = axes.patches
    assert (shaded.get_x(), shaded.get_width()) == (1, 1)
    assert axes.lines[0].get_ydata() == [0.9, 0.9]
    (band,) = axes.collections
    assert {y for path in band.get_paths() for _, y in path.vertices.tolist()} == {0.3, 0.9}


def test_a_point_stands_at_its_speed_and_its_share_on_its_interval_beside_the_line_of_the_reference():
    plot = ThroughputPlot(panels={"Some CPU": [(1.25, one_of("one", Estimate(0.5, 0.2, 0.9)))]})
    (axes,) = _figure_of(plot, LIGHT).axes
    assert [line.get_xydata().tolist() for line in axes.lines if line.get_marker() == "o"] == [[[1.25, 0.5]]]
    assert [list(line.get_xdata()) for line in axes.lines if line.get_linestyle() == ":"] == [[1, 1]]
    ((interval,),) = (lines.get_paths() for lines in axes.collections)
    assert interval.vertices.tolist() == [[1.25, 0.2], [1.25, 0.9]]


@pytest.mark.parametrize(("num_points", "is_said"), [(9, False), (10, True)])
def test_what_is_grey_among_the_speeds_is_said(num_points: int, is_said: bool):
    points = [(1 + 0.1 * i, one_of(f"entry_{i}", Estimate(0.5, 0.4, 0.6), place=i)) for i in range(num_points)]
    (axes,) = _figure_of(ThroughputPlot(panels={"Some CPU": points}), LIGHT).axes
    assert any(line.get_color() == LIGHT.muted and line.get_marker() == "o" for line in axes.lines) is is_said
    assert ("; grey: below the best 9" in axes.get_xlabel()) is is_said


@pytest.mark.parametrize("high", [0.12, 0.3, 0.45, 0.9])
def test_every_score_beside_a_speed_can_be_read_off_the_axis(high: float):
    plot = ThroughputPlot(panels={"Some CPU": [(1.25, one_of("one", Estimate(high / 2, high / 3, high)))]})
    (axes,) = _figure_of(plot, LIGHT).axes
    lowest, highest = axes.get_ylim()
    assert sum(lowest <= tick <= highest for tick in axes.get_yticks()) >= 3


def test_a_label_of_the_speeds_is_text_with_a_halo_above_every_interval():
    points = [(1.0, one_of("one", Estimate(0.5, 0.2, 0.9))), (1.001, one_of("two", Estimate(0.4, 0.1, 0.9), place=1))]
    svg = draw(ThroughputPlot(panels={"Some CPU": points}), DARK)
    assert re.search(f"text{{paint-order:stroke;stroke:{DARK.ground};", svg)
    labels = [svg.index(f">{name}</text>") for name in ("one", "two")]
    assert svg.rindex('<g id="LineCollection') < min(labels)


def test_a_plot_has_its_digits_in_order_and_says_which_submission_is_open_and_which_the_fastest(tmp_path):
    track = make_track(digits=[6, 3], seeds=[0])
    tuned, plain_one = make_submission(tmp_path, "tuned", open_division=True), make_submission(tmp_path, "plain_one")
    records = [make_record(tuned, track, digits, 0, share) for digits, share in ((3, 0.9), (6, 0.5))]
    fast = THROUGHPUT.model_copy(update={"train_ratio": 3.0})
    records += make_trials(plain_one, track, 0.25, throughput=fast)
    accuracy, speed = plots_of(track, rows_of(track, [tuned, plain_one], records, HARNESS))
    assert isinstance(accuracy, AccuracyPlot)
    assert accuracy.digits == [3, 6]
    shown = {one.label: ([estimate.value for estimate in one.estimates], one.is_open) for one in accuracy.series}
    assert shown == {"tuned": ([0.9, 0.5], True), "plain_one": ([0.25, 0.25], False)}
    assert speed.description.endswith("the fastest is plain_one at 3.00 times the reference with 25.0 %")
