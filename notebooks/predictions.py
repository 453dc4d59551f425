# %% [markdown]
# # Benchmarks of which no measurement was released
#
# `results/predictions` runs five published benchmarks on two engines, three plans and up to twelve
# hosts. Nobody has released a measurement of them, so that there is nothing to hold them against:
# they are predictions. What can be checked is that the table follows from the runs, and how the
# factor between the engines compares with the one that was measured for `hello`.

# %%
import polars as pl
from committed import agree, read

table = read("predictions")
runs = read("predictions", "runs.csv")

# %% [markdown]
# A rate is the mean over the seeds; a run's own rate counts orchestrations, and the table counts the
# unit of the benchmark. Where the load is one orchestration (CollisionSearch, FileHash, WordCount)
# the run's rate has too few digits to rebuild the other from, so rates are rebuilt for the two
# benchmarks that start many.

# %%
many = table.filter(pl.col("panel").is_in(["Bank", "FanOutFanIn 1000"]))
rebuilt = (
    runs.with_columns(
        panel=pl.col("panel").str.replace(r", EP\d$", ""),
        plan=pl.col("panel").str.extract(r"(EP\d)$"),
    )
    .group_by("panel", "plan", "hosts", "series")
    .agg(
        rate=pl.col("throughput_per_s").mean(),
        completed=pl.col("completed").sum(),
        seeds=pl.len(),
        failed_checks=pl.col("failed_checks").drop_nulls().len(),
    )
)
joined = table.join(rebuilt, on=["panel", "plan", "hosts", "series"], suffix="_of_runs", how="left")
agree("predictions, completed", joined["completed_of_runs"], joined["completed"])
assert rebuilt["failed_checks"].sum() == 0
print(f"{table.height} configurations, {runs.height} runs, states {table['state'].unique().to_list()}")

# %%
bank = joined.filter(pl.col("panel") == "Bank")
agree("predictions, Bank per_s", bank["rate"], bank["per_s"], (bank["per_s"] * 0.02).to_list())

# %% [markdown]
# The factor by which netherite is ahead, in the mean over the numbers of hosts (geometric). Measured
# for `hello` in the campaign of October 2021: the last column, which is of other work and only says
# what order of magnitude is known.

# %%
pairs = (
    table.filter(pl.col("series").is_in(["netherite", "azure-storage"]))
    .pivot("series", index=["panel", "plan", "hosts"], values="per_s")
    .with_columns(factor=pl.col("netherite") / pl.col("azure-storage"))
)
hello = (
    read("netherite-hello-throughput")
    .with_columns(plan=pl.col("panel").str.slice(0, 3))
    .pivot("series", index=["plan", "metric"], values="measured")
    .group_by("plan")
    .agg(hello_measured=(pl.col("netherite") / pl.col("azure-storage")).log().mean().exp().round(1))
)
(
    pairs.group_by("panel", "plan", maintain_order=True)
    .agg(
        factor=pl.col("factor").log().mean().exp().round(1),
        least=pl.col("factor").min().round(1),
        most=pl.col("factor").max().round(1),
    )
    .join(hello, on="plan", how="left")
)
