# %% [markdown]
# # Simulated beside published
#
# Every committed comparison with a measurement of a real system, rebuilt: the simulated number from
# the experiment's runs where its rows allow it, the measured one from `experiments/published`, and
# the ratio from both. The last table lists every miss: a ratio outside of 0.8 to 1.25.

# %%
import matplotlib.pyplot as plt
import polars as pl
from committed import COLOURS, agree, experiment, published, read, save

percentiles = published("latency-percentiles.csv").with_columns(
    name=pl.col("series").str.split(" ").list.first()
)
throughput = published("throughput-runs.csv")
documents = published("tables.csv")
misses = []


def with_ratio(what, frame, panel, series, metric, simulated="simulated", measured="measured"):
    """Checks a table's ratios, and notes what is outside."""
    rows = frame.filter(pl.col(measured).is_not_null() & (pl.col(measured) > 0))
    ratio = (rows[simulated] / rows[measured]).round(3)
    agree(f"{what}, ratio", ratio, rows["ratio"], 0.001)
    misses.append(
        rows.select(
            comparison=pl.lit(what),
            panel=panel,
            series=series,
            metric=metric,
            simulated=pl.col(simulated).cast(pl.Float64),
            measured=pl.col(measured).cast(pl.Float64),
            ratio="ratio",
        ).filter((pl.col("ratio") < 0.8) | (pl.col("ratio") > 1.25))
    )


# %% [markdown]
# ## Latency of one orchestration (VLDB 2022, figure 11)
#
# Latency is the engine's: created to last updated, at 25 orchestrations a second on four EP2 hosts.

# %%
latency = read("netherite-hello-latency")
asked = experiment("netherite-hello-latency")
raw = {(p["title"], s): name for p in asked["panels"] for s, name in p["published"].items()}


def measured_percentiles(panel, series):
    return percentiles.filter(pl.col("name") == raw[panel, series]).row(0, named=True)


measured = []
for row in latency.iter_rows(named=True):
    percentile = row["metric"].split(" ")[0]
    if percentile.startswith("p"):
        found = measured_percentiles(row["panel"], row["series"])[f"{percentile}_ms"]
        measured.append((found, row["measured"]))
agree("netherite-hello-latency, measured", *zip(*measured, strict=True))
with_ratio("netherite-hello-latency", latency, "panel", "series", "metric")
latency

# %%
shares = {"p1": 1, "p5": 5, "p10": 10, "p25": 25, "p50": 50, "p75": 75, "p90": 90, "p95": 95, "p99": 99}
figure, plots = plt.subplots(1, 2, figsize=(7.2, 3.4), sharey=True)
for plot, panel in zip(plots, asked["panels"], strict=True):
    for series in panel["published"]:
        found = measured_percentiles(panel["title"], series)
        line = [found[f"{name}_ms"] for name in shares]
        plot.plot(line, shares.values(), color=COLOURS[series], linewidth=1, label=f"{series}, measured")
        mine = latency.filter(
            (pl.col("panel") == panel["title"])
            & (pl.col("series") == series)
            & pl.col("metric").str.starts_with("p")
        )
        at = [shares[metric.split(" ")[0]] for metric in mine["metric"]]
        plot.plot(mine["simulated"], at, "o", color=COLOURS[series], markersize=4, label=f"{series}, simulated")
    plot.set_xscale("log")
    plot.set_xlabel("latency, ms")
    plot.set_title(panel["title"])
plots[0].set_ylabel("percentile")
figure.legend(*plots[1].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=7)
save(figure, "netherite-hello-latency")

# %% [markdown]
# ## Throughput (VLDB 2022, figure 9)

# %%
table = read("netherite-hello-throughput")
runs = read("netherite-hello-throughput", "runs.csv")
asked = experiment("netherite-hello-throughput")
rebuilt = runs.group_by("panel", "series", "hosts", maintain_order=True).agg(
    simulated=pl.col("throughput_per_s").mean().round(3)
)
agree("netherite-hello-throughput, simulated", rebuilt["simulated"], table["simulated"], 0.001)

