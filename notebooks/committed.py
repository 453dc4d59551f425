"""The committed results as tables, and what the notebooks share.

A rebuilt number may differ from the committed one by what rounding takes away: committed rates have
three digits after the point, so a mean of them is right to 0.001.
"""

import os
from pathlib import Path

import matplotlib
import polars as pl

matplotlib.use("Agg")
# The same bytes each time: identifiers in an SVG come from this salt, and it gets no date.
matplotlib.rcParams.update({
    "svg.hashsalt": "sim",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
})

ROOT = Path(__file__).resolve().parent.parent
OUT = Path(os.environ.get("NOTEBOOK_OUT", ROOT / "notebooks" / "out"))

# As in the figures of `sim figure`.
COLOURS = {
    "netherite": "#0072b2",
    "netherite local": "#0072b2",
    "netherite none": "#d55e00",
    "netherite global": "#cc79a7",
    "azure-storage": "#009e73",
}

pl.Config.set_tbl_rows(-1)
pl.Config.set_tbl_cols(-1)
pl.Config.set_tbl_width_chars(160)
pl.Config.set_fmt_str_lengths(80)
pl.Config.set_tbl_hide_dataframe_shape(True)
pl.Config.set_tbl_hide_column_data_types(True)


def read(experiment, file="table.csv"):
    """A file of a folder in results/."""
    path = ROOT / "results" / experiment / file
    return pl.read_csv(path, infer_schema_length=None)


def published(file):
    """A file of measurements of the real systems."""
    return pl.read_csv(ROOT / "experiments" / "published" / file, infer_schema_length=None)


def experiment(name):
    """The experiment behind a folder in results/, as it was run."""
    import tomllib

    return tomllib.loads((ROOT / "results" / name / "experiment.toml").read_text())


def agree(what, rebuilt, committed, tolerance=0.0):
    """Stops unless both lists of numbers agree to `tolerance`: one number, or one for each."""
    rebuilt, committed = list(rebuilt), list(committed)
    assert len(rebuilt) == len(committed) > 0, f"{what}: {len(rebuilt)} and {len(committed)} numbers"
    each = tolerance if isinstance(tolerance, list) else [tolerance] * len(rebuilt)
    for index, (mine, theirs, most) in enumerate(zip(rebuilt, committed, each, strict=True)):
        same = (mine is None and theirs is None) or (
            mine is not None and theirs is not None and abs(mine - theirs) <= most + 1e-9
        )
        assert same, f"{what}: row {index}: rebuilt {mine}, committed {theirs}, tolerance {most}"
    OUT.mkdir(parents=True, exist_ok=True)
    with open(OUT / "agreement.txt", "a") as file:
        file.write(f"{len(rebuilt)}\t{what}\n")
    print(f"{what}: {len(rebuilt)} numbers agree")


def save(figure, name):
    """Writes a figure, and returns it for the notebook."""
    from IPython.display import SVG

    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"{name}.svg"
    figure.savefig(path, metadata={"Date": None})
    return SVG(filename=str(path))
