# %% [markdown]
# # Six engines under the same load
#
# `results/six-engines` is `sim compare` of all engines under two workloads and three seeds. Each row
# of its table stands for three runs. Here the runs are put together again: completed
# orchestrations, throughput (mean, least and most), failed checks.

# %%
import polars as pl
from committed import agree, read

runs = read("six-engines", "runs.csv")
table = read("six-engines")

# %%
rebuilt = runs.group_by("workload", "engine", maintain_order=True).agg(
    runs=pl.len(),
    completed=pl.col("completed").sum(),
    throughput_per_s=pl.col("throughput_per_s").mean().round(3),
    throughput_min_per_s=pl.col("throughput_per_s").min(),
    throughput_max_per_s=pl.col("throughput_per_s").max(),
    failed_checks=pl.col("failed_checks").drop_nulls().len(),
)
assert rebuilt.select("workload", "engine").equals(table.select("workload", "engine"))
for column in ["runs", "completed", "throughput_min_per_s", "throughput_max_per_s"]:
    agree(f"six-engines, {column}", rebuilt[column], table[column])
agree("six-engines, throughput_per_s", rebuilt["throughput_per_s"], table["throughput_per_s"], 0.001)
assert rebuilt["failed_checks"].sum() == 0 and table["failed_checks"].drop_nulls().is_empty()
rebuilt

# %% [markdown]
# What each engine costs, relative to netherite. Latency of `hello` is at a fifth of what the hosts
# can do, so that it is a latency and not a queue; the throughput of `bank` is of 500 transfers at once.

# %%
hello = table.filter(pl.col("workload").str.starts_with("hello"))
bank = table.filter(pl.col("workload").str.starts_with("bank"))
netherite = hello.filter(pl.col("engine") == "netherite")
cost = hello.select(
    "engine",
    "p50_ms",
    "p99_ms",
    "client_p50_ms",
    "operations_per_orchestration",
    "usd_per_million",
    latency_by_netherite=(pl.col("p50_ms") / netherite["p50_ms"].item()).round(2),
    cost_by_netherite=(pl.col("usd_per_million") / netherite["usd_per_million"].item()).round(2),
).join(bank.select("engine", transfers_per_s="throughput_per_s"), on="engine")
cost.sort("p50_ms")