campaign = throughput.filter(pl.col("source_file") == asked["campaign"])
plans = {panel["title"]: panel["plan"] for panel in asked["panels"]}
found = []
for row in rebuilt.iter_rows(named=True):
    rows = campaign.filter(
        (pl.col("plan") == plans[row["panel"]])
        & (pl.col("nodes") == row["hosts"])
        & (pl.col("tag") == asked["published"][row["series"]])
    )
    found.append(rows["thr_mean"].item())
agree("netherite-hello-throughput, measured", found, table["measured"])
with_ratio("netherite-hello-throughput", table, "panel", "series", "metric")
table

# %%
figure, plots = plt.subplots(1, 3, figsize=(7.2, 2.6))
table = table.with_columns(hosts=rebuilt["hosts"])
for plot, panel in zip(plots, plans, strict=True):
    for series in asked["published"]:
        rows = table.filter((pl.col("panel") == panel) & (pl.col("series") == series))
        plot.plot(rows["hosts"], rows["measured"], color=COLOURS[series], linewidth=1, label=f"{series}, measured")
        plot.plot(rows["hosts"], rows["simulated"], "o", color=COLOURS[series], markersize=4, label=f"{series}, simulated")
    plot.set_title(panel)
    plot.set_xlabel("hosts")
    plot.set_xticks(asked["hosts"])
    plot.set_ylim(bottom=0)
plots[0].set_ylabel("orchestrations a second")
plots[0].legend(fontsize=6, frameon=False)
save(figure, "netherite-hello-throughput")

# %% [markdown]
# ## Largest rates of one worker
#
# A run's rate counts orchestrations (or jobs); a scenario counts its unit. The estimates are published
# as round numbers. A run's rate has three digits after the point, so that the rate of a scenario with
# 10,000 signals is right to 5 a second.

# %%
maxima = read("netherite-maxima")
runs = read("netherite-maxima", "runs.csv")
asked = experiment("netherite-maxima")
scenario = {s["title"]: s for s in asked["scenarios"]}
units = [10_000.0 if title.startswith("C") else scenario[title]["units"] for title in runs["panel"]]
simulated = [rate * unit for rate, unit in zip(runs["throughput_per_s"], units, strict=True)]
tolerance = [0.0005 * unit + 0.001 for unit in units]
agree("netherite-maxima, simulated", simulated, maxima["simulated"], tolerance)
scenarios = documents.filter(pl.col("table") == "max-single-worker")
found = [
    float(
        scenarios.filter(
            (pl.col("workload") == scenario[row["scenario"]]["published"]) & (pl.col("plan") == row["plan"])
        )["value"].item()
    )
    for row in maxima.iter_rows(named=True)
]
agree("netherite-maxima, published", found, maxima["published"])
inside = [abs(ratio - 1.0) <= asked["tolerance"] for ratio in maxima["ratio"]]
agree("netherite-maxima, agrees", inside, maxima["agrees"])
with_ratio("netherite-maxima", maxima, "scenario", "plan", "unit", measured="published")
maxima

# %% [markdown]
# ## SQL Server by the size of the database

# %%
sql = read("sql-server-scaling")
runs = read("sql-server-scaling", "runs.csv")
rates = sql.filter(pl.col("panel") == "orchestrations a second")
agree("sql-server-scaling, simulated", runs["throughput_per_s"], rates["simulated"], 0.001)
with_ratio("sql-server-scaling", sql, "panel", "series", "metric")
sql

# %% [markdown]
# ## Update calls of the Internet Computer

# %%
calls = read("internet-computer-latency")
measured = published("internet-computer.csv").filter(pl.col("workload") == "counter canister updates")
measured = {row["metric"].split(" ")[-1]: 1000.0 * float(row["value"]) for row in measured.iter_rows(named=True)}
rows = calls.filter(pl.col("measured").is_not_null())
found = [measured[metric.split(" ")[0]] for metric in rows["metric"]]
agree("internet-computer-latency, measured", found, rows["measured"], 0.001)
with_ratio("internet-computer-latency", calls, "panel", "series", "metric")
calls

# %% [markdown]
# ## Storage traffic of one orchestration (VLDB 2022, figure 10)

# %%
traffic = read("netherite-storage-traffic")
with_ratio("netherite-storage-traffic", traffic, "panel", "series", "metric")
traffic

# %% [markdown]
# ## Every miss

# %%
pl.concat(misses)
